"""Alarms while training, each with an edit to try."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ...errors import DivergedError
from ...protocol import Alarm, Event, Level, Rewound, RunResumed, RunStarted, UpdateFinished
from .readings import Readings
from .symptoms import SYMPTOMS, Symptom


class _SymptomAlarm:
    """One symptom's alarm: raised once, and again only after recovery."""

    def __init__(self, symptom: Symptom) -> None:
        self.symptom = symptom
        self.active = False
        self._streak = 0

    def check(self, run: Readings) -> float | None:
        """The number behind an alarm to raise now, or None."""
        if not self.symptom.applies(run) or (value := self.symptom.measure(run)) is None:
            return None
        changes = self.symptom.is_well(value) if self.active else self.symptom.is_ill(value)
        self._streak = self._streak + 1 if changes else 0
        if self._streak < self.symptom.patience:
            return None
        self._streak, self.active = 0, not self.active
        return value if self.active else None

    def skip(self) -> None:
        """Pass over an update explained by another symptom."""
        self._streak = 0


class Diagnostics:
    """A sink to follow a run and emit alarms; changes no number.

    Args:
        emit: takes the alarms.
        symptoms: checked in this order, those first that explain others.
    """

    def __init__(self, emit: Callable[[Event], None], symptoms: Sequence[Symptom] = SYMPTOMS) -> None:
        self._emit, self._symptoms = emit, symptoms
        self._readings = Readings({})
        self._alarms = [_SymptomAlarm(symptom) for symptom in symptoms]

    def emit(self, event: Event) -> None:
        """Follow the run by one event; after an update, check every symptom."""
        config, changes = self._readings.config, self._readings.changes
        match event:
            case RunStarted():
                self._start_over(Readings(event.config))
            case RunResumed():
                self._start_over(Readings(config, changes))
            case Rewound():
                self._start_over(Readings(config, [change for change in changes if change.update <= event.update]))
            case UpdateFinished():
                self._readings.add(event)
                self._check_symptoms()
            case _:
                self._readings.add(event)

    def _start_over(self, readings: Readings) -> None:
        """Forget measurements and alarms: they were another policy's."""
        self._readings = readings
        self._alarms = [_SymptomAlarm(symptom) for symptom in self._symptoms]

    def _check_symptoms(self) -> None:
        for alarm in self._alarms:
            symptom = alarm.symptom
            if any(other.active for other in self._alarms if other.symptom.name in symptom.after):
                alarm.skip()
            elif (value := alarm.check(self._readings)) is not None:
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

NON_FINITE = "non-finite"
"""Name of the alarms of `GradientMonitor`; the other alarms are those of `SYMPTOMS`."""

NON_FINITE_REMEDY = "try a lower optim.learning_rate, a smaller ppo.clip_range, or rewards of a smaller scale"


class GradientMonitor:
    """Raise an alarm for minibatches and updates skipped for non-finite gradients."""

    def __init__(self, emit: Callable[[Event], None]) -> None:
        self._emit = emit
        self.bad_updates = 0
        """Updates in a row, up to now, that have changed nothing."""

    def check(self, metrics: Mapping[str, float | None], update: int, step: int) -> DivergedError | None:
        """Check the metrics of an update; an error after `MAX_BAD_UPDATES` skipped ones."""
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
            hint=NON_FINITE_REMEDY,
        )

    def _alarm(self, level: Level, message: str, metrics: Mapping[str, float | None]) -> None:
        rate = metrics["train/learning_rate"]
        suggestion = f"set optim.learning_rate {rate / 10:.3g}" if rate else ""
        self._emit(Alarm(level=level, name=NON_FINITE, message=message, suggestion=suggestion))
