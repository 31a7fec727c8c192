"""A run beside its reference, as folded from its events."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ..protocol import Event, Rewound, RunResumed, RunStarted, SettingChanged, UpdateFinished
from .reference import Reference, as_reference

MEAN_RETURN = "rollout/ep_rew_mean"
"""The metric of reference curves and milestones."""


@dataclass(frozen=True)
class Forecast:
    """The next milestone, and the seconds until then."""

    milestone: float
    seconds: float


class Standing:
    """A run beside its reference; without one it says nothing.

    Attributes:
        step: of the last update.
        score: the mean return of the last update that had one, NaN before.
        reached: milestones with the step of the update that reached them, on the present branch of the run.
    """

    def __init__(self) -> None:
        self.reference: Reference | None = None
        self.step = 0
        self.score = math.nan
        self.reached: list[tuple[float, int]] = []
        self._edits: list[SettingChanged] = []

    def apply(self, event: Event) -> None:
        """Fold in one event."""
        match event:
            case RunStarted():
                self.reference = as_reference(event.reference)
                self._edits.clear()  # those of an earlier process are in the configuration
            case SettingChanged():
                self._edits.append(event)
            case UpdateFinished():
                self._on_update(event)
            case RunResumed() | Rewound():
                self.step = event.step
                if isinstance(event, Rewound):
                    self.score = math.nan
                self.reached = [(milestone, step) for milestone, step in self.reached if step <= event.step]
                self._edits = [edit for edit in self._edits if edit.update <= event.update]

    def _on_update(self, event: UpdateFinished) -> None:
        score = event.metrics.get(MEAN_RETURN)
        self.step = event.step
        if self.reference is None or score is None or not math.isfinite(score):
            return
        self.score = score
        ahead = self.reference.milestones[len(self.reached) :]
        self.reached += [(milestone, event.step) for milestone in ahead if score >= milestone]

    @property
    def same(self) -> bool:
        """Whether the run has the settings of its reference, edits included."""
        first: dict[str, Any] = {}
        for edit in self._edits:
            first.setdefault(edit.key, edit.old)
        newest = {edit.key: edit.new for edit in self._edits}
        return self.reference is not None and self.reference.same and first == newest

    @property
    def label(self) -> str:
        """The name of the reference in a legend; empty without one."""
        if self.reference is None:
            return ""
        return self.reference.preset if self.same else f"{self.reference.preset} as shipped"

    @property
    def expects(self) -> bool:
        """Whether the reference has a milestone ahead of the run."""
        return self.reference is not None and self.same and len(self.reached) < len(self.reference.milestones)

    def forecast(self, steps_per_second: float) -> Forecast | None:
        """The next milestone, if the run goes on as the reference did.

        None without a reference, with other settings, beyond the last milestone, and where the reference says nothing.

        Args:
            steps_per_second: of the run itself.
        """
        reference = self.reference
        if reference is None or not self.expects or not steps_per_second > 0 or math.isnan(self.score):
            return None
        milestone = reference.milestones[len(self.reached)]
        left = reference.steps_left(milestone, self.step, self.score)
        return None if left is None else Forecast(milestone, left / steps_per_second)
