"""A recorder keeps nothing of what was fetched."""

from __future__ import annotations

import gc
import sys

import gymnasium

from ppo_tui.workers.clip_recorder import ClipRecorder


def test_what_was_fetched_leaves_no_memory_behind():
    """A worker makes so few objects that Python hardly ever collects its garbage.

    Until then, Python keeps 2,000 former tuples of each length.
    """
    times = 300
    recorder = ClipRecorder(gymnasium.make("CartPole-v1"), frames=times, pictures=False)
    gc.collect()
    gc.disable()
    try:
        before = sys.getallocatedblocks()
        for _ in range(times):
            recorder.before_step()
            recorder.fetch_recording()
        assert sys.getallocatedblocks() - before < times / 3
    finally:
        gc.enable()
