"""Statistics of an update's samples, in NumPy alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ...protocol import ClipCounts, Histogram

Numbers = npt.NDArray[np.floating]

MOST_ACTIONS = 32
"""Actions with a share of their own; more of them are one together."""


def histogram(numbers: Numbers, low: float, high: float, bins: int) -> Histogram:
    """Count `numbers` in `bins` bins of equal width between `low` and `high`.

    Each bin has its lower edge, and the last one both. Numbers beyond the edges, infinities too, are counted beside the
    bins; NaN is not.
    """
    numbers = numbers.astype(np.float64)
    inside = numbers[(numbers >= low) & (numbers <= high)]
    # np.histogram refuses bins narrower than the numbers' last digit. Halves, as the distance may be infinite.
    span = high / 2 - low / 2
    shares = (inside / 2 - low / 2) / span if span > 0 else np.full(len(inside), 0.5)
    counts = np.bincount(np.minimum((shares * bins).astype(np.int64), bins - 1), minlength=bins)
    below, above = int((numbers < low).sum()), int((numbers > high).sum())
    return Histogram(low=low, high=high, counts=tuple(counts.tolist()), below=below, above=above)


def added(one: Histogram, other: Histogram) -> Histogram:
    """The counts of two histograms with the same bins."""
    return Histogram(
        low=one.low,
        high=one.high,
        counts=tuple(a + b for a, b in zip(one.counts, other.counts, strict=True)),
        below=one.below + other.below,
        above=one.above + other.above,
    )


def range_of(numbers: Numbers) -> tuple[float, float]:
    """The smallest and the largest finite number.

    With some room around them if they are equal.
    """
    finite = numbers[np.isfinite(numbers)]
    if not len(finite):
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    room = 0.0 if low < high else abs(low) / 2 or 0.5
    return low - room, high + room


def mean_and_std(numbers: Numbers) -> tuple[float | None, float | None]:
    """Mean and standard deviation of the finite numbers; None without any."""
    finite = numbers[np.isfinite(numbers)].astype(np.float64)
    return (float(finite.mean()), float(finite.std())) if len(finite) else (None, None)


def clip_counts(
    ratios: Numbers, advantages: Numbers, clip_range: float, clip_range_upper: float, dual_clip: float | None
) -> ClipCounts:
    """Count steps by ratio and advantage, both `[B]`; see `ClipCounts`.

    The bounds are those of `losses.clip_fraction`, to the last bit.
    """
    deviation = ratios - ratios.dtype.type(1.0)
    above, below = deviation > clip_range_upper, -deviation > clip_range
    gains, losses = advantages > 0, advantages < 0
    capped = losses & above & (ratios > dual_clip) if dual_clip is not None else np.zeros(len(ratios), bool)
    return ClipCounts(
        steps=len(ratios),
        outside=int((above | below).sum()),
        risen=int((gains & above).sum()),
        fallen=int((losses & below).sum()),
        astray=int(((gains & below) | (losses & above & ~capped)).sum()),
        capped=int(capped.sum()),
    )


def sum_of_counts(one: ClipCounts, other: ClipCounts) -> ClipCounts:
    """The counts of two samples together."""
    return ClipCounts(
        steps=one.steps + other.steps,
        outside=one.outside + other.outside,
        risen=one.risen + other.risen,
        fallen=one.fallen + other.fallen,
        astray=one.astray + other.astray,
        capped=one.capped + other.capped,
    )


def short(numbers: Sequence[float]) -> tuple[float, ...]:
    """The numbers to four significant digits, for a short line of JSON."""
    return tuple(float(f"{number:.4g}") for number in numbers)


def spread(count: int, most: int) -> npt.NDArray[np.int64]:
    """At most `most` of `count` indices, evenly spread."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64)) if count else np.arange(0)


def action_shares(actions: npt.NDArray[np.integer], size: int) -> tuple[tuple[float, ...], int]:
    """The share of each of `size` actions among `actions`, `[B]`.

    And the number of actions without a share of their own.
    """
    shares = np.bincount(actions, minlength=size) / max(1, len(actions))
    if size <= MOST_ACTIONS:
        return tuple(shares.tolist()), 0
    own = MOST_ACTIONS - 1
    return (*shares[:own].tolist(), float(shares[own:].sum())), size - own


def before_clipping(norm: float, total: float, max_norm: float) -> float:
    """The norm of a part of a gradient before `torch.nn.utils.clip_grad_norm_`.

    Args:
        norm: of the part afterwards.
        total: of the whole gradient before.
    """
    return norm * max(1.0, (total + 1e-6) / max_norm) if math.isfinite(total) else math.nan
