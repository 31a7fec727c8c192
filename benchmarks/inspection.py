"""The cost of the open microscope.

Updates are looked at and not, in turn, in one run.

``python -m benchmarks.inspection [PRESET…]`` prints the milliseconds of learning an update, with and without.
"""

from __future__ import annotations

import statistics
import sys

from ppo_tui import Trainer, load_preset
from ppo_tui.protocol import Event, UpdateFinished, UpdateInspected, WatchUpdate

UPDATES = {"cartpole": 200, "breakout": 40}
"""Updates by preset, after two to warm up."""


class Alternation:
    """Looks at every second update; keeps the seconds of learning of each."""

    def __init__(self) -> None:
        self.trainer: Trainer | None = None
        self.seconds: dict[bool, list[float]] = {False: [], True: []}
        self._looked = False

    def emit(self, event: Event) -> None:
        if isinstance(event, UpdateInspected):
            self._looked = True
        elif isinstance(event, UpdateFinished) and self.trainer is not None:
            steps, speed, share = (
                event.metrics[f"time/{name}"] for name in ("total_timesteps", "fps_update", "share_learn")
            )
            if event.update > 2 and steps and speed and share:
                self.seconds[self._looked].append(share * steps / event.update / speed)
            self._looked = False
            self.trainer.send(WatchUpdate(open=event.update % 2 == 0))


def measured(preset: str) -> dict[bool, float]:
    """Median milliseconds of learning an update: not looked at, and looked at."""
    config = load_preset(preset)
    updates = UPDATES.get(preset, 40) + 2
    overrides = [f"run.total_steps={updates * config.batch_size}", "tracking.tensorboard=false"]
    alternation = Alternation()
    alternation.trainer = Trainer(load_preset(preset, overrides=overrides), sinks=[alternation])
    alternation.trainer.run().raise_if_failed()
    return {looked: 1e3 * statistics.median(each) for looked, each in alternation.seconds.items()}


if __name__ == "__main__":
    for name in sys.argv[1:] or UPDATES:
        closed, opened = measured(name).values()
        print(
            f"{name}: {closed:.1f} ms an update, {opened:.1f} ms with the microscope open (+{opened - closed:.1f} ms)"
        )
