"""A run beside its reference and threshold, as folded from its events."""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass
from typing import Any

from ..protocol import EpisodeFinished, Event, Rewound, RunResumed, RunStarted, SettingChanged, UpdateFinished
from .reference import Reference, as_reference

MEAN_RETURN = "rollout/ep_rew_mean"
"""The metric of reference curves and milestones."""

SOLVING_EPISODES = 100
"""Episodes whose mean return must reach the threshold: a few lucky ones solve nothing."""

MOST_LOST = 0.25
"""Share of its gain since the start that a return may lose and still count as rising."""


@dataclass(frozen=True)
class Forecast:
    """A mean return ahead, and the seconds until then."""

    milestone: float
    seconds: float


class Standing:
    """A run beside its reference and the threshold of its environment.

    Without them it says nothing of either.

    Attributes:
        step: of the last update.
        score: the mean return of the last update that had one, NaN before.
        best: the highest mean return of 100 episodes, with the step of its update; None before.
        reached: milestones with the step of the update that reached them.
        threshold: the mean return at which the environment counts as solved, if there is one.
        solved: the step of the update that reached the threshold, or None.

    All of these are of the present branch of the run.
    """

    def __init__(self) -> None:
        self.reference: Reference | None = None
        self.step = 0
        self.score = math.nan
        self.reached: list[tuple[float, int]] = []
        self.threshold: float | None = None
        self._bests: list[tuple[float, int]] = []  # each higher and later than the one before
        self._first_episodes: list[int] = []  # their steps, as many as solving takes
        self._edits: list[SettingChanged] = []

    def apply(self, event: Event) -> None:
        """Fold in one event."""
        match event:
            case RunStarted():
                self.reference = as_reference(event.reference)
                self.threshold = event.reward_threshold
                self._edits.clear()  # those of an earlier process are in the configuration
            case SettingChanged():
                self._edits.append(event)
            case EpisodeFinished():
                if len(self._first_episodes) < SOLVING_EPISODES:
                    self._first_episodes.append(event.step)
            case UpdateFinished():
                self._on_update(event)
            case RunResumed() | Rewound():
                self.step = event.step
                if isinstance(event, Rewound):
                    self.score = math.nan
                self.reached = [(milestone, step) for milestone, step in self.reached if step <= event.step]
                self._bests = [(score, step) for score, step in self._bests if step <= event.step]
                self._first_episodes = [step for step in self._first_episodes if step <= event.step]
                self._edits = [edit for edit in self._edits if edit.update <= event.update]

    def _on_update(self, event: UpdateFinished) -> None:
        score = event.metrics.get(MEAN_RETURN)
        self.step = event.step
        if score is None or not math.isfinite(score):
            return
        self.score = score
        if len(self._first_episodes) == SOLVING_EPISODES and (self.best is None or score > self.best[0]):
            self._bests.append((score, event.step))
        if self.reference is not None:
            ahead = self.reference.milestones[len(self.reached) :]
            self.reached += [(milestone, event.step) for milestone in ahead if score >= milestone]

    @property
    def best(self) -> tuple[float, int] | None:
        return self._bests[-1] if self._bests else None

    @property
    def solved(self) -> int | None:
        if self.threshold is None:
            return None
        index = bisect.bisect_left(self._bests, self.threshold, key=lambda best: best[0])
        return self._bests[index][1] if index < len(self._bests) else None

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

        None without a reference, with other settings, beyond the last milestone, where the reference says nothing, and
        for a run that does not go on as the reference did: one that has fallen, or lags far behind.

        Args:
            steps_per_second: of the run itself.
        """
        if self.reference is None or not self.expects:
            return None
        return self._forecast(self.reference.milestones[len(self.reached)], steps_per_second)

    def solving(self, steps_per_second: float) -> Forecast | None:
        """The threshold, if the run goes on as the reference did.

        None where there is none, once it is reached, and as for `forecast`.
        """
        if self.threshold is None or self.solved is not None or not self.same:
            return None
        return self._forecast(self.threshold, steps_per_second)

    def _forecast(self, goal: float, steps_per_second: float) -> Forecast | None:
        reference = self.reference
        if reference is None or not steps_per_second > 0 or math.isnan(self.score):
            return None
        if self._has_fallen(reference) or reference.lags(self.step, self.score):
            return None
        left = reference.steps_left(goal, self.step, self.score)
        return None if left is None else Forecast(goal, left / steps_per_second)

    def _has_fallen(self, reference: Reference) -> bool:
        """Whether the return has lost a good part of its gain."""
        if self.best is None:
            return False
        highest, start = self.best[0], min(reference.low)
        return highest - self.score > MOST_LOST * max(0.0, highest - start)
