"""Hyper-parameters that anneal over a run, and stay editable while they do."""

from __future__ import annotations

import dataclasses
from typing import Literal


@dataclasses.dataclass(frozen=True, kw_only=True)
class Schedule:
    """A value over the run's progress p, from 0 at the first step to 1 at the last.

    Attributes:
        value: what holds at progress `since`.
        kind: ``constant`` keeps it; ``linear`` anneals it to 0 at p = 1.
        since: progress at which `value` was set: 0, or the moment of the last live edit.
    """

    value: float
    kind: Literal["constant", "linear"] = "constant"
    since: float = 0.0

    def at(self, progress: float) -> float:
        """The value at `progress`; outside `since`..1 the nearer of both ends holds."""
        if self.kind == "constant" or progress <= self.since:
            return self.value
        remaining = max(1.0 - progress, 0.0) / (1.0 - self.since) if self.since < 1.0 else 0.0
        return self.value * remaining

    def edited(self, value: float, progress: float) -> Schedule:
        """The schedule after a live edit: exactly `value` at `progress`, annealing on from there."""
        return dataclasses.replace(self, value=value, since=progress)
