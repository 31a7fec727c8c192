"""One curve with intervals for a group of runs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..statistics import Estimate, FloatArray, Statistic, bootstrap, interquartile_mean, mean
from .groups import Group

POINTS = 200
"""Steps of a compared curve; a chart shows fewer."""

CURVE_RESAMPLES = 2_000

STATISTICS: dict[str, Statistic] = {"mean": mean, "iqm": interquartile_mean}


@dataclass(frozen=True, eq=False)
class GroupCurve:
    """A group of runs, up to the last step of the shortest.

    Attributes:
        steps: environment steps, [P].
        values: of each run, [n, P].
        estimates: by name in `STATISTICS`: the curve and its 95 % interval, each [P].
        final: the same for the scores at the last step.
        furthest: last step of the longest run.
    """

    group: Group
    steps: FloatArray
    values: FloatArray
    estimates: dict[str, Estimate]
    final: dict[str, Estimate]
    furthest: float


def group_curve(group: Group, points: int = POINTS) -> GroupCurve:
    """Interpolate the runs of `group` to common steps, and bootstrap over them.

    The steps go from the latest beginning of a run to the earliest end. Intervals are percentile bootstrap intervals
    over whole runs, stratified by configuration.
    """
    begin = max(float(run.steps[0]) for run in group.runs)
    end = min(float(run.steps[-1]) for run in group.runs)
    steps = np.linspace(min(begin, end), end, points if begin < end else 1)
    strata = [np.stack([np.interp(steps, run.steps, run.values) for run in runs]) for runs in group.strata]
    return GroupCurve(
        group=group,
        steps=steps,
        values=np.concatenate(strata),
        estimates={
            name: bootstrap(strata, statistic, resamples=CURVE_RESAMPLES) for name, statistic in STATISTICS.items()
        },
        final={name: bootstrap([s[:, -1] for s in strata], statistic) for name, statistic in STATISTICS.items()},
        furthest=max(float(run.steps[-1]) for run in group.runs),
    )
