"""The cost of the screen, from runs with and without it.

In the same terminal.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from benchmarks.effort import Effort
from benchmarks.terminal import Terminal
from benchmarks.timing import update_rate
from benchmarks.work import breakout
from ppo_tui.errors import RunFailedError

TIMEOUT_SECONDS = 600.0

NOTICE_SECONDS = 1.0
"""Time for the screen to notice the end of the run, after which q leaves without a question."""


def training(effort: Effort, screen: bool, fps: float = 15.0) -> dict[str, float]:
    """Train by the command line of a user.

    The rate comes from its own ``metrics.jsonl``.

    Args:
        fps: frames a second in the Game panel; 0 for none.

    Raises:
        RunFailedError: the run ended before its updates were done.
    """
    config = breakout(num_updates=effort.updates)
    with tempfile.TemporaryDirectory() as directory:
        run = Path(directory) / "run"
        command = [
            sys.executable, "-m", "ppo_tui", "--preset", "breakout", "--device", "cpu", "--run-dir", str(run),
            "--total-steps", str(config.planned_steps), *(["--fps", str(fps)] if screen else ["--headless"]),
        ]  # fmt: skip
        with Terminal(command) as terminal:
            terminal.read_until(lambda: len(update_times(run)) >= 1, timeout=TIMEOUT_SECONDS)
            bytes_before = terminal.bytes_written
            terminal.read_until(lambda: len(update_times(run)) >= config.num_updates, timeout=TIMEOUT_SECONDS)
            bytes_written = terminal.bytes_written - bytes_before
            if screen:
                terminal.read_until(lambda: status(run) == "finished", timeout=TIMEOUT_SECONDS)
                terminal.read_for(NOTICE_SECONDS)
                terminal.type("q")
            if code := terminal.read_to_end(timeout=TIMEOUT_SECONDS):
                raise RunFailedError(f"ppo-tui exited with code {code}")
        times = update_times(run)
    return {
        "steps_per_second": update_rate(times, config.batch_size),
        "terminal_bytes_per_second": bytes_written / (times[-1] - times[0]),
    }


def update_times(run: Path) -> list[float]:
    """The ends of the updates so far, in seconds."""
    metrics = run / "metrics.jsonl"
    text = metrics.read_text("utf-8") if metrics.exists() else ""
    complete, _, _ = text.rpartition("\n")
    return [json.loads(line)["time/time_elapsed"] for line in complete.splitlines()]


def status(run: Path) -> str:
    """The status in ``run.json``."""
    return json.loads((run / "run.json").read_text("utf-8"))["status"]
