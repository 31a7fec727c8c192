"""The doctor: says while a run trains what is wrong with it, and which edit to try."""

from __future__ import annotations

from collections.abc import Callable, Sequence

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
