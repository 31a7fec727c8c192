"""Threads that fit the machine."""

from __future__ import annotations

import pytest

from ppo_tui.config import load_preset
from ppo_tui.training.device import Threads, choose_threads
from ppo_tui.training.start import examine

BREAKOUT, CARTPOLE = load_preset("breakout"), load_preset("cartpole")


@pytest.mark.parametrize(
    ("config", "workers", "cores", "expected"),
    [
        (BREAKOUT, 2, 2, Threads(act=1, learn=2)),
        (BREAKOUT, 8, 16, Threads(act=8, learn=16)),
        (BREAKOUT, 1, 1, Threads(act=1, learn=1)),
        (CARTPOLE, 2, 16, Threads(act=1, learn=1)),
        (load_preset("breakout", overrides=["run.torch_threads=3"]), 2, 16, Threads(act=3, learn=3)),
    ],
)
def test_learning_takes_the_cores_and_acting_what_the_workers_leave(config, workers, cores, expected):
    assert choose_threads(config, examine(config), workers, cores) == expected
