"""Curves, axes, marks and cursor as a picture. Pure functions."""

from __future__ import annotations

import math
import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from . import axes, braille
from .braille import BRAILLE, FloatArray, Glyphs, Pattern
from .marks import Mark, MarkKind
from .picture import Picture

_FEET = {MarkKind.CHECKPOINT: "▴", MarkKind.REWIND: "↶", MarkKind.EDIT: "±"}
"""Signs of marks at the foot of a chart, one above the other in the same place."""


@dataclass(frozen=True)
class Line:
    """One curve of a chart.

    Attributes:
        x: positions, never decreasing, [n].
        y: values, [n]; those that are not finite are gaps.
        style: name of its style, also that of the labels of its axis.
        pane: the part of the chart that it is drawn in, 0 on top. Curves of different units, whose axes would not
            agree, lie in panes above one another.
        shadow: whether it lies in the background, covered by other curves.
        letter: stands at the curve's end, to find it in the legend without colours.
        points: whether it is a cloud of single points, joined by nothing.
        sign: stands at each of its points.
        guide: whether it is a level to compare with, the same everywhere: an axis that ends far from it leaves it out.
    """

    x: FloatArray
    y: FloatArray
    style: str
    pattern: Pattern = Pattern.SOLID
    pane: int = 0
    shadow: bool = False
    letter: str = ""
    points: bool = False
    sign: str = ""
    guide: bool = False


def curve_letter(index: int) -> str:
    """The letter of one curve among several, in chart and legend."""
    return string.ascii_uppercase[index % len(string.ascii_uppercase)]


@dataclass(frozen=True)
class Pane:
    """Curves with a common vertical axis.

    Their values are logarithms on a logarithmic one.

    Attributes:
        top: its first row of cells.
        height: its rows.
        y_range: bottom and top.
        ticks: heights with a label.
        labels: those of the axis, by row.
    """

    lines: list[Line]
    top: int
    height: int
    y_range: tuple[float, float]
    ticks: FloatArray
    labels: dict[int, str]

    @property
    def style(self) -> str:
        """The style of the labels' curve."""
        styles = {line.style for line in self.lines if not line.shadow}
        return styles.pop() if len(styles) == 1 else "axis"


@dataclass(frozen=True)
class Plotted:
    """A picture of curves, and their place in it.

    Attributes:
        left, width: the columns of cells that the curves have.
        x_range: positions at the left edge of the first of them and the right edge of the last.
        panes: from top to bottom; none without data.
    """

    picture: Picture
    left: int
    width: int
    x_range: tuple[float, float]
    panes: Sequence[Pane] = ()

    @property
    def height(self) -> int:
        """The rows of cells with curves."""
        return sum(pane.height for pane in self.panes)

    def position(self, column: int) -> float | None:
        """The position in the middle of a column of cells.

        None beside the curves.
        """
        start, stop = self.x_range
        inside = column - self.left
        return start + (inside + 0.5) / self.width * (stop - start) if 0 <= inside < self.width else None


def plot(
    lines: Sequence[Line],
    width: int,
    height: int,
    *,
    x_range: tuple[float, float] | None = None,
    log: bool = False,
    marks: Sequence[Mark] = (),
    cursor: float | None = None,
    glyphs: Glyphs = BRAILLE,
    unit: str = "",
    without_data: str = "no data yet",
) -> Plotted:
    """Draw `lines` in `width` × `height` cells, later ones in front.

    Args:
        x_range: positions at the edges, by default as far as the curves reach.
        log: logarithmic axes; values that are not above zero become gaps.
        cursor: position of a vertical line.
        unit: of the positions, in a word.
    """
    picture = Picture(width, height)
    x_range = x_range or _x_range(lines) or (0.0, 0.0)
    curves = [_in_decades(line) for line in lines] if log else list(lines)
    extents = [_extent(line, x_range) for line in curves]
    if not any(extents):
        return Plotted(_write_centred(picture, _nothing(lines, log, without_data)), 0, width, x_range)
    label_rows = 1 if height >= 4 else 0
    panes = _panes(curves, extents, height - label_rows, log)
    gutter = max(len(label) for pane in panes for label in ("", *pane.labels.values())) + 1
    if gutter > width // 3:
        gutter = 0
    for pane in panes:
        body = _draw_pane(pane, width - gutter, x_range, marks, cursor, glyphs, last=pane is panes[-1])
        picture.paste(body, pane.top, gutter)
        if gutter:
            _draw_axis(picture, pane, gutter, glyphs)
    if label_rows:
        picture.put(height - 1, gutter, axes.labels_below(x_range, width - gutter, unit), "axis")
    return Plotted(picture, gutter, width - gutter, x_range, panes)


def height_at(line: Line, x: float) -> float:
    """The height of a drawn line at a position; NaN beside it."""
    if len(line.x) and x == line.x[-1]:
        return float(line.y[-1])
    return float(braille.interpolate(line.x, line.y, np.array([x]))[0])


def _x_range(lines: Sequence[Line]) -> tuple[float, float] | None:
    filled = [line for line in lines if len(line.x)]
    if not filled:
        return None
    return float(min(line.x[0] for line in filled)), float(max(line.x[-1] for line in filled))


def _in_decades(line: Line) -> Line:
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log10(line.y)
    return replace(line, y=logs)


def _extent(line: Line, x_range: tuple[float, float]) -> tuple[float, float] | None:
    """Lowest and highest value of the line within the range, or None.

    None for a guide as well: curves alone decide on the axis.
    """
    if line.guide:
        return None
    first, last = np.searchsorted(line.x, x_range[0], "left"), np.searchsorted(line.x, x_range[1], "right")
    inside = line.y[first:last]
    ends = np.zeros(0) if line.points else braille.interpolate(line.x, line.y, np.array(x_range))
    parts = [(part, np.isfinite(part)) for part in (inside, ends)]
    low = min(float(part.min(where=finite, initial=math.inf)) for part, finite in parts)
    high = max(float(part.max(where=finite, initial=-math.inf)) for part, finite in parts)
    return (low, high) if low <= high else None


def _nothing(lines: Sequence[Line], log: bool, without_data: str) -> str:
    """The reason for an empty chart."""
    if not any(len(line.x) for line in lines if not line.guide and not line.shadow):
        return without_data
    return "no values above zero here" if log else "no values here"


def _panes(lines: Sequence[Line], extents: Sequence[tuple[float, float] | None], height: int, log: bool) -> list[Pane]:
    """One pane above the other, as many as there are rows for."""
    numbers = sorted({line.pane for line in lines})[:height]
    heights = [height // len(numbers) + (index < height % len(numbers)) for index in range(len(numbers))]
    panes, top = [], 0
    for number, rows in zip(numbers, heights, strict=True):
        members = [line for line in lines if line.pane == number]
        spans = [extent for line, extent in zip(lines, extents, strict=True) if extent and line.pane == number]
        panes.append(_pane(members, spans, top, rows, log))
        top += rows
    return panes


def _pane(lines: list[Line], extents: list[tuple[float, float]], top: int, height: int, log: bool) -> Pane:
    """A pane with one axis for all `lines`.

    About every third row has a label.
    """
    if not extents:
        return Pane(lines, top, height, (0.0, 1.0), np.zeros(0), {})
    y_range = min(extent[0] for extent in extents), max(extent[1] for extent in extents)
    lines, y_range = _with_guides(lines, axes.spread(*y_range, log=log))
    most = max(2, (height + 2) // 3)
    if log:
        ticks = axes.decade_ticks(*y_range, most)
        positions = np.log10(ticks)
        texts = axes.labels_each(ticks)
    else:
        ticks = axes.linear_ticks(*y_range, most)
        if len(ticks) < 2:  # one label is no scale
            ticks = axes.linear_ticks(*y_range, most + 1)
        positions, texts = np.array(ticks), axes.labels(ticks)
    rows = braille.rows_of(positions, y_range, height).astype(int).tolist()
    return Pane(lines, top, height, y_range, positions, dict(zip(rows, texts, strict=True)))


def _with_guides(lines: list[Line], y_range: tuple[float, float]) -> tuple[list[Line], tuple[float, float]]:
    """`lines` with the guides nearby, and the range with them.

    A guide is near if the range at most doubles for it.
    """
    low, high = y_range
    kept = []
    for line in lines:
        if line.guide:
            level = float(line.y[0])
            if not (math.isfinite(level) and low - (high - low) <= level <= high + (high - low)):
                continue
            y_range = min(y_range[0], level), max(y_range[1], level)
        kept.append(line)
    return kept, y_range


def _draw_pane(
    pane: Pane,
    width: int,
    x_range: tuple[float, float],
    marks: Sequence[Mark],
    cursor: float | None,
    glyphs: Glyphs,
    *,
    last: bool,
) -> Picture:
    picture = Picture(width, pane.height)
    bits, owners = _compose(pane, x_range, width, glyphs)
    for index in np.flatnonzero([line.shadow for line in pane.lines]).tolist():
        picture.fill(owners == index, glyphs.shadow_table[bits], pane.lines[index].style)
    _add_marks(picture, marks, x_range, glyphs, with_feet=last)
    if cursor is not None:
        _add_cursor(picture, cursor, x_range, glyphs)
    for index in np.flatnonzero([not line.shadow for line in pane.lines]).tolist():
        picture.fill(owners == index, glyphs.table[bits], pane.lines[index].style)
    if cursor is not None:
        _add_points(picture, pane, cursor, x_range, glyphs)
    for row, column, sign, style in signs(pane, x_range, width):
        picture.put(row, column, glyphs.plain(sign), style)
    return picture


def _compose(pane: Pane, x_range: tuple[float, float], width: int, glyphs: Glyphs) -> tuple[np.ndarray, np.ndarray]:
    """All curves over one another.

    Returns:
        (bits, owners), each [height, width]: lit dots as `braille.pack` numbers them, and the index of the topmost
        curve, −1 for none.
    """
    bits = np.zeros((pane.height, width), np.uint8)
    owners = np.full((pane.height, width), -1, np.int16)
    in_shadow = np.zeros((pane.height, width), bool)
    for index, line in enumerate(pane.lines):
        layer = braille.pack(_dots(line, pane, x_range, width, glyphs), glyphs)
        drawn = layer > 0
        alone = in_shadow if glyphs.merges else True
        bits = np.where(drawn & alone, layer, bits | layer)
        owners[drawn] = index
        in_shadow = np.where(drawn, line.shadow, in_shadow)
    return bits, owners


def _dots(line: Line, pane: Pane, x_range: tuple[float, float], width: int, glyphs: Glyphs) -> braille.Dots:
    columns, rows = glyphs.columns * width, glyphs.rows * pane.height
    if line.points:
        return braille.scatter(line.x, line.y, x_range, pane.y_range, rows, columns)
    low, high = braille.envelope(line.x, line.y, x_range, columns)
    return braille.draw(low, high, pane.y_range, rows, line.pattern)


def _columns(at: FloatArray, x_range: tuple[float, float], columns: int) -> np.ndarray:
    """The columns of the positions within the range, sorted and unique."""
    start, stop = x_range
    if not stop > start:
        return np.zeros(min(1, int(np.isin(at, [start]).sum())), int)
    inside = at[(at >= start) & (at <= stop)]
    return np.unique(np.minimum(((inside - start) / (stop - start) * columns).astype(int), columns - 1))


def _add_marks(
    picture: Picture, marks: Sequence[Mark], x_range: tuple[float, float], glyphs: Glyphs, *, with_feet: bool
) -> None:
    """Draw marks: dotted columns, and signs at the foot.

    A checkpoint, which does not affect the curve, has a sign alone.
    """
    where = np.zeros((picture.height, picture.width), bool)
    where[:, columns_of_changes(marks, x_range, picture.width)] = True
    picture.fill(where, ord(glyphs.plain("┊")), "mark")
    for row, column, sign in feet(marks, x_range, picture.width, picture.height * with_feet):
        picture.put(row, column, glyphs.plain(sign), "mark")


def columns_of_changes(marks: Sequence[Mark], x_range: tuple[float, float], columns: int) -> np.ndarray:
    """The columns of all marks but checkpoints, without effect on curves."""
    steps = np.array([mark.step for mark in marks if mark.kind is not MarkKind.CHECKPOINT])
    return _columns(steps, x_range, columns)


def feet(
    marks: Sequence[Mark], x_range: tuple[float, float], width: int, height: int
) -> Iterator[tuple[int, int, str]]:
    """Row, column and sign of the marks, from the foot upwards."""
    below = np.zeros(width, int)  # so many signs in each column already
    for kind in MarkKind:
        columns = _columns(np.array([mark.step for mark in marks if mark.kind is kind]), x_range, width)
        columns = columns[below[columns] < height]
        yield from ((height - 1 - int(below[column]), column, _FEET[kind]) for column in columns.tolist())
        below[columns] += 1


def _add_cursor(picture: Picture, cursor: float, x_range: tuple[float, float], glyphs: Glyphs) -> None:
    for dot in _columns(np.array([cursor]), x_range, glyphs.columns * picture.width).tolist():
        for row in range(picture.height):
            picture.put(row, dot // glyphs.columns, glyphs.cursor[dot % glyphs.columns], "cursor")


def _add_points(picture: Picture, pane: Pane, cursor: float, x_range: tuple[float, float], glyphs: Glyphs) -> None:
    """Draw a point at each crossing of cursor and curve."""
    for column in _columns(np.array([cursor]), x_range, picture.width).tolist():
        for line in pane.lines:
            value = height_at(line, cursor)
            if not line.shadow and math.isfinite(value):
                row = int(braille.rows_of(np.array([value]), pane.y_range, picture.height)[0])
                picture.put(row, column, glyphs.point, line.style)


def signs(pane: Pane, x_range: tuple[float, float], width: int) -> Iterator[tuple[int, int, str, str]]:
    """Row, column, text and style of each sign above the curves.

    Each curve's letter comes behind its last visible value, up or down where its place is taken.
    """
    taken: set[tuple[int, int]] = set()
    for line in pane.lines:
        seen = np.flatnonzero(np.isfinite(line.y) & (line.x >= x_range[0]) & (line.x <= x_range[1]))
        if not line.letter or line.shadow or not len(seen):
            continue
        (column,) = _columns(line.x[seen[-1:]], x_range, width).tolist()
        column = min(column + 1, width - 1)
        home = int(braille.rows_of(line.y[seen[-1:]], pane.y_range, pane.height)[0])
        rows = sorted(range(pane.height), key=lambda row: abs(row - home))
        row = next((row for row in rows if (row, column) not in taken), home)
        taken.add((row, column))
        yield row, column, line.letter, line.style
    for line in pane.lines:
        if line.sign:
            for x, y in zip(line.x.tolist(), line.y.tolist(), strict=True):
                row = braille.rows_of(np.array([y]), pane.y_range, pane.height)[0]
                for column in _columns(np.array([x]), x_range, width).tolist():
                    if np.isfinite(row):
                        yield int(row), column, line.sign, line.style


def _draw_axis(picture: Picture, pane: Pane, gutter: int, glyphs: Glyphs) -> None:
    for row in range(pane.height):
        label = pane.labels.get(row, "")
        edge = glyphs.tick if label else glyphs.edge
        picture.put(pane.top + row, 0, f"{label:>{gutter - 1}}{edge}", pane.style)


def _write_centred(picture: Picture, text: str) -> Picture:
    if len(text) <= picture.width:
        picture.put(picture.height // 2, (picture.width - len(text)) // 2, text, "quiet")
    return picture
