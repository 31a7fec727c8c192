"""Curves, marks and cursor of a plot in pixels. Pure numpy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from . import braille
from .braille import FloatArray, Pattern
from .marks import Mark
from .plot import Line, Pane, Plotted, columns_of_changes, feet, height_at, signs

Colour = tuple[int, int, int]
Raster = npt.NDArray[np.float32]

_SHADES = 4
"""Steps of a smooth edge. More would look no better, and a terminal of sixels has 256 colours."""

_GRID = 0.3
"""Strength of the lines at the labels of the axis."""

_SIGNS = "▴↶±★ABCDEFGHIJKLMNOPQRSTUVWXYZ■"
"""Signs that can be painted; the last one stands for all others."""

_DOTS = bytes.fromhex(
    "40707c7040 081c2a0808 44445f4444 241c1f1c24 7e1111117e 7f49494936 3e41414122 7f4141221c 7f49494941 7f09090901"
    "3e41495a7a 7f0808087f 00417f4100 2040413f01 7f08142241 7f40404040 7f020c027f 7f0408107f 3e4141413e 7f09090906"
    "3e4151215e 7f09192946 4649494931 01017f0101 3f4040403f 1f2040201f 3f4038403f 6314081463 0708700807 6151494543"
    "7f7f7f7f7f"
)
"""Each sign of 5 × 7 dots: a byte a column, its lowest bit on top."""


def paint(
    plotted: Plotted,
    cell: tuple[int, int],
    colours: Mapping[str, Colour],
    *,
    marks: Sequence[Mark] = (),
    cursor: float | None = None,
) -> npt.NDArray[np.uint8]:
    """Paint the cells of the curves, uint8 `[H, W, 3]`.

    What lies before what, and where, is as in the picture of cells.

    Args:
        cell: width and height of a cell in pixels.
        colours: of all styles, and of the "background".
        marks, cursor: those of `plot`.
    """
    width, height = plotted.width * cell[0], plotted.height * cell[1]
    pixels = np.full((height, width, 3), colours["background"], np.float32)
    for pane in plotted.panes:
        rows = slice(pane.top * cell[1], (pane.top + pane.height) * cell[1])
        _Painter(pixels[rows], pane, plotted.x_range, cell, colours).paint(
            marks, cursor, with_feet=pane is plotted.panes[-1]
        )
    return np.rint(pixels).astype(np.uint8)


class _Painter:
    """Paints one pane.

    Args:
        pixels: those of the pane, `[H, W, 3]`, to be painted.
    """

    def __init__(
        self,
        pixels: Raster,
        pane: Pane,
        x_range: tuple[float, float],
        cell: tuple[int, int],
        colours: Mapping[str, Colour],
    ) -> None:
        self._pixels, self._pane, self._x_range, self._colours = pixels, pane, x_range, colours
        self._cell_width, self._cell_height = cell
        self._height, self._width, _ = pixels.shape
        self._stroke = max(1.0, self._cell_height / 10)
        self._dot = max(1, round(self._cell_height / 8))

    def paint(self, marks: Sequence[Mark], cursor: float | None, *, with_feet: bool) -> None:
        pane, columns = self._pane, self._width // self._cell_width
        for tick in self._rows(pane.ticks).tolist():
            self._blend(*_box(round(tick - 0.5), 0, 1, self._width), _GRID, "frame")
        self._draw_lines([line for line in pane.lines if line.shadow])
        for column in columns_of_changes(marks, self._x_range, self._width).tolist():
            rows = np.flatnonzero(np.arange(self._height) // self._dot % 2 == 0)
            self._blend(rows, np.full_like(rows, column), 1.0, "mark")
        for row, column, sign in feet(marks, self._x_range, columns, pane.height * with_feet):
            self._put(row, column, sign, "mark")
        if cursor is not None:
            self._draw_cursor(cursor)
        self._draw_lines([line for line in pane.lines if not line.shadow])
        if cursor is not None:
            for line in pane.lines:
                if not line.shadow and math.isfinite(value := height_at(line, cursor)):
                    self._draw_dots(np.array([cursor]), np.array([value]), 2 * self._dot, line.style)
        for row, column, sign, style in signs(pane, self._x_range, columns):
            self._put(row, column, sign, style)

    def _rows(self, values: FloatArray) -> FloatArray:
        """Heights in pixels: those of dots of braille."""
        edge = self._cell_height / 8
        return edge + (1 - braille.heights_of(values, self._pane.y_range)) * (self._height - 2 * edge)

    def _columns(self, x: FloatArray) -> FloatArray:
        """Positions in pixels; NaN outside."""
        start, stop = self._x_range
        seen = np.where((x >= start) & (x <= stop), x, np.nan)
        return (seen - start) / (stop - start) * self._width if stop > start else seen - start

    def _draw_lines(self, lines: Sequence[Line]) -> None:
        for line in lines:
            if line.points:
                self._draw_dots(line.x, line.y, self._dot, line.style)
            else:
                self._draw_line(line)

    def _draw_line(self, line: Line) -> None:
        """Fill from the lowest to the highest value of each column.

        The edges are smooth.
        """
        low, high = braille.envelope(line.x, line.y, self._x_range, self._width)
        top, bottom = self._rows(high) - self._stroke / 2, self._rows(low) + self._stroke / 2
        seen = np.flatnonzero(np.isfinite(top))
        first = np.clip(np.floor(top[seen]), 0, self._height).astype(int)
        counts = np.clip(np.ceil(bottom[seen]), 0, self._height).astype(int) - first
        columns = np.repeat(seen, counts)
        rows = np.arange(len(columns)) + np.repeat(first - np.cumsum(counts) + counts, counts)
        share = np.minimum(rows + 1, bottom[columns]) - np.maximum(rows, top[columns])
        if line.pattern is not Pattern.SOLID:
            lit = line.pattern.lit
            share *= lit[(rows + columns) // self._dot % len(lit)]
        self._blend(rows, columns, np.clip(share, 0, 1), line.style)

    def _draw_dots(self, x: FloatArray, y: FloatArray, radius: float, style: str) -> None:
        """Draw discs, as many as there are points in sight."""
        places = np.stack([self._rows(y), self._columns(x)])
        rows, columns = places[:, np.isfinite(places).all(axis=0)].astype(int)
        reach = math.ceil(radius)
        around = np.mgrid[-reach : reach + 1, -reach : reach + 1].reshape(2, -1)
        shares = np.clip(np.rint((radius + 0.5 - np.hypot(*around)) * _SHADES) / _SHADES, 0, 1)
        for share in np.unique(shares[shares > 0]).tolist():  # the strongest last
            down, across = around[:, shares == share]
            self._blend((rows[:, None] + down).ravel(), (columns[:, None] + across).ravel(), share, style)

    def _draw_cursor(self, cursor: float) -> None:
        for column in self._columns(np.array([cursor])).tolist():
            if math.isfinite(column):
                left = min(int(column), self._width - 1)
                self._blend(*_box(0, left, self._height, 1), 1.0, "cursor")

    def _put(self, row: int, column: int, sign: str, style: str) -> None:
        """Put a sign into a cell, as large as its cell."""
        first = _SIGNS.find(sign) % len(_SIGNS) * 5
        dots = np.frombuffer(_DOTS[first : first + 5], np.uint8) >> np.arange(7)[:, None] & 1
        size = max(1, min(self._cell_width // 5, self._cell_height // 8))
        rows, columns = np.nonzero(np.kron(dots, np.ones((size, size), int)))
        down = row * self._cell_height + (self._cell_height - 7 * size + 1) // 2
        across = column * self._cell_width + (self._cell_width - 5 * size) // 2
        self._blend(*_box(down, across, 7 * size, 5 * size), 1.0, "background")
        self._blend(rows + down, columns + across, 1.0, style)

    def _blend(self, rows: np.ndarray, columns: np.ndarray, share: FloatArray | float, style: str) -> None:
        """Mix a colour into pixels, those beyond the edge left out.

        Args:
            share: of the colour, one for all or for each; then no pixel comes twice.
        """
        inside = (rows >= 0) & (rows < self._height) & (columns >= 0) & (columns < self._width)
        at = rows[inside], columns[inside]
        if isinstance(share, np.ndarray):
            share = np.rint(share[inside, None] * _SHADES) / _SHADES
        before = self._pixels[at]
        self._pixels[at] = before + (np.array(self._colours[style]) - before) * share


def _box(top: int, left: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of a box of pixels."""
    rows, columns = np.mgrid[top : top + height, left : left + width]
    return rows.ravel(), columns.ravel()
