"""Growing curves: points, abandoned branches, smoothing."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from ..files import decoded, read_lines

FloatArray = npt.NDArray[np.float64]

LIVE_POINTS = 4_096
"""Points of a curve on the screen: a run of weeks takes no more memory than one of minutes."""

STEP_KEY = "time/total_timesteps"
"""The key of the step in an update's line of ``metrics.jsonl``."""

EVALUATED_STEP_KEY = "eval/total_timesteps"
"""The same in an evaluation's line, written when the training is further."""


class Series:
    """Values over environment steps.

    Appending costs O(1) on average, reading copies nothing.

    Args:
        most_points: beyond so many, the curve is thinned to half, evenly over its steps: of those in one part the
            lowest and the highest stay, so that no peak is lost. All the room is taken at once. None keeps all.

    Attributes:
        branches: the abandoned ones, oldest first, as (steps, values); each begins with the point that it forked
            from, where there was one.
        version: grows with every change.
    """

    def __init__(self, most_points: int | None = None) -> None:
        self._most_points = most_points
        self.branches: list[tuple[FloatArray, FloatArray]] = []
        self.version = 0
        room = most_points or 64
        self._steps = np.full(room, np.nan)  # written, as the system gives pages of memory only then
        self._values = np.full(room, np.nan)
        self._length = 0
        self._first = np.inf
        self._furthest = -np.inf
        self._provisional = False

    def __len__(self) -> int:
        return self._length

    def append(self, step: float, value: float | None) -> None:
        """Add a point; None is a gap.

        A step before the last one counts as the last one: curves never run backwards.
        """
        self._drop_provisional()
        if self._length == self._most_points:
            self._thin()
        if self._length == len(self._steps):
            self._steps = np.concatenate([self._steps, np.empty_like(self._steps)])
            self._values = np.concatenate([self._values, np.empty_like(self._values)])
        newest = self._steps[self._length - 1] if self._length else step
        self._steps[self._length] = max(step, newest)
        self._values[self._length] = np.nan if value is None else value
        self._length += 1
        self.version += 1
        self._first, self._furthest = min(self._first, step), max(self._furthest, step)

    def preview(self, step: float, value: float | None) -> None:
        """Add a provisional point; the next point takes its place."""
        self.append(step, value)
        self._provisional = True

    def _drop_provisional(self) -> None:
        self._length -= self._provisional
        self._provisional = False

    def _thin(self) -> None:
        assert self._most_points is not None
        edges = np.linspace(self._steps[0], self._steps[self._length - 1], self._most_points // 4)
        part = np.searchsorted(edges, self.steps, side="right")
        first = np.flatnonzero(np.diff(part, prepend=0))
        missing = np.isnan(self.values)
        low = np.lexsort((np.where(missing, np.inf, self.values), part))[first]
        high = np.lexsort((np.where(missing, -np.inf, self.values), part))[np.append(first[1:], self._length) - 1]
        kept = np.union1d(low, high)
        self._steps[: len(kept)], self._values[: len(kept)] = self._steps[kept], self._values[kept]
        self._length = len(kept)
        self.version += 1

    def rewind(self, step: float) -> None:
        """Go back to `step`; later points become an abandoned branch."""
        self._drop_provisional()
        kept = int(np.searchsorted(self.steps, step, side="right"))
        if kept < self._length:
            fork = max(kept - 1, 0)
            self.branches.append((self.steps[fork:].copy(), self.values[fork:].copy()))
            self._length = kept
            self.version += 1

    def at(self, step: float) -> float:
        """The value at `step`; NaN before the first point.

        That of the newest point at or before it.
        """
        index = int(np.searchsorted(self.steps, step, side="right")) - 1
        return float(self._values[index]) if index >= 0 else float("nan")

    @property
    def steps(self) -> FloatArray:
        """Environment steps, never decreasing: [len]."""
        return self._steps[: self._length]

    @property
    def values(self) -> FloatArray:
        """Values, NaN for gaps: [len]."""
        return self._values[: self._length]

    @property
    def last(self) -> float:
        """The newest value, NaN before the first."""
        return float(self._values[self._length - 1]) if self._length else float("nan")

    @property
    def extent(self) -> tuple[float, float]:
        """The first and the furthest step, abandoned branches included.

        (inf, −inf) before the first point.
        """
        return self._first, self._furthest


class Sample(Series):
    """Single values; of many, an even sample is kept.

    Thinned to their extremes they would look hollow, as if nothing happened between.

    Args:
        most_points: at most so many are kept.
    """

    def __init__(self, most_points: int) -> None:
        super().__init__(most_points)
        self._offered, self._every = 0, 1

    def append(self, step: float, value: float | None) -> None:
        if self._offered % self._every == 0:
            super().append(step, value)
        self._offered += 1

    def _thin(self) -> None:
        kept = -(-self._length // 2)
        self._steps[:kept], self._values[:kept] = self.steps[::2].copy(), self.values[::2].copy()
        self._length = kept
        self._every *= 2
        self.version += 1


def extent_of(curves: Iterable[Series]) -> tuple[float, float]:
    """From the first step of all curves to the furthest.

    (0, 0) where all are empty.
    """
    extents = [series.extent for series in curves if len(series) or series.branches]
    return (min(first for first, _ in extents), max(last for _, last in extents)) if extents else (0.0, 0.0)


def read_metrics(source: Path | Iterable[bytes]) -> dict[str, Series]:
    """The curves of a run from its ``metrics.jsonl``, by metric key.

    Where the steps go back, as after a rewind, the lines before become an abandoned branch. Lines that are no
    metrics (the last one of a run that is being written may be half there) are left out.

    Args:
        source: its path, or its lines.

    Raises:
        RefusedFileError: it is no regular file.
        OSError: there is no such file, or it cannot be read.
    """
    curves: dict[str, Series] = {}
    decoder = msgspec.json.Decoder(dict[str, float | None])
    newest = -np.inf
    for line in read_lines(source) if isinstance(source, Path) else source:
        try:
            metrics = decoded(decoder, line)
        except msgspec.DecodeError:
            continue
        if (step := metrics.get(STEP_KEY)) is not None:
            if step <= newest:
                for series in curves.values():
                    series.rewind(np.nextafter(step, -np.inf))
            newest = step
        elif (step := metrics.get(EVALUATED_STEP_KEY)) is None:
            continue
        for key, value in metrics.items():
            curves.setdefault(key, Series()).append(step, value)
    return curves


def bucket_starts(length: int, count: int) -> npt.NDArray[np.intp]:
    """Beginnings of at most `count` even runs of `length` values: [min(length, count)].

    For ``np.add.reduceat`` and its like.
    """
    count = min(count, length)
    return np.arange(count) * length // max(count, 1)


def bucket_means(values: FloatArray, count: int) -> FloatArray:
    """Means of at most `count` runs of neighbours: [min(len, count)].

    Only finite values count; NaN where there are none.
    """
    return _means(values, bucket_starts(len(values), count)) if len(values) else values


def _means(values: FloatArray, starts: npt.NDArray[np.intp]) -> FloatArray:
    """Means of the finite values of each run: [starts]."""
    finite = np.isfinite(values)
    with np.errstate(invalid="ignore", over="ignore"):
        sums = np.add.reduceat(np.where(finite, values, 0.0), starts)
    counts = np.add.reduceat(finite, starts, dtype=np.intp)
    return np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)


def smoothed(
    steps: FloatArray, values: FloatArray, count: int, share: float, window: tuple[float, float] | None = None
) -> tuple[FloatArray, FloatArray]:
    """The exponential moving average in a window, at about `count` points.

    The average is taken over means of neighbours, so its cost does not grow with the length of the run, and is
    divided by the sum of its weights, so that the beginning is not drawn towards the first value (Kingma & Ba,
    2015, section 3). Gaps stay gaps and do not weigh. Neighbours are counted from the first point on, in runs whose
    length is a power of two: a curve that grows by a point keeps its shape, so that little has to be painted.

    Args:
        share: span of the average as a share of the window's points, so that it suits a short run and a long one.
        window: the steps at its edges, the whole curve by default. The points before it still weigh.

    Returns:
        (steps, averages).
    """
    first, last = (0, len(steps)) if window is None else _visible(steps, window)
    if last <= first:
        return steps[:0], values[:0]
    size = 1
    while last - first > count * size:
        size *= 2
    # Runs further before the window than its width have no weight any more.
    begin = max(0, first // size - count) * size
    starts = np.arange(0, last - begin, size)
    means = _means(values[begin:last], starts)
    averages = _average(means, share * _coarse(-(-(last - first) // size)))
    # The end of a run of neighbours is where its mean is known.
    ends = np.append(starts[1:], last - begin) - 1
    return steps[begin:last][ends], averages


def _visible(steps: FloatArray, window: tuple[float, float]) -> tuple[int, int]:
    """Indices (first, last + 1) of the window's points and their neighbours."""
    first = int(np.searchsorted(steps, window[0], side="left")) - 1
    last = int(np.searchsorted(steps, window[1], side="right")) + 1
    return max(first, 0), min(last, len(steps))


def _coarse(count: int) -> int:
    """`count` rounded up to three significant bits.

    So it seldom changes while it grows.
    """
    unit = 1 << max(0, count.bit_length() - 3)
    return -(-count // unit) * unit


def _average(values: FloatArray, span: float) -> FloatArray:
    decay = 1 - 2 / (max(1.0, span) + 1)
    averages = np.full_like(values, np.nan)
    total = weight = 0.0
    for index, value in enumerate(values.tolist()):
        if np.isfinite(value):
            total = decay * total + value
            weight = decay * weight + 1
            averages[index] = total / weight
    return averages
