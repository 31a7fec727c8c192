"""Ticks at round numbers, and their labels."""

from __future__ import annotations

import itertools
import math

from . import formats


def linear_ticks(low: float, high: float, most: int) -> list[float]:
    """At most `most` multiples of 1, 2 or 5 times a power of ten within [low, high]."""
    span = high - low
    if most < 1 or not math.isfinite(span) or span <= 0:
        return []
    power = 10.0 ** math.floor(math.log10(span / most))
    for factor in (1, 2, 5, 10, 20):
        step = factor * power
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if step > 0 and last - first < most:
            return [index * step for index in range(first, last + 1)]
    return []


def decade_ticks(low: float, high: float, most: int) -> list[float]:
    """At most `most` ticks of a logarithmic axis: powers of ten, 1, 2 and 5 times them where there is room.

    A part of a decade that holds fewer than two of these has ticks as on a linear axis.

    Args:
        low, high: the ends of the axis as exponents of ten.
    """
    inside = []
    for factors in ((1, 2, 5), (1,)):
        powers = range(math.floor(low), math.floor(high) + 1)
        ticks = [float(f"{factor}e{power}") for power in powers for factor in factors]
        inside = [tick for tick in ticks if tick > 0 and low <= math.log10(tick) <= high]
        if len(inside) <= most:
            break
    if len(inside) < 2 and high - low < 1:
        ends = 10.0**low, 10.0 ** min(high, 308.0)  # beyond lies no number
        return [tick for tick in linear_ticks(*ends, most) if low <= math.log10(tick) <= high] or inside
    return inside[:: -(-len(inside) // most)] if most and inside else []


def labels_each(ticks: list[float]) -> list[str]:
    """Labels where the ticks are decades apart: each as short as it can be, unless two would read the same."""
    each = [labels([tick])[0] for tick in ticks]
    return each if len(set(each)) == len(each) else labels(ticks)


def labels(ticks: list[float]) -> list[str]:
    """Short labels with as many decimals as the distance between the ticks needs: 0, 250K, 500K or 0.05, 0.10."""
    if not ticks:
        return []
    largest = max(abs(tick) for tick in ticks)
    distance = min((b - a for a, b in itertools.pairwise(ticks)), default=largest) or 1.0
    if largest >= 1e15 or 0 < largest < 1e-3:
        digits = 1 + math.floor(math.log10(largest)) - math.floor(math.log10(distance))
        return ["0" if tick == 0 else formats.exponent(tick, min(max(digits, 2), 7)) for tick in ticks]
    scale, suffix = next(
        ((s, u) for s, u in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "K")) if largest >= s), (1, "")
    )
    if largest < 10_000 and scale == 1e3:
        scale, suffix = 1, ""
    decimals = _decimals(distance / scale)
    return ["0" if tick == 0 else f"{tick / scale:.{decimals}f}{suffix}" for tick in ticks]


def _decimals(distance: float) -> int:
    """Decimals that tell apart numbers of this distance."""
    for decimals in range(7):
        scaled = distance * 10**decimals
        if abs(scaled - round(scaled)) < 1e-6 * max(1.0, scaled):
            return decimals
    return 6
