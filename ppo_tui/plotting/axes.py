"""Axes: their range, ticks and labels. Pure functions."""

from __future__ import annotations

import itertools
import math

_LEAST_SPAN = 0.1
"""Least span of an axis, as a share of its largest value: a flat curve is to look flat."""

_LEAST_WIDTH_WITH_UNIT = 24
"""Cells of an axis from which on its unit stands behind the labels."""


def spread(low: float, high: float, *, log: bool) -> tuple[float, float]:
    """The range of an axis, with room around a flat curve."""
    least = math.log10(1 + _LEAST_SPAN) if log else _LEAST_SPAN * max(abs(low), abs(high))
    # Halves, because the distance between two finite numbers may be infinite.
    if low < high and high / 2 - low / 2 >= least / 2:
        return low, high
    if not least:  # zero alone, which few metrics go below
        return 0.0, 1.0
    middle, room = low / 2 + high / 2, least / 2
    bottom, top = middle - room, middle + room
    # Next to the largest number there is no room on one side.
    return (bottom if math.isfinite(bottom) else low, top if math.isfinite(top) else high)


def linear_ticks(low: float, high: float, most: int) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten.

    At most `most` of them, within [low, high].
    """
    span = high - low
    if most < 1 or not math.isfinite(span) or span / most <= 0:
        return []
    power = 10.0 ** math.floor(math.log10(span / most))
    if not power:  # next to the smallest number there is no smaller one
        return []
    for factor in (1, 2, 5, 10, 20):
        step = factor * power
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < most:
            ticks = [index * step for index in range(first, last + 1)]
            # Far from zero, neighbouring floats are as far apart as the ticks.
            return [tick for tick in ticks if low - 1e-6 * span <= tick <= high + 1e-6 * span]
    return []


def decade_ticks(low: float, high: float, most: int) -> list[float]:
    """At most `most` ticks of a logarithmic axis.

    Powers of ten; 1, 2 and 5 times them where there is room.

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
    """Labels of ticks decades apart, each as short as possible.

    Unless two would read the same.
    """
    each = [labels([tick])[0] for tick in ticks]
    return each if len(set(each)) == len(each) else labels(ticks)


def labels(ticks: list[float]) -> list[str]:
    """Short labels, such as 0, 250K, 500K or 0.05, 0.10.

    They have as many decimals as the distance between the ticks needs.
    """
    if not ticks:
        return []
    largest = max(abs(tick) for tick in ticks)
    distance = min((b - a for a, b in itertools.pairwise(ticks)), default=largest) or 1.0
    if largest >= 1e15 or 0 < largest < 1e-3:
        return _powers(ticks, distance)
    scale, suffix = next(
        ((s, u) for s, u in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "K")) if largest >= s), (1, "")
    )
    if largest < 10_000 and scale == 1e3:
        scale, suffix = 1, ""
    decimals = _decimals(distance / scale)
    return ["0" if tick == 0 else f"{tick / scale:,.{decimals}f}{suffix}" for tick in ticks]


def _powers(ticks: list[float], distance: float) -> list[str]:
    """Labels with an exponent, with as many digits as needed."""
    texts: list[str] = []
    for digits in range(7):
        texts = [f"{tick:.{digits}e}" for tick in ticks]
        if all(abs(float(text) - tick) <= 1e-3 * distance for text, tick in zip(texts, ticks, strict=True)):
            break
    parts = (text.partition("e") for text in texts)
    return ["0" if tick == 0 else f"{part[0]}e{int(part[2])}" for tick, part in zip(ticks, parts, strict=True)]


def _decimals(distance: float) -> int:
    """The number of decimals to tell apart numbers of this distance."""
    for decimals in range(7):
        scaled = distance * 10**decimals
        if abs(scaled - round(scaled)) < 1e-6 * max(1.0, scaled):
            return decimals
    return 6


def labels_below(x_range: tuple[float, float], width: int, unit: str) -> str:
    """Labels under their ticks, none touching its neighbour.

    The unit stands at the right end, in place of a label.
    """
    start, stop = x_range
    ticks = linear_ticks(start, stop, max(3, width // 9))
    cells = [" "] * width
    free_from, free_to = 0, width
    if unit and width >= _LEAST_WIDTH_WITH_UNIT:
        cells[width - len(unit) :] = unit
        free_to = width - len(unit) - 1
    for tick, label in zip(ticks, labels(ticks), strict=True):
        centre = round((tick - start) / (stop - start) * (width - 1))
        at = min(max(centre - len(label) // 2, 0), width - len(label))
        if free_from <= at and at + len(label) <= free_to:
            cells[at : at + len(label)] = label
            free_from = at + len(label) + 2
    return "".join(cells)
