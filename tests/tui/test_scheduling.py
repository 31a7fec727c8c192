"""Scheduler slices of the screen's and the training's threads."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ppo_tui.system import request_scheduler_slice
from ppo_tui.training.controls import Inbox
from ppo_tui.tui.scheduling import SHORT_SECONDS, short_slices
from ppo_tui.tui.session import LocalSession


def slice_length() -> int:
    """Nanoseconds of this thread's slices; skip the test where the kernel does not tell."""
    try:
        lines = Path(f"/proc/self/task/{threading.get_native_id()}/sched").read_text().splitlines()
    except OSError:
        pytest.skip("this kernel says nothing of slices")
    return next((int(line.split()[-1]) for line in lines if line.startswith("se.slice")), 0)


def in_a_thread(call):
    """The result of `call` in a thread of its own."""
    results = []
    thread = threading.Thread(target=lambda: results.append(call()))
    thread.start()
    thread.join()
    return results[0]


def test_a_thread_takes_short_slices_and_the_training_that_it_starts_takes_usual_ones():
    slices = []

    class Engine:
        def run(self) -> None:
            slices.append(slice_length())

    def as_the_screen() -> tuple[int, int] | None:
        if not request_scheduler_slice(SHORT_SECONDS):
            return None
        session = LocalSession(lambda emit: Engine(), Inbox())
        session.start()
        session.wait()
        return slice_length(), in_a_thread(slice_length)

    usual = slice_length()
    found = in_a_thread(as_the_screen)
    if found is None:
        pytest.skip("this kernel has no slices to choose")
    assert found == (100_000, 100_000), "the screen's own threads, which it starts, are as prompt"
    assert slices[0] > 100_000
    assert slice_length() == usual, "other threads keep theirs"


def test_where_there_is_no_such_call_nothing_happens(monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "a machine of its own kind")
    assert request_scheduler_slice(SHORT_SECONDS) is False


def test_what_is_started_after_the_screen_has_usual_slices():
    """The run in the background that a run of this process is handed over to, above all."""

    def as_the_screen() -> tuple[int, int]:
        with short_slices():
            inside = slice_length()
        child = subprocess.run(
            [sys.executable, "-c", "print(open('/proc/self/sched').read())"], capture_output=True, text=True, check=True
        )
        return inside, next(int(line.split()[-1]) for line in child.stdout.splitlines() if line.startswith("se.slice"))

    slice_length()  # skips where the kernel does not tell
    inside, afterwards = in_a_thread(as_the_screen)
    if inside != 100_000:
        pytest.skip("this kernel has no slices to choose")
    assert afterwards > inside
