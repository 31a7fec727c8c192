"""The cost of the screen, within one run.

Updates behind a working screen are compared with updates behind one that stands still.

    python -m benchmarks.dimmed --preset breakout …

is the command line with such a screen. Between two runs the speed of a machine drifts by more than the cost of a
screen; from one update to the next it does not.
"""

from __future__ import annotations

import itertools
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks.effort import Effort
from benchmarks.screen import TIMEOUT_SECONDS, update_times
from benchmarks.terminal import Terminal
from ppo_tui.protocol import Event, UpdateFinished

STILL, WHOLE, WITHOUT_MOTION = range(3)
"""Work of the screen in successive updates: none; all; all but the frames of the Game panel."""

ROUNDS_PER_UPDATE = 3
"""Rounds of the three for each update of other suites: a percent is hard to measure."""


def cost(effort: Effort) -> dict[str, float]:
    """The cost of the screen in percent of an update.

    From medians over the run; the reference is the screen that stands still.
    """
    updates = 3 * (1 + ROUNDS_PER_UPDATE * effort.updates)
    with tempfile.TemporaryDirectory() as directory:
        run = Path(directory) / "run"
        command = [sys.executable, "-m", "benchmarks.dimmed", "--preset", "breakout", "--device", "cpu"]
        with Terminal([*command, "--run-dir", str(run)]) as terminal:
            terminal.read_until(lambda: len(update_times(run)) >= updates, timeout=TIMEOUT_SECONDS)
            terminal.type("qn")
            terminal.read_to_end(timeout=TIMEOUT_SECONDS)
        times = update_times(run)[:updates]
    lengths = [end - start for start, end in itertools.pairwise(times)]
    # The first of them is the second update; three warm up.
    still, whole, without_motion = (statistics.median(lengths[2 + phase :: 3]) for phase in range(3))
    return {
        "seconds_per_update": still,
        "cost_percent": 100 * (whole / still - 1),
        "cost_without_motion_percent": 100 * (without_motion / still - 1),
    }


def main() -> None:
    """Run the command line; every third update the screen stands still."""
    from ppo_tui.__main__ import main as run
    from ppo_tui.tui.app import PpoTuiApp
    from ppo_tui.tui.session import LocalSession
    from ppo_tui.tui.widgets.game import Game

    updates = 0
    emit, tick, play = LocalSession.emit, PpoTuiApp.tick, Game._play

    def count(self: LocalSession, event: Event) -> None:
        nonlocal updates
        if isinstance(event, UpdateFinished):
            updates = event.update
        emit(self, event)

    def tick_unless_still(self: PpoTuiApp) -> None:
        if not updates or updates % 3 != STILL or not self.controller.session.live:
            tick(self)

    def play_when_whole(self: Game) -> None:
        if updates % 3 == WHOLE:
            play(self)

    LocalSession.emit, PpoTuiApp.tick, Game._play = count, tick_unless_still, play_when_whole
    run()


if __name__ == "__main__":
    main()
