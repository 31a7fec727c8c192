"""Watching whether the training is still one."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ...errors import DivergedError
from ...protocol import Alarm, Event, Level

MAX_BAD_UPDATES = 3
"""Updates in a row without one finite gradient after which the training counts as diverged."""

NAME = "non-finite"
"""Of these alarms; the others are the doctor's (`ppo_tui.training.diagnostics.symptoms`)."""

REMEDY = "try a lower optim.learning_rate, a smaller ppo.clip_range, or rewards of a smaller scale"


class GradientWatch:
    """Tells of minibatches and whole updates that were skipped because their gradient was not finite."""

    def __init__(self, emit: Callable[[Event], None]) -> None:
        self._emit = emit
        self.bad_updates = 0
        """Updates in a row, up to now, that have changed nothing."""

    def check(self, metrics: Mapping[str, float | None], update: int, step: int) -> DivergedError | None:
        """Look at the metrics of an update; the error, once it was one skipped update too many."""
        bad = metrics["train/nonfinite"]
        if not bad or np.isfinite(metrics["train/loss"] or 0.0):
            self.bad_updates = 0
            if bad:
                message = f"update {update}: {bad:.0f} minibatches with a non-finite gradient were skipped"
                self._alarm(Level.WARNING, message, metrics)
            return None
        self.bad_updates += 1
        message = (
            f"update {update} (step {step:,}) was skipped: its losses or gradients are NaN or infinite "
            f"({self.bad_updates}/{MAX_BAD_UPDATES} in a row)"
        )
        self._alarm(Level.ERROR, message, metrics)
        if self.bad_updates < MAX_BAD_UPDATES:
            return None
        self.bad_updates = 0
        return DivergedError(
            f"the training diverged: {MAX_BAD_UPDATES} updates in a row, up to {update} (step {step:,}), had NaN or "
            "infinite losses or gradients",
            hint=REMEDY,
        )

    def _alarm(self, level: Level, message: str, metrics: Mapping[str, float | None]) -> None:
        rate = metrics["train/learning_rate"]
        suggestion = f"set optim.learning_rate {rate / 10:.3g}" if rate else ""
        self._emit(Alarm(level=level, name=NAME, message=message, suggestion=suggestion))
