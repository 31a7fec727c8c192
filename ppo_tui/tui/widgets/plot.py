"""A chart as rows of styled text: curves, axes, marks. Pure, so that it can be tested cell by cell."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from . import axis, braille
from .braille import FloatArray, Pattern

Row = list[tuple[str, str]]
"""Pieces of a line, each with the name of its style."""

_MARK = 0  # index of the style of marks; curves count from 1


@dataclass(frozen=True)
class Line:
    """One curve of a chart.

    Attributes:
        x: positions, never decreasing, [n].
        y: values, [n]; those that are not finite are gaps.
        style: name of its style, also that of the labels of its axis.
        pane: the part of the chart that it is drawn in, 0 on top. Curves of different units, whose axes would not
            agree, lie in panes above one another.
        shadow: whether it lies in the background: it gives way to the curves in front of it.
    """

    x: FloatArray
    y: FloatArray
    style: str
    pattern: Pattern = Pattern.SOLID
    pane: int = 0
    shadow: bool = False


@dataclass(frozen=True)
class Pane:
    """Curves that share a vertical axis.

    Attributes:
        y_range: bottom and top, in decades on a logarithmic axis.
        labels: those of the axis, by row.
    """

    lines: list[Line]
    height: int
    y_range: tuple[float, float]
    labels: dict[int, str]

    @property
    def style(self) -> str:
        return next((line.style for line in self.lines if not line.shadow), "axis")


def plot(
    lines: Sequence[Line], width: int, height: int, *, log: bool = False, marks: Sequence[float] = ()
) -> list[Row]:
    """Draw `lines` in `width` × `height` cells.

    Args:
        log: logarithmic axes; values that are not above zero become gaps.
        marks: positions of vertical marks, where something was changed.

    Returns:
        `height` rows, each exactly `width` cells wide.
    """
    x_range = _x_range(lines)
    if x_range is None or not any(_extent(line, log) for line in lines):
        return _empty(width, height, "no values above zero" if x_range and log else "no data yet")
    label_rows = 1 if height >= 4 else 0
    panes = _panes(lines, height - label_rows, log)
    gutter = max(len(label) for pane in panes for label in ("", *pane.labels.values())) + 1
    if gutter > width // 3:
        gutter = 0
    rows = [row for pane in panes for row in _draw_pane(pane, width - gutter, gutter, x_range, log, marks)]
    if label_rows:
        rows.append([(" " * gutter + _x_labels(x_range, width - gutter), "axis")])
    return rows


def _x_range(lines: Sequence[Line]) -> tuple[float, float] | None:
    filled = [line for line in lines if len(line.x)]
    if not filled:
        return None
    return float(min(line.x[0] for line in filled)), float(max(line.x[-1] for line in filled))


def _extent(line: Line, log: bool) -> tuple[float, float] | None:
    """Lowest and highest value that can be drawn, or None."""
    usable = line.y[np.isfinite(line.y) & (line.y > 0)] if log else line.y[np.isfinite(line.y)]
    return (float(usable.min()), float(usable.max())) if len(usable) else None


def _panes(lines: Sequence[Line], height: int, log: bool) -> list[Pane]:
    """One pane above the other, as many as there are rows for."""
    numbers = sorted({line.pane for line in lines})[:height]
    heights = [height // len(numbers) + (index < height % len(numbers)) for index in range(len(numbers))]
    return [
        _pane([line for line in lines if line.pane == number], rows, log)
        for number, rows in zip(numbers, heights, strict=True)
    ]


def _pane(lines: list[Line], height: int, log: bool) -> Pane:
    """The pane with an axis that all of `lines` fit on, and a label for about every third row."""
    extents = [extent for line in lines if (extent := _extent(line, log))]
    if not extents:
        return Pane(lines, height, (0.0, 1.0), {})
    low, high = min(extent[0] for extent in extents), max(extent[1] for extent in extents)
    most = max(2, (height + 2) // 3)
    if log:
        ticks = axis.log_ticks(low, high, most) if low < high else [low]
        room = 0.0 if low < high else 0.5
        y_range = (math.log10(low) - room, math.log10(high) + room)
        texts = [axis.labels([tick])[0] for tick in ticks]
    else:
        y_range = low, high = _padded(low, high)
        ticks = axis.linear_ticks(low, high, most)
        texts = axis.labels(ticks)
    positions = np.log10(ticks) if log else np.array(ticks)
    rows = (braille.rows_of(positions, y_range, 4 * height) // 4).astype(int).tolist()
    return Pane(lines, height, y_range, dict(zip(rows, texts, strict=True)))


def _draw_pane(
    pane: Pane, width: int, gutter: int, x_range: tuple[float, float], log: bool, marks: Sequence[float]
) -> list[Row]:
    cells, owners = _compose(pane, x_range, width, log)
    _add_marks(cells, owners, marks, x_range)
    names = ["mark", *(line.style for line in pane.lines)]
    rows = []
    for index, text in enumerate(braille.to_text(cells)):
        label = pane.labels.get(index, "")
        edge = [(f"{label:>{gutter - 1}}" + ("┤" if label else "│"), pane.style)] if gutter else []
        rows.append(edge + _runs(text, owners[index], names))
    return rows


def _padded(low: float, high: float) -> tuple[float, float]:
    """A constant gets room around it; anything else is shown from edge to edge."""
    if low < high:
        return low, high
    room = abs(low) / 2 or 1.0
    return (low - room, low + room) if math.isfinite(low - room) and math.isfinite(low + room) else (low / 2, low)


def _compose(pane: Pane, x_range: tuple[float, float], width: int, log: bool) -> tuple[np.ndarray, np.ndarray]:
    """All curves over one another: braille patterns and, for the style, 1 + the index of the topmost curve.

    Returns:
        (cells, owners), each [height, width].
    """
    cells = np.zeros((pane.height, width), np.uint8)
    owners = np.full((pane.height, width), _MARK)
    in_shadow = np.zeros((pane.height, width), bool)
    for index, line in enumerate(pane.lines, start=1):
        values = np.where(line.y > 0, line.y, np.nan) if log else line.y
        low, high = braille.envelope(line.x, values, x_range, 2 * width)
        if log:
            low, high = np.log10(low), np.log10(high)
        layer = braille.pack(braille.draw(low, high, pane.y_range, pane.height, line.pattern))
        drawn = layer > 0
        cells = np.where(drawn & in_shadow, layer, cells | layer)
        owners[drawn] = index
        in_shadow = np.where(drawn, line.shadow, in_shadow)
    return cells, owners


def _add_marks(cells: np.ndarray, owners: np.ndarray, marks: Sequence[float], x_range: tuple[float, float]) -> None:
    """Dot the columns of the marks, behind the curves."""
    start, stop = x_range
    for mark in marks:
        if start <= mark <= stop and stop > start:
            column = min(int((mark - start) / (stop - start) * cells.shape[1]), cells.shape[1] - 1)
            free = owners[:, column] == _MARK
            cells[free, column] = 0x05  # the first and the third dot of the left half


def _runs(text: str, owners: np.ndarray, names: Sequence[str]) -> Row:
    """Cut a row of cells where the style changes."""
    cuts = [0, *(np.flatnonzero(np.diff(owners)) + 1).tolist(), len(text)]
    return [(text[a:b], names[owners[a]]) for a, b in itertools.pairwise(cuts) if b > a]


def _x_labels(x_range: tuple[float, float], width: int) -> str:
    """Labels under their ticks; one that would touch its neighbour is left out."""
    start, stop = x_range
    ticks = axis.linear_ticks(start, stop, max(3, width // 9))
    cells = [" "] * width
    free_from = 0
    for tick, label in zip(ticks, axis.labels(ticks), strict=True):
        centre = round((tick - start) / (stop - start) * (width - 1))
        at = min(max(centre - len(label) // 2, 0), width - len(label))
        if at >= free_from:
            cells[at : at + len(label)] = label
            free_from = at + len(label) + 2
    return "".join(cells)


def _empty(width: int, height: int, why: str) -> list[Row]:
    text = why if len(why) <= width else ""
    return [[((text if row == height // 2 else "").center(width), "axis")] for row in range(height)]
