"""Histograms and scatters of samples, as dots on cells. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from . import braille, formats
from .axes import labels, linear_ticks
from .braille import BRAILLE, FloatArray, Glyphs
from .picture import Picture

_DIAGONAL = "shadow"


@dataclass(frozen=True)
class Bars:
    """Bars of a histogram.

    Attributes:
        counts: one a bin, `[bins]`.
        style: of the bars.
        loose: bins drawn with every other dot, in `loose_style`, bool `[bins]`; None for none.
    """

    counts: npt.NDArray[np.int64]
    style: str
    loose: npt.NDArray[np.bool_] | None = None
    loose_style: str = "shadow"


def histogram_picture(
    width: int,
    height: int,
    bars: Sequence[Bars],
    *,
    low: float,
    high: float,
    marks: Sequence[tuple[float, str]] = (),
    glyphs: Glyphs = BRAILLE,
) -> Picture:
    """Bars of one histogram upwards, those of a second one downwards.

    Both have the same scale, and the last row has labels.

    Args:
        low, high: the edges of the first and the last bin.
        marks: positions with a vertical line, and their labels, the most important first; without any the ends are
            labelled.
    """
    picture = Picture(width, height)
    rows = height - 1
    if rows < len(bars) or width < 4:
        return picture
    most = max((int(each.counts.max(initial=0)) for each in bars), default=0)
    columns = [_column(at, low, high, width) for at, _ in marks if low <= at <= high]
    for column in columns:
        for row in range(rows):
            picture.put(row, column, glyphs.plain("┊"), "mark")
    heights = [rows - rows // 2, rows // 2] if len(bars) == 2 else [rows]
    top = 0
    for number, (each, cells) in enumerate(zip(bars, heights, strict=True)):
        _draw_bars(picture, each, most, top, cells, glyphs, downwards=number == 1)
        top += cells
    ends = [(low, formats.number(low)), (high, formats.number(high))]
    _write_labels(picture, rows, [(_column(at, low, high, width), text) for at, text in marks or ends])
    return picture


def _draw_bars(
    picture: Picture, bars: Bars, most: int, top: int, cells: int, glyphs: Glyphs, *, downwards: bool
) -> None:
    columns, rows = picture.width * glyphs.columns, cells * glyphs.rows
    bins = np.arange(columns) * len(bars.counts) // columns
    tall = np.ceil(bars.counts[bins] / max(1, most) * rows)  # a single sample is seen
    numbers = np.arange(rows)[:, None]
    dots = (numbers if downwards else rows - 1 - numbers) < tall
    loose = np.zeros(columns, bool) if bars.loose is None else bars.loose[bins]
    dots &= ~loose | ((numbers + np.arange(columns)) % 2 == 0)
    packed = braille.pack(dots, glyphs)
    drawn = np.zeros((picture.height, picture.width), bool)
    chars = np.zeros((picture.height, picture.width), np.uint32)
    drawn[top : top + cells], chars[top : top + cells] = packed > 0, glyphs.table[packed]
    loose_cells = np.broadcast_to(loose.reshape(picture.width, glyphs.columns).any(axis=1), drawn.shape)
    picture.fill(drawn & ~loose_cells, chars, bars.style)
    picture.fill(drawn & loose_cells, chars, bars.loose_style)


def scatter_picture(width: int, height: int, x: FloatArray, y: FloatArray, *, glyphs: Glyphs = BRAILLE) -> Picture:
    """Points on two axes of one range, before their diagonal.

    Points that are not finite are left out.
    """
    picture = Picture(width, height)
    finite = np.isfinite(x) & np.isfinite(y)
    x, y = x[finite], y[finite]
    if not len(x) or height < 3 or width < 12:
        return picture
    low, high = float(min(x.min(), y.min())), float(max(x.max(), y.max()))
    room = 0.0 if low / 2 < high / 2 else abs(low) / 2 or 0.5
    low, high = low - room, high + room
    ticks = linear_ticks(low, high, max(2, height // 4))
    texts = labels(ticks)
    gutter = max(map(len, texts), default=0) + 1
    cells, rows = width - gutter, height - 1
    columns, dots_high = cells * glyphs.columns, rows * glyphs.rows
    points = np.zeros((dots_high, columns), bool)
    across = np.clip(((x / 2 - low / 2) / (high / 2 - low / 2) * columns).astype(int), 0, columns - 1)
    points[braille.rows_of(y, (low, high), dots_high).astype(int), across] = True
    diagonal = np.zeros_like(points)
    at = np.arange(0, columns, 3)
    share = (at + 0.5) / columns
    diagonal[braille.rows_of((1 - share) * low + share * high, (low, high), dots_high).astype(int), at] = True
    inner = Picture(cells, rows)
    behind, front = braille.pack(diagonal, glyphs), braille.pack(points, glyphs)
    inner.fill(behind > 0, glyphs.table[behind], _DIAGONAL)
    inner.fill(front > 0, glyphs.table[behind | front if glyphs.merges else front], "curve-1")
    picture.paste(inner, 0, gutter)
    rows_of_ticks = braille.rows_of(np.array(ticks), (low, high), rows).astype(int).tolist() if ticks else []
    names = dict(zip(rows_of_ticks, texts, strict=True))
    for row in range(rows):
        name = names.get(row, "")
        picture.put(row, 0, f"{name:>{gutter - 1}}{glyphs.tick if name else glyphs.edge}", "axis")
    named = zip(ticks, texts, strict=True)
    _write_labels(picture, rows, [(gutter + _column(at, low, high, cells), text) for at, text in named])
    return picture


def _column(at: float, low: float, high: float, width: int) -> int:
    """The column of cells of a position."""
    # Halves, because the distance between two finite numbers may be infinite.
    span = high / 2 - low / 2
    return min(max(int((at / 2 - low / 2) / span * width), 0), width - 1) if span > 0 else 0


def _write_labels(picture: Picture, row: int, texts: Sequence[tuple[int, str]]) -> None:
    """Write texts centred at columns, each if there is room."""
    taken = np.zeros(picture.width + 2, bool)
    for column, text in texts:
        start = min(max(column - len(text) // 2, 0), picture.width - len(text))
        if start >= 0 and not taken[start : start + len(text) + 2].any():
            taken[start + 1 : start + 1 + len(text)] = True
            picture.put(row, start, text, "axis")
