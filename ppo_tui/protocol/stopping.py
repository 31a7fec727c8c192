"""The distance of a run to its stop rules."""

from __future__ import annotations

import msgspec

from .base import Whole

BY_RULE = "rule"
"""In `RunFinished.by`: a stop rule of the run itself."""


class StopDistance(msgspec.Struct, frozen=True, kw_only=True):
    """The distance of a run to its stop rules after an update.

    Attributes:
        metric: the rules' metric.
        value: its newest value; None before the first that counts.
        goal: to be reached; None without one.
        better: ``higher`` or ``lower``.
        held: checks in a row at which the goal was reached.
        checks: those that end the run.
        episodes: ended so far, of `enough`, while too few have ended for the metric to count.
        enough: of `episodes`; 0 once they are, and where they do not matter.
        plateau: steps left until the run ends for a plateau; None without that rule, and before the first value.
        seconds: of training left; None without a limit.
    """

    metric: str
    value: float | None = None
    goal: float | None = None
    better: str = "higher"
    held: Whole = 0
    checks: Whole = 1
    episodes: Whole = 0
    enough: Whole = 0
    plateau: Whole | None = None
    seconds: float | None = None

    @property
    def left(self) -> float | None:
        """The rest of the way to the goal, never negative.

        None without a goal or a value.
        """
        if self.goal is None or self.value is None:
            return None
        return max(0.0, self.goal - self.value if self.better == "higher" else self.value - self.goal)
