"""Curves as braille dots: a cell of the terminal holds 2 × 4 of them. Pure numpy, no Textual.

A curve of any length is first reduced to the lowest and the highest value of each column of dots, so that drawing
costs the same for a hundred points as for a million, and no spike is ever lost. Dots: U+2800 and Unicode's
numbering of them, https://www.unicode.org/charts/PDF/U2800.pdf.
"""

from __future__ import annotations

import enum

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
Dots = npt.NDArray[np.bool_]
"""Lit dots, [4 · height, 2 · width], the first row on top."""

_BITS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]], dtype=np.uint8)


class Pattern(enum.Enum):
    """What tells curves apart where colour cannot: of `period` dots, `lit` are drawn, along both directions."""

    SOLID = (1, 1)
    DASHED = (6, 4)
    DOTTED = (2, 1)

    @property
    def sample(self) -> str:
        """A piece of the curve for the legend."""
        return {"SOLID": "━", "DASHED": "╍", "DOTTED": "┈"}[self.name]


def envelope(x: FloatArray, y: FloatArray, x_range: tuple[float, float], columns: int) -> tuple[FloatArray, FloatArray]:
    """Lowest and highest value of the line through the points within each column.

    Values that are not finite are gaps, also in the line that would cross them.

    Args:
        x: positions, never decreasing, [n].
        y: values, [n].
        x_range: positions at the left edge of the first column and the right edge of the last.

    Returns:
        (low, high), each [columns], NaN where nothing is to draw.
    """
    low, high = np.full((2, columns), np.nan)
    if not len(x):
        return low, high
    start, stop = x_range
    edges = np.linspace(start, stop if stop > start else start + 1.0, columns + 1)
    cuts = np.searchsorted(x, edges, side="left")
    cuts[-1] = np.searchsorted(x, edges[-1], side="right")
    filled = np.flatnonzero(cuts[1:] > cuts[:-1])
    if len(filled):
        begins, shown = cuts[filled], y[: cuts[-1]]
        finite = np.isfinite(shown)
        low[filled] = np.minimum.reduceat(np.where(finite, shown, np.inf), begins)
        high[filled] = np.maximum.reduceat(np.where(finite, shown, -np.inf), begins)
    low[np.isinf(low)] = high[np.isinf(high)] = np.nan
    at_edges = _interpolate(x, y, edges)
    low = np.fmin(low, np.fmin(at_edges[:-1], at_edges[1:]))
    high = np.fmax(high, np.fmax(at_edges[:-1], at_edges[1:]))
    return low, high


def _interpolate(x: FloatArray, y: FloatArray, at: FloatArray) -> FloatArray:
    """The line through the points at the positions `at`, NaN outside of it and where a neighbour is not finite."""
    values = np.full(len(at), np.nan)
    left = np.searchsorted(x, at, side="right") - 1
    inside = (left >= 0) & (left < len(x) - 1)
    left, at = left[inside], at[inside]
    share = (at - x[left]) / (x[left + 1] - x[left])
    with np.errstate(invalid="ignore"):
        between = y[left] * (1 - share) + y[left + 1] * share
    # Rounding must not carry the line beyond its ends.
    between = np.clip(between, np.minimum(y[left], y[left + 1]), np.maximum(y[left], y[left + 1]))
    between = np.where(share == 0, y[left], between)
    values[inside] = np.where(np.isfinite(between), between, np.nan)
    return values


def rows_of(values: FloatArray, y_range: tuple[float, float], rows: int) -> FloatArray:
    """The row of dots (0 on top) of each value, NaN for NaN; values beyond `y_range` lie on its edge."""
    bottom, top = y_range
    # Halves, because the distance between two finite numbers may be infinite.
    span = top / 2 - bottom / 2
    share = (values / 2 - bottom / 2) / span if span > 0 else np.where(np.isnan(values), np.nan, 0.5)
    return np.round((1 - np.clip(share, 0, 1)) * (rows - 1))


def draw(
    low: FloatArray, high: FloatArray, y_range: tuple[float, float], height: int, pattern: Pattern = Pattern.SOLID
) -> Dots:
    """Light the dots between `low` and `high` in each column: [4 · height, len(low)]."""
    rows = np.arange(4 * height)[:, None]
    top = rows_of(high, y_range, 4 * height)
    bottom = rows_of(low, y_range, 4 * height)
    dots = (rows >= top) & (rows <= bottom)  # a comparison with NaN is false
    period, lit = pattern.value
    if lit < period:
        # Counting along rows and columns breaks steep pieces as well as flat ones.
        dots &= (rows + np.arange(len(low))) % period < lit
    return dots


def pack(dots: Dots) -> npt.NDArray[np.uint8]:
    """The braille pattern of each cell, as an offset to U+2800: [height, width]."""
    rows, columns = dots.shape
    cells = dots.reshape(rows // 4, 4, columns // 2, 2)
    return np.einsum("rick,ik->rc", cells, _BITS, dtype=np.uint8)


def to_text(cells: npt.NDArray[np.uint8]) -> list[str]:
    """Rows of cells as text; a cell without a dot is a space."""
    points = np.where(cells > 0, cells.astype(np.uint32) + 0x2800, 0x20).astype("<u4")
    return [row.tobytes().decode("utf-32-le") for row in points]
