"""Curves as dots of braille or ASCII. Pure numpy.

A cell of the terminal holds 2 × 4 dots in braille, 1 × 3 in plain ASCII.

A curve of any length is first reduced to the lowest and the highest value of each column of dots, so that drawing
costs the same for a hundred points as for a million, and no spike is ever lost. Dots: U+2800 and Unicode's
numbering of them, https://www.unicode.org/charts/PDF/U2800.pdf.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .series import FloatArray

Dots = npt.NDArray[np.bool_]
"""Lit dots, [rows of dots, columns of dots], the first row on top."""


class Pattern(enum.Enum):
    """Patterns of curves, to tell them apart without colour.

    Dots drawn (#) repeat along both directions.
    """

    SOLID = "#"
    DOTTED = "#."
    DASHED = "####.."
    DASH_DOT = "#####..#.."

    @property
    def lit(self) -> Dots:
        return np.array([dot == "#" for dot in self.value])


@dataclass(frozen=True, eq=False)
class Glyphs:
    """The characters of a chart.

    Attributes:
        columns, rows: dots in a cell.
        weights: the number that each dot adds to the index into `table`, [rows, columns].
        table, shadow_table: the code point for each combination of lit dots, of a curve and of a shadow.
        merges: whether dots of two curves in one cell are drawn together; otherwise the curve in front has the cell.
        cursor: a vertical line through a cell, for each column of dots.
        point: where the cursor meets a curve.
        here: before a value under the cursor.
        samples: a piece of each pattern, for legends.
        scattered: some single points, likewise.
        tick, edge: the vertical axis with a label, and without.
        frame, heavy_frame: corners and sides: top left, horizontal, top right, vertical, bottom left, bottom right.
        replacements: characters missing in the font, and others in their place.
    """

    columns: int
    rows: int
    weights: npt.NDArray[np.uint8]
    table: npt.NDArray[np.uint32]
    shadow_table: npt.NDArray[np.uint32]
    merges: bool
    cursor: str
    point: str
    here: str
    samples: dict[Pattern, str]
    scattered: str
    tick: str
    edge: str
    frame: str
    heavy_frame: str
    replacements: dict[str, str]

    def plain(self, text: str) -> str:
        """`text` in characters of the terminal's font."""
        if not self.replacements:
            return text
        for char, other in self.replacements.items():
            text = text.replace(char, other)
        return text.encode("ascii", "replace").decode("ascii")


_BRAILLE_TABLE = np.array([0x20, *range(0x2801, 0x2900)], dtype=np.uint32)

BRAILLE = Glyphs(
    columns=2,
    rows=4,
    weights=np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]], dtype=np.uint8),
    table=_BRAILLE_TABLE,
    shadow_table=_BRAILLE_TABLE,
    merges=True,
    cursor="⡇⢸",
    point="●",
    here="●",
    samples={Pattern.SOLID: "━", Pattern.DOTTED: "┈", Pattern.DASHED: "╍", Pattern.DASH_DOT: "╌"},
    scattered="⢌",
    tick="┤",
    edge="│",
    frame="╭─╮│╰╯",
    heavy_frame="┏━┓┃┗┛",
    replacements={},
)

ASCII = Glyphs(
    columns=1,
    rows=3,
    weights=np.array([[1], [2], [4]], dtype=np.uint8),
    table=np.frombuffer(" '-|_:||".encode("utf-32-le"), dtype=np.uint32),
    shadow_table=np.frombuffer(" .......".encode("utf-32-le"), dtype=np.uint32),
    merges=False,
    cursor="|",
    point="o",
    here="@",
    samples={Pattern.SOLID: "---", Pattern.DOTTED: "- -", Pattern.DASHED: "-- ", Pattern.DASH_DOT: "--."},
    scattered=". .",
    tick="+",
    edge="|",
    frame="+-+|++",
    heavy_frame="#=#|##",
    replacements={
        "π": "pi", "→": "->", "·": "-", "–": "-", "∞": "inf", "…": "~", "×": "x", "▴": "^", "┊": ":", "↶": "<",
        "±": "+", "★": "*", "↑": "^", "↓": "v",
    },
)  # fmt: skip


def envelope(x: FloatArray, y: FloatArray, x_range: tuple[float, float], columns: int) -> tuple[FloatArray, FloatArray]:
    """Lowest and highest value of the curve within each column.

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
        begins, shown = cuts[filled] - cuts[0], y[cuts[0] : cuts[-1]]
        finite = np.isfinite(shown)
        low[filled] = np.minimum.reduceat(np.where(finite, shown, np.inf), begins)
        high[filled] = np.maximum.reduceat(np.where(finite, shown, -np.inf), begins)
    low[np.isinf(low)] = high[np.isinf(high)] = np.nan
    at_edges = interpolate(x, y, edges)
    low = np.fmin(low, np.fmin(at_edges[:-1], at_edges[1:]))
    high = np.fmax(high, np.fmax(at_edges[:-1], at_edges[1:]))
    return low, high


def interpolate(x: FloatArray, y: FloatArray, at: FloatArray) -> FloatArray:
    """The line through the points at the positions `at`.

    NaN outside of it and where a neighbour is not finite.
    """
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


def heights_of(values: FloatArray, y_range: tuple[float, float]) -> FloatArray:
    """The height of each value in the range, from 0 to 1.

    NaN for NaN; values beyond `y_range` lie on its edge.
    """
    bottom, top = y_range
    # Halves, because the distance between two finite numbers may be infinite.
    span = top / 2 - bottom / 2
    share = (values / 2 - bottom / 2) / span if span > 0 else np.where(np.isnan(values), np.nan, 0.5)
    return np.clip(share, 0, 1)


def rows_of(values: FloatArray, y_range: tuple[float, float], rows: int) -> FloatArray:
    """The row of dots (0 on top) of each value, as `heights_of`."""
    return np.round((1 - heights_of(values, y_range)) * (rows - 1))


def draw(
    low: FloatArray, high: FloatArray, y_range: tuple[float, float], rows: int, pattern: Pattern = Pattern.SOLID
) -> Dots:
    """Light the dots between `low` and `high`: [rows, len(low)]."""
    numbers = np.arange(rows, dtype=np.int16)[:, None]  # small, as numpy buffers both sides of a comparison
    dots = numbers >= np.fmin(rows_of(high, y_range, rows), rows).astype(np.int16)
    dots &= numbers <= np.fmax(rows_of(low, y_range, rows), -1).astype(np.int16)
    if pattern is not Pattern.SOLID:
        # Counting along rows and columns breaks steep pieces as well as flat ones.
        lit, columns = pattern.lit, np.arange(len(low))
        for row in range(len(lit)):
            dots[row :: len(lit)] &= lit[(row + columns) % len(lit)]
    return dots


def scatter(
    x: FloatArray,
    y: FloatArray,
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    rows: int,
    columns: int,
) -> Dots:
    """Light one dot for each point in sight: [rows, columns]."""
    dots = np.zeros((rows, columns), np.bool_)
    start, stop = x_range
    seen = np.isfinite(y) & (x >= start) & (x <= stop)
    share = (x[seen] - start) / (stop - start) if stop > start else np.zeros(np.count_nonzero(seen))
    across = np.minimum((share * columns).astype(int), columns - 1)
    dots[rows_of(y[seen], y_range, rows).astype(int), across] = True
    return dots


def pack(dots: Dots, glyphs: Glyphs = BRAILLE) -> npt.NDArray[np.uint8]:
    """The lit dots as indices into ``glyphs.table``: [height, width]."""
    rows, columns = dots.shape
    cells = dots.reshape(rows // glyphs.rows, glyphs.rows, columns // glyphs.columns, glyphs.columns)
    return np.einsum("rick,ik->rc", cells, glyphs.weights, dtype=np.uint8)
