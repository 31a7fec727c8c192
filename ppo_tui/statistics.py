"""What can be said of a few scores: means, interquartile means, and bootstrap intervals around them. Pure numpy.

Sources: Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical Precipice" (2021,
arXiv:2108.13264), sections 4.1 and 4.3, whose library rliable has the same definitions; Efron, "Bootstrap Methods:
Another Look at the Jackknife" (1979).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
Statistic = Callable[[FloatArray], FloatArray]
"""From `[R, n, ...]` to `[R, ...]`: a number out of n scores, R times over."""

LEVEL = 0.95
RESAMPLES = 10_000

_BLOCK = 2**22
"""Numbers that are resampled at once."""


class Estimate(NamedTuple):
    """A statistic and the two ends of its interval; numbers, or arrays of one shape."""

    value: FloatArray
    low: FloatArray
    high: FloatArray


def mean(scores: FloatArray) -> FloatArray:
    """The mean over axis 1 of `[R, n, ...]`."""
    return scores.mean(axis=1)


def interquartile_mean(scores: FloatArray) -> FloatArray:
    """The mean of the middle half over axis 1 of `[R, n, ...]`: without ⌊n/4⌋ scores at either end.

    It is what rliable calls IQM (a mean trimmed by 25 %): a few outliers do not move it as they move the mean, and
    it is less biased than the median.
    """
    count = scores.shape[1]
    cut = count // 4
    return np.sort(scores, axis=1)[:, cut : count - cut].mean(axis=1)


def bootstrap(
    strata: Sequence[FloatArray],
    statistic: Statistic = mean,
    *,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """A statistic of scores with its percentile bootstrap interval, stratified.

    Each stratum (the runs of one task) is resampled from itself, so that every resample has as many scores of each as
    there are. The generator is seeded: the same scores have the same interval.

    Args:
        strata: arrays `[n_s, ...]` of finite numbers, one score or one curve a row; together n rows.
        level: share of the resamples that lie within the interval.

    Returns:
        Estimates of shape `[...]`. A single score says nothing of its spread: both ends are then NaN.
    """
    rows = np.concatenate([np.asarray(stratum, np.float64) for stratum in strata])  # [n, ...]
    value = statistic(rows[None])[0]
    if len(rows) < 2:
        nothing = np.full_like(value, np.nan)
        return Estimate(value, nothing, nothing)
    starts = np.cumsum([0, *(len(stratum) for stratum in strata)])
    generator = np.random.default_rng(seed)
    found, left = [], resamples
    while left > 0:
        block = max(1, min(left, _BLOCK // max(rows.size, 1)))
        chosen = [
            generator.integers(start, start + len(stratum), (block, len(stratum)))
            for start, stratum in zip(starts, strata, strict=False)
        ]
        found.append(statistic(rows[np.concatenate(chosen, axis=1)]))
        left -= block
    tail = 100 * (1 - level) / 2
    low, high = np.percentile(np.concatenate(found), [tail, 100 - tail], axis=0)
    return Estimate(value, low, high)
