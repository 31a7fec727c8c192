"""How soon the screen answers a key while the run trains: from the key written to a terminal to the picture read."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

from .effort import Effort
from .screen import TIMEOUT_SECONDS, update_times
from .terminal import Terminal

PRESSES = 100
ASKS, ANSWER, TAKES_BACK = "?", "Pause, or go on", "q"
"""A key that opens a page with a text of its own, the text, and the key that closes it again."""

PAUSE_SECONDS = 0.15
"""Between two presses: a person's pace, and enough for the page to be gone."""


def reaction(effort: Effort) -> dict[str, float]:
    """Milliseconds from a key to the first byte of its answer, on a Breakout run at work."""
    with tempfile.TemporaryDirectory() as directory:
        run = Path(directory) / "run"
        command = [sys.executable, "-m", "ppo_tui", "--preset", "breakout", "--device", "cpu", "--run-dir", str(run)]
        with Terminal(command) as terminal:
            terminal.read_until(lambda: len(update_times(run)) >= 1, timeout=TIMEOUT_SECONDS)
            seconds = []
            for _ in range(PRESSES):
                terminal.forget()
                pressed = time.perf_counter()
                terminal.type(ASKS)
                terminal.read_until_text(ANSWER, timeout=TIMEOUT_SECONDS)
                seconds.append(time.perf_counter() - pressed)
                terminal.type(TAKES_BACK)
                terminal.read_for(PAUSE_SECONDS)
            terminal.type("qn")
            terminal.read_to_end(timeout=TIMEOUT_SECONDS)
    deciles = statistics.quantiles(seconds, n=10)
    return {"reaction_p50_ms": 1e3 * statistics.median(seconds), "reaction_p90_ms": 1e3 * deciles[8]}
