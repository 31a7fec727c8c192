"""Cells of text with named styles, and their changes. Pure."""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from .braille import Glyphs
from .formats import NUMBER_CELLS

CURVE_COLOURS = 6
"""Colours of curves; more curves share them, and differ in pattern and letter."""

STYLES = (
    "axis",
    "frame",
    "active",
    "title",
    "quiet",
    "mark",
    "cursor",
    "shadow",
    "abandoned",
    "reference",
    "threshold",
    *(f"curve-{number}" for number in range(1, CURVE_COLOURS + 1)),
)
"""The names of all styles of a chart."""

_NUMBERS = {name: number for number, name in enumerate(STYLES)}
Row = list[tuple[str, str]]
"""Pieces of a line, each with the name of its style."""


_SHORTEST_TITLE = 8
"""Cells of a title that is cut."""


class Picture:
    """`height` rows of `width` cells, blank to begin with.

    Attributes:
        chars: code points, each one cell wide, [height, width].
        styles: indices into `STYLES`, [height, width].
    """

    def __init__(self, width: int, height: int) -> None:
        self.chars: npt.NDArray[np.uint32] = np.full((height, width), ord(" "), np.uint32)
        self.styles: npt.NDArray[np.uint8] = np.zeros((height, width), np.uint8)

    @property
    def width(self) -> int:
        return self.chars.shape[1]

    @property
    def height(self) -> int:
        return self.chars.shape[0]

    def put(self, row: int, column: int, text: str, style: str) -> int:
        """Write `text` from a cell on, cut off at the edge.

        Returns the column behind it.

        A character that is not exactly one cell wide becomes a question mark.
        """
        text = _in_single_cells(text)
        text = text[max(0, -column) : max(0, self.width - column)]
        column = max(0, column)
        if text and 0 <= row < self.height:
            self.chars[row, column : column + len(text)] = np.frombuffer(text.encode("utf-32-le"), "<u4")
            self.styles[row, column : column + len(text)] = _NUMBERS[style]
        return column + len(text)

    def fill(self, where: npt.NDArray[np.bool_], chars: npt.NDArray[np.uint32] | int, style: str) -> None:
        """Write `chars` into the cells of a mask.

        Both `where` and `chars` are [height, width]; `chars` may be one for all.
        """
        np.copyto(self.chars, np.asarray(chars, np.uint32), where=where)
        self.styles[where] = _NUMBERS[style]

    def paste(self, other: Picture, row: int, column: int) -> None:
        """Put all of `other` at (row, column); it must fit.

        The place is that of its upper left corner.
        """
        area = slice(row, row + other.height), slice(column, column + other.width)
        self.chars[area], self.styles[area] = other.chars, other.styles

    def rows(self) -> list[Row]:
        """All lines, each cut at changes of the style."""
        return [self.row(number) for number in range(self.height)]

    def row(self, number: int, first: int = 0, end: int | None = None) -> Row:
        """The pieces of one line, from column `first` to `end` − 1."""
        text = self.chars[number, first:end].astype("<u4").tobytes().decode("utf-32-le")
        styles = self.styles[number, first:end]
        cuts = [0, *(np.flatnonzero(np.diff(styles)) + 1).tolist(), len(text)]
        return [(text[a:b], STYLES[styles[a]]) for a, b in itertools.pairwise(cuts) if b > a]

    def text(self) -> list[str]:
        """All lines without their styles."""
        return ["".join(piece for piece, _ in row) for row in self.rows()]

    def changes(
        self, before: Picture, without: tuple[range, range] = (range(0), range(0))
    ) -> list[tuple[int, int, int]]:
        """The spans (row, column, width) of differences from another picture.

        At most one a row; both pictures have one size.

        Args:
            without: rows and columns of cells whose differences do not count.
        """
        differs = (self.chars != before.chars) | (self.styles != before.styles)
        rows, columns = without
        differs[rows.start : rows.stop, columns.start : columns.stop] = False
        spans = []
        for row in np.flatnonzero(differs.any(axis=1)).tolist():
            columns = np.flatnonzero(differs[row])
            first, last = int(columns[0]), int(columns[-1])
            spans.append((row, first, last - first + 1))
        return spans


Pieces = list[tuple[str, str]]
"""Texts, each with the name of its style."""


@dataclass(frozen=True)
class Entry:
    """A curve in the legend.

    Attributes:
        sample: its pattern, or its letter.
        value: its value, as it is shown; empty for none.
        shorter: the same where there is less room, or None; one without any text takes none.
        here: whether the value is that under the cursor.
    """

    sample: str
    label: str
    value: str
    style: str
    shorter: Entry | None = None
    here: bool = False


def draw_frame(picture: Picture, glyphs: Glyphs, *, active: bool) -> None:
    """Draw corners and sides, heavy ones for the active chart."""
    style = "active" if active else "frame"
    frame = glyphs.heavy_frame if active else glyphs.frame
    top_left, horizontal, top_right, vertical, bottom_left, bottom_right = frame
    width, height = picture.width, picture.height
    picture.put(0, 0, top_left + horizontal * (width - 2) + top_right, style)
    picture.put(height - 1, 0, bottom_left + horizontal * (width - 2) + bottom_right, style)
    for row in range(1, height - 1):
        picture.put(row, 0, vertical, style)
        picture.put(row, width - 1, vertical, style)


def write_legend(picture: Picture, glyphs: Glyphs, title: Pieces, entries: Sequence[Entry]) -> None:
    """Write title and legend into the upper edge.

    In full, or the last entries shorter, or without labels, or as much as there is room for. Values have room for their
    longest, so that nothing moves while they change.

    Without a title, names matter more than values, and are left out last. Of a long title above several curves its end
    is left out.
    """
    titled = any(text.strip() for text, _ in title)
    room = picture.width - 4 - titled
    shown, pieces, left = entries, Pieces(), room
    for shown in _shorter_and_shorter(list(entries), titled):
        pieces = [piece for entry in shown for piece in _pieces(entry, glyphs)]
        left = room - _width(pieces, glyphs)
        if _width(title, glyphs) <= left:
            break
    if len(shown) > 1 and _SHORTEST_TITLE <= left < _width(title, glyphs):
        title = [("".join(text for text, _ in title)[: left - 1] + "…", "title")]
    _write(picture, 0, title + pieces, glyphs)


def _shorter_and_shorter(entries: list[Entry], titled: bool) -> Iterator[list[Entry]]:
    """The legend, each time with less in it.

    The last entries get shorter first; those of curves do so together.
    """
    yield entries
    for index in reversed(range(len(entries))):
        while entries[index].shorter:
            alike = range(index + 1) if entries[index].style.startswith("curve-") else (index,)
            entries = [
                entry.shorter if place in alike and entry.shorter else entry for place, entry in enumerate(entries)
            ]
            yield entries
    if titled and (valued := [entry for entry in entries if entry.value]):
        yield [replace(entry, label="") for entry in valued]
    else:
        yield [replace(entry, value="") for entry in entries]


def write_foot(picture: Picture, glyphs: Glyphs, left: str, right: str) -> None:
    """Two texts into the lower edge; the left one has precedence."""
    row = picture.height - 1
    _write(picture, row, [(left, "title")] if left else [], glyphs)
    right = glyphs.plain(right)
    if right and len(left) + len(right) + 8 <= picture.width:
        picture.put(row, picture.width - len(right) - 4, f" {right} ", "quiet")


def _pieces(entry: Entry, glyphs: Glyphs) -> Pieces:
    if not (name := " ".join(part for part in (entry.sample, entry.label) if part)):
        return []
    value = f"{glyphs.here if entry.here else ' '}{entry.value:<{NUMBER_CELLS}}"
    return [(f" {name}", entry.style), *([(value, "title")] if entry.value else [])]


def _write(picture: Picture, row: int, pieces: Pieces, glyphs: Glyphs) -> None:
    if not pieces:
        return
    pieces = [*pieces[:-1], (pieces[-1][0].rstrip(), pieces[-1][1])]
    column, end = 2, picture.width - 2
    column = picture.put(row, column, "" if pieces[0][0].startswith(" ") else " ", "title")
    for text, style in pieces:
        text = glyphs.plain(text)
        if column + len(text) > end:
            text = text[: max(0, end - column - 1)] + glyphs.plain("…") if column < end else ""
        column = picture.put(row, column, text, style)
    picture.put(row, column, " ", "title")


def _width(pieces: Pieces, glyphs: Glyphs) -> int:
    return sum(len(glyphs.plain(text)) for text, _ in pieces)


def _in_single_cells(text: str) -> str:
    if text.isascii() and text.isprintable():
        return text
    return "".join(char if _is_one_cell(char) else "?" for char in text)


@lru_cache(maxsize=1024)
def _is_one_cell(char: str) -> bool:
    """Whether a character takes one cell of a terminal; emoji do not."""
    return (
        char.isprintable()
        and char < "\U0001f000"
        and unicodedata.east_asian_width(char) not in ("F", "W")
        and not unicodedata.category(char).startswith("M")
    )
