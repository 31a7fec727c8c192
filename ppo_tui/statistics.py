"""Statistics of a few scores, and the rule for stragglers.

Sources of the means and intervals: Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical
Precipice" (2021, arXiv:2108.13264), sections 4.1 and 4.3, whose library rliable has the same definitions; Efron,
"Bootstrap Methods: Another Look at the Jackknife" (1979).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
Statistic = Callable[[FloatArray], FloatArray]
"""Maps `[R, n, ...]` to `[R, ...]`: one number for n scores, R times."""

LEVEL = 0.95
RESAMPLES = 10_000

IDLE_SHARE = 0.3
"""Share of a rollout below which a worker at work delays nobody, however slow it is."""

STRAGGLER = 2.0
"""Slowdown above which a worker is a straggler."""

_BLOCK = 2**22
"""Numbers resampled at once, to bound the memory."""


class Estimate(NamedTuple):
    """A statistic and the ends of its interval, arrays of one shape."""

    value: FloatArray
    low: FloatArray
    high: FloatArray


def mean(scores: FloatArray) -> FloatArray:
    """Mean over axis 1 of `[R, n, ...]`."""
    return scores.mean(axis=1)


def interquartile_mean(scores: FloatArray) -> FloatArray:
    """Mean of the middle half over axis 1 of `[R, n, ...]`.

    It leaves out ⌊n/4⌋ scores at either end, as rliable's IQM (a mean trimmed by 25 %). Outliers move it less than the
    mean, and it is less biased than the median.
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
) -> Estimate:
    """Compute a statistic and its stratified percentile bootstrap interval.

    Each stratum (the runs of one task) is resampled from itself, so that every resample has the same number of scores
    of each. The generator has one seed: the same scores have the same interval.

    Args:
        strata: arrays `[n_s, ...]` of finite numbers, a score or a curve in each row; n rows together.
        level: share of the resamples within the interval.

    Returns:
        Estimates of shape `[...]`. With a single score both ends are NaN.
    """
    rows = np.concatenate([np.asarray(stratum, np.float64) for stratum in strata])  # [n, ...]
    value = statistic(rows[None])[0]
    if len(rows) < 2:
        nothing = np.full_like(value, np.nan)
        return Estimate(value, nothing, nothing)
    starts = np.cumsum([0, *(len(stratum) for stratum in strata)])
    generator = np.random.default_rng(0)
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


def slowdowns(busy: Mapping[int, float]) -> dict[int, float]:
    """Compare each worker's time at work with the median of the others.

    Args:
        busy: share of the rollout (0..1) in which each worker had actions to answer, scaled to equal work.

    Returns:
        How many times as long as the others each worker takes; 1 for a worker without others, or at work in less than
        `IDLE_SHARE` of the time.
    """
    ordered = sorted(busy.items(), key=lambda item: item[1])
    shares = [share for _, share in ordered]
    factors = {}
    for position, (worker, share) in enumerate(ordered):
        if share < IDLE_SHARE or len(shares) < 2:
            factors[worker] = 1.0
            continue
        middle = (len(shares) - 2) // 2, (len(shares) - 1) // 2  # of the others, in order
        low, high = (shares[index + (index >= position)] for index in middle)
        factors[worker] = share / max((low + high) / 2, 1e-9)
    return factors


def stragglers(busy: Mapping[int, float]) -> frozenset[int]:
    """Find the workers `STRAGGLER` times as slow as the others.

    Arguments as for `slowdowns`.
    """
    return frozenset(worker for worker, factor in slowdowns(busy).items() if factor > STRAGGLER)
