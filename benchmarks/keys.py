"""The screen's reaction to a key during training.

From the key written to a terminal to the picture read.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.effort import Effort
from benchmarks.screen import TIMEOUT_SECONDS, update_times
from benchmarks.terminal import Terminal
from ppo_tui.tui.keys.table import KEYS

PRESSES = 100
"""Number of presses of each kind."""

PANELS, CHOSEN = "31", "┏"
"""Keys that choose a panel, and the corner of the chosen panel's border."""

PAGE, PAGE_SHOWN, PAGE_LEFT = "?", next(key.help for key in KEYS if key.id == "pause"), "q"
"""A key that opens a page, a text on it, and the key that closes it: the heaviest work of a key."""

PAUSE_SECONDS = 0.15
"""Between two presses: a person's pace, and enough for the screen to finish its work."""


def reaction(effort: Effort) -> dict[str, float]:
    """Milliseconds from a key to its answer, on a Breakout run."""
    with tempfile.TemporaryDirectory() as directory:
        run = Path(directory) / "run"
        command = [sys.executable, "-m", "ppo_tui", "--preset", "breakout", "--device", "cpu", "--run-dir", str(run)]
        with Terminal(command) as terminal:
            terminal.read_until(lambda: len(update_times(run)) >= 1, timeout=TIMEOUT_SECONDS)
            panels = [_answered(terminal, key, CHOSEN) for key in PANELS * (PRESSES // len(PANELS))]
            pages = []
            for _ in range(PRESSES):
                pages.append(_answered(terminal, PAGE, PAGE_SHOWN))
                terminal.type(PAGE_LEFT)
                terminal.read_for(PAUSE_SECONDS)
            terminal.type("qn")
            terminal.read_to_end(timeout=TIMEOUT_SECONDS)
    return {**_percentiles("panel", panels), **_percentiles("page", pages)}


def _answered(terminal: Terminal, key: str, answer: str) -> float:
    """Press `key` and return the seconds until `answer` has been written."""
    terminal.forget()
    pressed = time.perf_counter()
    terminal.type(key)
    terminal.read_until_text(answer, timeout=TIMEOUT_SECONDS)
    seconds = time.perf_counter() - pressed
    terminal.read_for(PAUSE_SECONDS)
    return seconds


def _percentiles(name: str, seconds: list[float]) -> dict[str, float]:
    deciles = statistics.quantiles(seconds, n=10)
    return {f"{name}_p50_ms": 1e3 * statistics.median(seconds), f"{name}_p90_ms": 1e3 * deciles[8]}
