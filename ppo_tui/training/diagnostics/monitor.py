"""Alarms while training, each with an edit to try."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ...errors import DivergedError
from ...explanations import ALARMS, MAX_BAD_UPDATES, NON_FINITE
from ...protocol import (
    Alarm,
    Event,
    Level,
    Recovered,
    Rewound,
    RunResumed,
    RunStarted,
    SuggestedEdit,
    UpdateFinished,
)
from .readings import Readings
from .symptoms import SYMPTOMS, Symptom


class _SymptomAlarm:
    """One symptom's alarm: raised once, and again only after recovery."""

    def __init__(self, symptom: Symptom) -> None:
        self.symptom = symptom
        self.active = False
        self._streak = 0

    def check(self, run: Readings) -> Event | None:
        """The alarm to raise now, the recovery to report, or None."""
        symptom, text = self.symptom, self.symptom.text
        if not symptom.applies(run):
            was_active, self.active, self._streak = self.active, False, 0
            return _recovered(text.name) if was_active else None  # settings have changed
        if (value := symptom.measure(run)) is None:
            return None
        changes = text.is_well(value) if self.active else text.is_ill(value)
        self._streak = self._streak + 1 if changes else 0
        if self._streak < text.patience:
            return None
        self._streak, self.active = 0, not self.active
        if not self.active:
            return _recovered(text.name)
        edit = symptom.edit(value, run)
        return Alarm(
            level=Level.WARNING,
            name=text.name,
            message=symptom.reason(value, run),
            suggestion=edit.command if edit else "",
            value=value,
            edit=edit,
        )

    def skip(self) -> None:
        """Pass over an update explained by another symptom."""
        self._streak = 0


def _recovered(name: str) -> Recovered:
    return Recovered(name=name, message=f"no longer true: {ALARMS[name].title}")


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
            if any(other.active for other in self._alarms if other.symptom.text.name in alarm.symptom.text.after):
                alarm.skip()
            elif event := alarm.check(self._readings):
                self._emit(event)


class GradientMonitor:
    """Raise an alarm for minibatches and updates skipped for non-finite gradients."""

    def __init__(self, emit: Callable[[Event], None]) -> None:
        self._emit = emit
        self._raised = False
        self.bad_updates = 0
        """Updates in a row, up to now, that have changed nothing."""

    def check(self, metrics: Mapping[str, float | None], update: int, step: int) -> DivergedError | None:
        """Check the metrics of an update; an error after `MAX_BAD_UPDATES` skipped ones."""
        bad = metrics["train/nonfinite"]
        if not bad or np.isfinite(metrics["train/loss"] or 0.0):
            self.bad_updates = 0
            if self._raised and not bad:
                self._raised = False
                self._emit(_recovered(NON_FINITE))
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
            hint=ALARMS[NON_FINITE].remedy,
        )

    def _alarm(self, level: Level, message: str, metrics: Mapping[str, float | None]) -> None:
        self._raised = True
        rate = metrics["train/learning_rate"]
        edit = SuggestedEdit(key="optim.learning_rate", value=float(f"{rate / 10:.3g}")) if rate else None
        self._emit(
            Alarm(
                level=level,
                name=NON_FINITE,
                message=message,
                suggestion=edit.command if edit else "",
                value=metrics["train/nonfinite"],
                edit=edit,
            )
        )
