"""From the curves of a group to one, with its interval: aligned on steps, then resampled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..statistics import Estimate, FloatArray, bootstrap, interquartile_mean, mean
from .groups import Group

POINTS = 200
"""Steps at which curves are compared; more than a chart shows."""

CURVE_RESAMPLES = 2_000

STATISTICS = {"mean": mean, "iqm": interquartile_mean}


@dataclass(frozen=True, eq=False)
class GroupCurve:
    """A group at the steps that all its runs have reached.

    Attributes:
        steps: environment steps, [P].
        values: each run's, [n, P].
        estimates: by the names of `STATISTICS`: the curve with its 95 % interval, each [P].
        final: the same of the scores at the last of the steps.
        furthest: the step that the longest of the runs has reached.
    """

    group: Group
    steps: FloatArray
    values: FloatArray
    estimates: dict[str, Estimate]
    final: dict[str, Estimate]
    furthest: float


def group_curve(group: Group, points: int = POINTS) -> GroupCurve:
    """Interpolate the runs of `group` to the same steps, from where all have begun to where the first one ends.

    Intervals are percentile bootstrap ones over whole runs, stratified by configuration.
    """
    begin = max(float(run.steps[0]) for run in group.runs)
    end = min(float(run.steps[-1]) for run in group.runs)
    steps = np.linspace(min(begin, end), end, points if begin < end else 1)
    strata = [np.stack([np.interp(steps, run.steps, run.values) for run in runs]) for runs in group.strata]
    return GroupCurve(
        group=group,
        steps=steps,
        values=np.concatenate(strata),
        estimates={name: bootstrap(strata, statistic, resamples=CURVE_RESAMPLES) for name, statistic in _all()},
        final={name: bootstrap([s[:, -1] for s in strata], statistic) for name, statistic in _all()},
        furthest=max(float(run.steps[-1]) for run in group.runs),
    )


def _all() -> list[tuple[str, Callable[[FloatArray], FloatArray]]]:
    return list(STATISTICS.items())
