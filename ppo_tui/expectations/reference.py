"""The reference of a run: the measured curve of its preset."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
import numpy as np

MOST_ROWS = 100
"""Limit of the points of a curve: a chart shows fewer columns."""

MOST_MILESTONES = 16

PRESET_NAME = r"\A[A-Za-z0-9._-]{1,60}\Z"

MOST_CHARACTERS = 300
"""Limit of each text about a curve."""

_LARGEST = 1e15
"""Limit of any number of a curve: differences and products stay finite."""

_LATE = 2.0
"""Times the steps of the slowest measured run beyond which a run is not taken for one like it."""

Text = Annotated[str, msgspec.Meta(max_length=MOST_CHARACTERS)]
Column = Annotated[tuple[float, ...], msgspec.Meta(min_length=2, max_length=MOST_ROWS)]


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """The mean course of finished runs of a preset.

    Attributes:
        preset: its name.
        seeds: the number of runs.
        machine, date, version, command: how they were measured, in words.
        milestones: mean returns that mean something in this environment, increasing.
        steps: environment steps, increasing, [n].
        mean, low, high: mean return of the last episodes: over the runs, and their lowest and highest, [n].
        seconds: of training on that machine, mean over the runs, [n].
        same: whether the run has the settings of the preset as it is shipped.

    Raises:
        ValueError: the columns differ in length, are out of order or not finite, or a text could steer a terminal.
    """

    preset: Annotated[str, msgspec.Meta(pattern=PRESET_NAME)]
    seeds: Annotated[int, msgspec.Meta(ge=1, le=10_000)]
    machine: Text
    date: Text
    version: Text
    command: Text
    milestones: Annotated[tuple[float, ...], msgspec.Meta(max_length=MOST_MILESTONES)]
    steps: Column
    mean: Column
    low: Column
    high: Column
    seconds: Column
    same: bool = True

    def __post_init__(self) -> None:
        for name in ("machine", "date", "version", "command"):
            if not getattr(self, name).isprintable():
                raise ValueError(f"{name}: not printable in one line")
        columns = {name: getattr(self, name) for name in ("steps", "mean", "low", "high", "seconds")}
        for name, column in {**columns, "milestones": self.milestones}.items():
            if not all(math.isfinite(value) and abs(value) <= _LARGEST for value in column):
                raise ValueError(f"{name}: every number must be finite, and at most {_LARGEST:g}")
        if len({len(column) for column in columns.values()}) > 1:
            raise ValueError("the columns differ in length")
        if self.steps[0] < 0 or not _increases(self.steps):
            raise ValueError("steps: must increase from row to row")
        if self.seconds[0] < 0 or any(a > b for a, b in itertools.pairwise(self.seconds)):
            raise ValueError("seconds: must not decrease from row to row")
        if not _increases(self.milestones):
            raise ValueError("milestones: must increase")
        if not all(a <= b <= c for a, b, c in zip(self.low, self.mean, self.high, strict=True)):
            raise ValueError("the mean must lie between low and high")

    def reached(self, score: float) -> float | None:
        """The first step of the mean at or above `score`.

        Between rows on a straight line; None if it never did.
        """
        for index, mean in enumerate(self.mean):
            if mean >= score:
                return self._crossing(index - 1, score, self.mean) if index else self.steps[0]
        return None

    def steps_left(self, milestone: float, step: float, score: float) -> float | None:
        """Steps from `score` to `milestone`, as the reference took them.

        The run is placed on the reference by its score, and the rest is the reference's own. On a plateau, where many
        steps have the same score, the run's own step decides among them; elsewhere it does not count, so a run that
        began late is expected to go on as fast as the reference did from the same score. How fast the run has learnt
        so far does not count either: at the beginning it is mostly chance.

        Args:
            step: of the run.
            score: its mean return.

        Returns:
            None where the reference says nothing: it never reached the score or the milestone. Never negative; more for
            a later milestone, and not more for a later step or a higher score.
        """
        goal, first = self.reached(milestone), self.reached(score)
        if goal is None or first is None:
            return None
        return max(0.0, goal - min(max(step, first), self._last_at_most(score, self.mean)))

    def lags(self, step: float, score: float) -> bool:
        """Whether the slowest measured run was far ahead of a run.

        It had the score after less than half the steps. In the first tenth of the curve it is too early to tell.
        """
        return step > max(_LATE * self._last_at_most(score, self.low), self.steps[-1] / 10)

    def at(self, column: Sequence[float], step: float) -> float:
        """The value of a column at `step`; NaN beyond the curve."""
        return float(np.interp(step, self.steps, column, left=math.nan, right=math.nan))

    def _last_at_most(self, score: float, column: Column) -> float:
        """The last step of a column at or below `score`."""
        last = len(column) - 1
        for index in range(last, -1, -1):
            if column[index] <= score:
                return self._crossing(index, score, column) if index < last else self.steps[last]
        return self.steps[0]

    def _crossing(self, index: int, score: float, column: Column) -> float:
        """The step of `score` between a row and the next."""
        before, after = column[index : index + 2]
        share = min(1.0, (score - before) / (after - before))
        return self.steps[index] + share * (self.steps[index + 1] - self.steps[index])


def as_reference(value: Any) -> Reference | None:
    """The reference in an event; None for a damaged one."""
    if value is None:
        return None
    try:
        return msgspec.convert(value, Reference)
    except (msgspec.ValidationError, RecursionError):
        return None


def _increases(values: Sequence[float]) -> bool:
    return all(a < b for a, b in itertools.pairwise(values))
