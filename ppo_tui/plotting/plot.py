"""Curves, axes, marks and cursor as a picture. Pure functions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from . import braille, formats
from .braille import BRAILLE, FloatArray, Glyphs, Pattern
from .marks import Mark, MarkKind
from .picture import Picture


def linear_ticks(low: float, high: float, most: int) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten.

    At most `most` of them, within [low, high].
    """
    span = high - low
    if most < 1 or not math.isfinite(span) or span <= 0:
        return []
    power = 10.0 ** math.floor(math.log10(span / most))
    for factor in (1, 2, 5, 10, 20):
        step = factor * power
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if step > 0 and last - first < most:
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
    """The number of decimals to tell apart numbers of this distance."""
    for decimals in range(7):
        scaled = distance * 10**decimals
        if abs(scaled - round(scaled)) < 1e-6 * max(1.0, scaled):
            return decimals
    return 6


_FEET = {MarkKind.CHECKPOINT: "▴", MarkKind.REWIND: "↶"}
"""Signs of marks at the foot of a chart; other marks have a dotted column alone."""


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
    """

    x: FloatArray
    y: FloatArray
    style: str
    pattern: Pattern = Pattern.SOLID
    pane: int = 0
    shadow: bool = False
    letter: str = ""


@dataclass(frozen=True)
class Plotted:
    """A picture of curves, and their place in it.

    Attributes:
        left, width: the columns of cells that the curves have.
        x_range: positions at the left edge of the first of them and the right edge of the last.
    """

    picture: Picture
    left: int
    width: int
    x_range: tuple[float, float]

    def position(self, column: int) -> float | None:
        """The position in the middle of a column of cells.

        None beside the curves.
        """
        start, stop = self.x_range
        inside = column - self.left
        return start + (inside + 0.5) / self.width * (stop - start) if 0 <= inside < self.width else None


@dataclass(frozen=True)
class _Pane:
    """Curves with a common vertical axis.

    Their values are logarithms on a logarithmic one.

    Attributes:
        y_range: bottom and top.
        labels: those of the axis, by row.
    """

    lines: list[Line]
    height: int
    y_range: tuple[float, float]
    labels: dict[int, str]

    @property
    def style(self) -> str:
        """The style of the labels' curve."""
        styles = {line.style for line in self.lines if not line.shadow}
        return styles.pop() if len(styles) == 1 else "axis"


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
    without_data: str = "no data yet",
) -> Plotted:
    """Draw `lines` in `width` × `height` cells, later ones in front.

    Args:
        x_range: positions at the edges, by default as far as the curves reach.
        log: logarithmic axes; values that are not above zero become gaps.
        cursor: position of a vertical line.
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
    row = 0
    for pane in panes:
        body = _draw_pane(pane, width - gutter, x_range, marks, cursor, glyphs, last=pane is panes[-1])
        picture.paste(body, row, gutter)
        if gutter:
            _draw_axis(picture, pane, row, gutter, glyphs)
        row += pane.height
    if label_rows:
        picture.put(row, gutter, _x_labels(x_range, width - gutter), "axis")
    return Plotted(picture, gutter, width - gutter, x_range)


def _x_range(lines: Sequence[Line]) -> tuple[float, float] | None:
    filled = [line for line in lines if len(line.x)]
    if not filled:
        return None
    return float(min(line.x[0] for line in filled)), float(max(line.x[-1] for line in filled))


def _in_decades(line: Line) -> Line:
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log10(line.y)
    return Line(line.x, logs, line.style, line.pattern, line.pane, line.shadow, line.letter)


def _extent(line: Line, x_range: tuple[float, float]) -> tuple[float, float] | None:
    """Lowest and highest value of the line within the range, or None."""
    first, last = np.searchsorted(line.x, x_range[0], "left"), np.searchsorted(line.x, x_range[1], "right")
    inside = line.y[first:last]
    usable = np.concatenate([inside, braille.interpolate(line.x, line.y, np.array(x_range))])
    usable = usable[np.isfinite(usable)]
    return (float(usable.min()), float(usable.max())) if len(usable) else None


def _nothing(lines: Sequence[Line], log: bool, without_data: str) -> str:
    """The reason for an empty chart."""
    if not any(len(line.x) for line in lines):
        return without_data
    return "no values above zero here" if log else "no values here"


def _panes(lines: Sequence[Line], extents: Sequence[tuple[float, float] | None], height: int, log: bool) -> list[_Pane]:
    """One pane above the other, as many as there are rows for."""
    numbers = sorted({line.pane for line in lines})[:height]
    heights = [height // len(numbers) + (index < height % len(numbers)) for index in range(len(numbers))]
    panes = []
    for number, rows in zip(numbers, heights, strict=True):
        members = [line for line in lines if line.pane == number]
        spans = [extent for line, extent in zip(lines, extents, strict=True) if extent and line.pane == number]
        panes.append(_pane(members, spans, rows, log))
    return panes


def _pane(lines: list[Line], extents: list[tuple[float, float]], height: int, log: bool) -> _Pane:
    """A pane with one axis for all `lines`.

    About every third row has a label.
    """
    if not extents:
        return _Pane(lines, height, (0.0, 1.0), {})
    low, high = min(extent[0] for extent in extents), max(extent[1] for extent in extents)
    most = max(2, (height + 2) // 3)
    if log:
        y_range = (low, high) if low < high else (low - 0.5, high + 0.5)
        ticks = decade_ticks(*y_range, most)
        positions = np.log10(ticks)
        texts = labels_each(ticks)
    else:
        y_range = _padded(low, high)
        ticks = linear_ticks(*y_range, most)
        positions, texts = np.array(ticks), labels(ticks)
    rows = braille.rows_of(positions, y_range, height).astype(int).tolist()
    return _Pane(lines, height, y_range, dict(zip(rows, texts, strict=True)))


def _padded(low: float, high: float) -> tuple[float, float]:
    """The range of an axis: with room around a constant."""
    if low < high:
        return low, high
    room = abs(low) / 2 or 1.0
    return (low - room, low + room) if math.isfinite(low - room) and math.isfinite(low + room) else (low / 2, low)


def _draw_pane(
    pane: _Pane,
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
    _add_letters(picture, pane, x_range)
    return picture


def _compose(pane: _Pane, x_range: tuple[float, float], width: int, glyphs: Glyphs) -> tuple[np.ndarray, np.ndarray]:
    """All curves over one another.

    Returns:
        (bits, owners), each [height, width]: lit dots as `braille.pack` numbers them, and the index of the topmost
        curve, −1 for none.
    """
    bits = np.zeros((pane.height, width), np.uint8)
    owners = np.full((pane.height, width), -1)
    in_shadow = np.zeros((pane.height, width), bool)
    for index, line in enumerate(pane.lines):
        low, high = braille.envelope(line.x, line.y, x_range, glyphs.columns * width)
        dots = braille.draw(low, high, pane.y_range, glyphs.rows * pane.height, line.pattern)
        layer = braille.pack(dots, glyphs)
        drawn = layer > 0
        alone = in_shadow if glyphs.merges else True
        bits = np.where(drawn & alone, layer, bits | layer)
        owners[drawn] = index
        in_shadow = np.where(drawn, line.shadow, in_shadow)
    return bits, owners


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
    for kind in MarkKind:
        at = np.array([mark.step for mark in marks if mark.kind is kind])
        columns = _columns(at, x_range, picture.width)
        where = np.zeros((picture.height, picture.width), bool)
        if kind is not MarkKind.CHECKPOINT:
            where[:, columns] = True
            picture.fill(where, ord(glyphs.plain("┊")), "mark")
        if with_feet and kind in _FEET:
            where[:-1] = False
            where[-1, columns] = True
            picture.fill(where, ord(glyphs.plain(_FEET[kind])), "mark")


def _add_cursor(picture: Picture, cursor: float, x_range: tuple[float, float], glyphs: Glyphs) -> None:
    for dot in _columns(np.array([cursor]), x_range, glyphs.columns * picture.width).tolist():
        for row in range(picture.height):
            picture.put(row, dot // glyphs.columns, glyphs.cursor[dot % glyphs.columns], "cursor")


def _add_points(picture: Picture, pane: _Pane, cursor: float, x_range: tuple[float, float], glyphs: Glyphs) -> None:
    """Draw a point at each crossing of cursor and curve."""
    for column in _columns(np.array([cursor]), x_range, picture.width).tolist():
        for line in pane.lines:
            value = braille.interpolate(line.x, line.y, np.array([cursor]))
            if len(line.x) and cursor == line.x[-1]:
                value = line.y[-1:]
            if not line.shadow and np.isfinite(value[0]):
                row = int(braille.rows_of(value, pane.y_range, picture.height)[0])
                picture.put(row, column, glyphs.point, line.style)


def _add_letters(picture: Picture, pane: _Pane, x_range: tuple[float, float]) -> None:
    """Draw each curve's letter behind its last visible value.

    It moves up or down where its place is taken.
    """
    taken: set[tuple[int, int]] = set()
    for line in pane.lines:
        seen = np.flatnonzero(np.isfinite(line.y) & (line.x >= x_range[0]) & (line.x <= x_range[1]))
        if not line.letter or line.shadow or not len(seen):
            continue
        (column,) = _columns(line.x[seen[-1:]], x_range, picture.width).tolist()
        column = min(column + 1, picture.width - 1)
        home = int(braille.rows_of(line.y[seen[-1:]], pane.y_range, picture.height)[0])
        rows = sorted(range(picture.height), key=lambda row: abs(row - home))
        row = next((row for row in rows if (row, column) not in taken), home)
        taken.add((row, column))
        picture.put(row, column, line.letter, line.style)


def _draw_axis(picture: Picture, pane: _Pane, top: int, gutter: int, glyphs: Glyphs) -> None:
    for row in range(pane.height):
        label = pane.labels.get(row, "")
        edge = glyphs.tick if label else glyphs.edge
        picture.put(top + row, 0, f"{label:>{gutter - 1}}{edge}", pane.style)


def _x_labels(x_range: tuple[float, float], width: int) -> str:
    """Labels under their ticks, none touching its neighbour."""
    start, stop = x_range
    ticks = linear_ticks(start, stop, max(3, width // 9))
    cells = [" "] * width
    free_from = 0
    for tick, label in zip(ticks, labels(ticks), strict=True):
        centre = round((tick - start) / (stop - start) * (width - 1))
        at = min(max(centre - len(label) // 2, 0), width - len(label))
        if at >= free_from:
            cells[at : at + len(label)] = label
            free_from = at + len(label) + 2
    return "".join(cells)


def _write_centred(picture: Picture, text: str) -> Picture:
    if len(text) <= picture.width:
        picture.put(picture.height // 2, (picture.width - len(text)) // 2, text, "quiet")
    return picture
