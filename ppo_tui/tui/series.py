"""Curves that grow: append-only arrays of (step, value), and their smoothing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

SMOOTHING_SHARE = 0.05
"""Span of the smoothing as a share of the whole curve, so that it suits a short run and a long one."""


class Series:
    """Values over environment steps. Appending costs O(1) on average, reading copies nothing."""

    def __init__(self) -> None:
        self._steps = np.empty(64)
        self._values = np.empty(64)
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def append(self, step: int, value: float | None) -> None:
        """Add a point; None is a gap. A step before the last one counts as the last one: curves never run backwards."""
        if self._length == len(self._steps):
            self._steps = np.concatenate([self._steps, np.empty_like(self._steps)])
            self._values = np.concatenate([self._values, np.empty_like(self._values)])
        newest = self._steps[self._length - 1] if self._length else step
        self._steps[self._length] = max(step, newest)
        self._values[self._length] = np.nan if value is None else value
        self._length += 1

    @property
    def steps(self) -> FloatArray:
        """Environment steps, never decreasing: [len]."""
        return self._steps[: self._length]

    @property
    def values(self) -> FloatArray:
        """Values, NaN where there was none: [len]."""
        return self._values[: self._length]

    @property
    def last(self) -> float:
        """The newest value, NaN before the first."""
        return float(self._values[self._length - 1]) if self._length else float("nan")


def bucketed(
    values: FloatArray, count: int, reduce: Callable[[FloatArray, npt.NDArray[np.intp]], FloatArray]
) -> FloatArray:
    """`reduce` over at most `count` runs of neighbouring values, as ``np.add.reduceat`` does: [min(len, count)]."""
    starts = np.unique(np.linspace(0, len(values), min(count, len(values)), endpoint=False).astype(np.intp))
    return reduce(values, starts)


def bucket_means(values: FloatArray, count: int) -> FloatArray:
    """Means of the finite values in at most `count` runs of neighbours, NaN where there are none."""
    if not len(values):
        return values
    finite = np.isfinite(values)
    with np.errstate(invalid="ignore", over="ignore"):
        sums = bucketed(np.where(finite, values, 0.0), count, np.add.reduceat)
        counts = bucketed(finite.astype(np.float64), count, np.add.reduceat)
        return np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)


def smoothed(steps: FloatArray, values: FloatArray, count: int) -> tuple[FloatArray, FloatArray]:
    """The exponential moving average of a curve, at no more than `count` points.

    The average is taken over means of neighbours, so its cost does not grow with the length of the run, and is
    divided by the sum of its weights, so that the beginning is not drawn towards the first value (Kingma & Ba,
    2015, section 3). Gaps stay gaps and do not weigh.

    Returns:
        (steps, averages), each [min(len, count)].
    """
    means = bucket_means(values, count)
    decay = 1 - 2 / (max(1.0, SMOOTHING_SHARE * len(means)) + 1)
    averages = np.full_like(means, np.nan)
    total = weight = 0.0
    for index, mean in enumerate(means.tolist()):
        if np.isfinite(mean):
            total = decay * total + mean
            weight = decay * weight + 1
            averages[index] = total / weight
    # The end of a run of neighbours is where its mean is known.
    ends = bucketed(steps, count, np.maximum.reduceat) if len(steps) else steps
    return ends, averages
