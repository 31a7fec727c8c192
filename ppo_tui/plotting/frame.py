"""The frame around a chart, with its legend and what is under the cursor. Pure.

It is drawn here, not by Textual's borders, because those are painted as a whole for each new number in their titles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .braille import Glyphs
from .picture import Picture

Pieces = list[tuple[str, str]]
"""Texts, each with the name of its style."""


@dataclass(frozen=True)
class Entry:
    """A curve in the legend.

    Attributes:
        sample: its pattern, or its letter.
        value: its value, as it is shown.
    """

    sample: str
    label: str
    value: str
    style: str


def draw_frame(picture: Picture, glyphs: Glyphs, *, active: bool) -> None:
    """Corners and sides at the picture's edge, heavy ones where keys go to it."""
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
    """Title and legend into the upper edge: in full, or without labels, or as much as there is room for.

    Where there is no title, names tell more than values, and go last.
    """
    full = [_pieces(entry, entry.label) for entry in entries]
    names = [pieces[:1] for pieces in full]
    values = [_pieces(entry, "") for entry in entries]
    titled = any(text.strip() for text, _ in title)
    written = [title + [piece for pieces in each for piece in pieces] for each in (full, values if titled else names)]
    room = picture.width - 4
    _write(picture, 0, next((each for each in written if _width(each, glyphs) <= room), written[-1]), glyphs)


def write_foot(picture: Picture, glyphs: Glyphs, left: str, right: str) -> None:
    """Two texts into the lower edge; the left one has precedence."""
    row = picture.height - 1
    _write(picture, row, [(left, "title")] if left else [], glyphs)
    right = glyphs.plain(right)
    if right and len(left) + len(right) + 8 <= picture.width:
        picture.put(row, picture.width - len(right) - 4, f" {right} ", "quiet")


def _pieces(entry: Entry, label: str) -> Pieces:
    name = " ".join(part for part in (entry.sample, label) if part)
    return [(f" {name}", entry.style), (f" {entry.value}", "title")]


def _write(picture: Picture, row: int, pieces: Pieces, glyphs: Glyphs) -> None:
    if not pieces:
        return
    column, end = 2, picture.width - 3
    column = picture.put(row, column, "" if pieces[0][0].startswith(" ") else " ", "title")
    for text, style in pieces:
        text = glyphs.plain(text)
        if column + len(text) > end:
            text = text[: max(0, end - column - 1)] + glyphs.plain("…") if column < end else ""
        column = picture.put(row, column, text, style)
    picture.put(row, column, " ", "title")


def _width(pieces: Pieces, glyphs: Glyphs) -> int:
    return sum(len(glyphs.plain(text)) for text, _ in pieces)
