"""The doctor: says while a run trains what is wrong with it, and which edit to try."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ...errors import DivergedError
from ...protocol import Alarm, Event, Level, Rewound, RunResumed, RunStarted, UpdateFinished
from .readings import Readings
from .symptoms import SYMPTOMS, Symptom


class _Watch:
    """One symptom in one run: raised once, and again only after it was healthy in between."""

    def __init__(self, symptom: Symptom) -> None:
        self.symptom = symptom
        self.stands = False
        self._streak = 0

    def look(self, run: Readings) -> float | None:
        """The number that raises the alarm now, or None."""
        if not self.symptom.applies(run) or (value := self.symptom.measure(run)) is None:
            return None
        changes = self.symptom.is_well(value) if self.stands else self.symptom.is_ill(value)
        self._streak = self._streak + 1 if changes else 0
        if self._streak < self.symptom.patience:
            return None
        self._streak, self.stands = 0, not self.stands
        return value if self.stands else None

    def excuse(self) -> None:
        """Something else explains whatever it would see."""
        self._streak = 0


class Doctor:
    """A sink that follows a run and emits alarms. It changes nothing, and has no part in any number of the run.

    Args:
        emit: takes the alarms.
        symptoms: what to look for, those first that explain others.
    """

    def __init__(self, emit: Callable[[Event], None], symptoms: Sequence[Symptom] = SYMPTOMS) -> None:
        self._emit, self._symptoms = emit, symptoms
        self._readings = Readings()
        self._begin()

    def _begin(self) -> None:
        self._watches = [_Watch(symptom) for symptom in self._symptoms]

    def emit(self, event: Event) -> None:
        """Follow the run by one event; after an update, say what is wrong."""
        self._readings.take(event)
        if isinstance(event, RunStarted | RunResumed | Rewound):
            self._begin()
        elif isinstance(event, UpdateFinished):
            self._examine()

    def _examine(self) -> None:
        for watch in self._watches:
            symptom = watch.symptom
            if any(other.stands for other in self._watches if other.symptom.name in symptom.after):
                watch.excuse()
            elif (value := watch.look(self._readings)) is not None:
                self._emit(
                    Alarm(
                        level=Level.WARNING,
                        name=symptom.name,
                        message=symptom.reason(value, self._readings),
                        suggestion=symptom.edit(value, self._readings),
                    )
                )


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
