"""What the screen costs, within one run: updates behind a screen at work beside updates behind one that stands still.

    python -m benchmarks.dimmed --preset breakout …

is the command line with such a screen. Between two runs this machine's speed drifts by more than a screen costs; from
one update to the next it does not.
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
"""What the screen does in one update after the other: nothing; everything; all but the game's frames."""

ROUNDS_PER_UPDATE = 3
"""Rounds of the three for each update that other suites measure: a percent is hard to see."""


def cost(effort: Effort) -> dict[str, float]:
    """Percent by which updates take longer, medians over the run, than those behind the screen that stands still."""
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
    """Run the command line with a screen that stands still in every third update."""
    from ppo_tui.__main__ import main as run
    from ppo_tui.tui.app import PpoTuiApp
    from ppo_tui.tui.session import LocalSession
    from ppo_tui.tui.widgets.game import Game

    updates = 0
    emit, tick, play = LocalSession.emit, PpoTuiApp.tick, Game._play

    def count(session: LocalSession, event: Event) -> None:
        nonlocal updates
        if isinstance(event, UpdateFinished):
            updates = event.update
        emit(session, event)

    def tick_unless_still(app: PpoTuiApp) -> None:
        if not updates or updates % 3 != STILL or not app.controller.session.live:
            tick(app)

    def play_when_whole(game: Game) -> None:
        if updates % 3 == WHOLE:
            play(game)

    LocalSession.emit, PpoTuiApp.tick, Game._play = count, tick_unless_still, play_when_whole
    run()


if __name__ == "__main__":
    main()
