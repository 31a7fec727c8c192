"""Bring a terminal up to date with the least output.

Textual repaints regions: for one changed digit it writes the line from the left edge of the widget on, with the whole
style around each piece of text. Here the cells of the terminal are remembered; only those that differ are written, and
of each style only the change since the cell before.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from rich.cells import cell_len

_TOKEN = re.compile(r"\x1b\[(\d+);(\d+)H|\x1b\[([\d;]*)m|(\x1b\[\?[\d;]+[hl])|([^\x00-\x1f\x7f-\x9f]+)|(\n)", re.DOTALL)
"""A move, a style, a mode, text, a line feed; nothing else is understood."""

_MOVE, _STYLE, _MODE, _TEXT, _FEED = 2, 3, 4, 5, 6
"""The last group of each of them."""

_MODES_OF_CELLS = ("\x1b[?47", "\x1b[?1047", "\x1b[?1049")
"""Modes that change the visible cells: the alternate screen."""

SYNC_START, SYNC_END = "\x1b[?2026h", "\x1b[?2026l"

_GAP = 8
"""So many unchanged cells are skipped by a move, which takes about as many bytes; fewer are written again."""

_MOST_KEPT = 16_384
"""Different cells that are kept for later."""

Cell = tuple[str, str]
"""A character, and the parameters of its style."""

_UNKNOWN: Cell = ("", "")
"""An unknown cell: it equals no cell to be written."""


class Style(NamedTuple):
    """The style of text, as SGR parameters.

    ECMA-48 and its extensions for colours number them.

    Attributes:
        attributes: bold, dim, italic, underline, … in the order in which they were set.
        foreground: the parameters of the colour, "" for the terminal's own.
        background: likewise.
    """

    attributes: tuple[str, ...] = ()
    foreground: str = ""
    background: str = ""


PLAIN = Style()

_SEEN_ON_BLANK = frozenset("479")
"""Underlined, reversed, struck through."""


class NotUnderstoodError(ValueError):
    """A control sequence of unknown effect on the picture."""


class TerminalDiff:
    """The remembered cells of a terminal, to write only changes.

    Output that it does not understand is passed on as it is, and no cell counts as known afterwards.
    """

    def __init__(self) -> None:
        self._began = False
        self._doubtful = False
        self._rows: dict[int, list[Cell]] = {}
        self._kept: dict[Cell, Cell] = {}
        self._at: tuple[int, int] | None = None
        self._style: Style | None = None

    def forget(self) -> None:
        """Take no cell for known, after a resize or foreign output.

        May be called from any thread, also while another one is in `reduce`: it counts from the next call on.
        """
        self._doubtful = True

    def forget_cells(self, row: int, column: int, lines: int, columns: int) -> None:
        """Take no cell of a rectangle for known, nor the cursor.

        A picture was drawn there. Rows and columns count from 1.
        """
        self._at = None
        for at in range(row, row + lines):
            cells = self._rows.get(at, [])
            end = min(len(cells), column + columns)
            cells[column:end] = [_UNKNOWN] * max(0, end - column)

    def _know_nothing(self) -> None:
        self._doubtful = False
        self._rows.clear()
        self._at = self._style = None

    def reduce(self, data: str) -> str:
        """Reduce `data` to the least output with the same result.

        The cursor ends where it would have.
        """
        if data == SYNC_START:
            self._began = True
            return ""
        if data == SYNC_END:
            ended = "" if self._began else SYNC_END
            self._began = False
            return ended
        if self._doubtful:
            self._know_nothing()
        try:
            written = self._reduced(data)
        except NotUnderstoodError:
            self._know_nothing()
            written = data
        if written and self._began:
            self._began = False
            return SYNC_START + written
        return written

    def _reduced(self, data: str) -> str:
        out: list[str] = []
        at, style = self._at, PLAIN if self._style is None else self._style
        if self._style is None:
            out.append("\x1b[0m")
            self._style = PLAIN
        position = 0
        for match in _TOKEN.finditer(data):
            if match.start() != position:
                break
            position = match.end()
            kind = match.lastindex
            if kind == _TEXT:
                at = self._write(out, match[_TEXT], at, style)
            elif kind == _STYLE:
                style = _changed(style, match[_STYLE])
            elif kind == _MOVE:
                at = int(match[1]), int(match[2])
            elif kind == _FEED:
                at = (at[0] + 1, at[1]) if at else None
            elif match[_MODE].startswith(_MODES_OF_CELLS):
                raise NotUnderstoodError(match[_MODE])
            else:
                out.append(match[_MODE])
        if position < len(data):
            raise NotUnderstoodError(repr(data[position : position + 20]))
        if style != self._style:
            out.append(_transition(self._style, style))
            self._style = style
        if at is not None and at != self._at:
            out.append(f"\x1b[{at[0]};{at[1]}H")
            self._at = at
        return "".join(out)

    def _write(self, out: list[str], text: str, at: tuple[int, int] | None, style: Style) -> tuple[int, int]:
        """Write the changed cells of `text`, from cell `at` on.

        Returns the cell behind it.
        """
        if at is None:
            raise NotUnderstoodError("text at an unknown place")
        row, column = at
        cells = self._rows.setdefault(row, [])
        if not _is_narrow(text):
            self._emit(out, text, at, style)
            del cells[column:]  # the effect on the rest of the line depends on the terminal
            self._at = None
            return row, column + cell_len(text)
        end = column + len(text)
        if len(cells) < end:
            cells.extend([_UNKNOWN] * (end - len(cells)))
        look, blank = _sgr(style), _sgr(_on_blank(style))
        new = [(char, blank if char == " " else look) for char in text]
        old = cells[column:end]
        if new != old:
            cells[column:end] = self._shared(new)
            for first, last in _stretches(new, old):
                self._emit(out, text[first:last], (row, column + first), style)
                self._at = (row, column + last)
        return row, end

    def _shared(self, cells: list[Cell]) -> list[Cell]:
        """The same cells, each kept once for all places of the screen.

        As objects of their own they would be made while a page is open and outlive it, scattered over its memory.
        """
        if len(self._kept) > _MOST_KEPT:  # pictures have ever new colours
            self._kept.clear()
        return [self._kept.setdefault(cell, cell) for cell in cells]

    def _emit(self, out: list[str], text: str, at: tuple[int, int], style: Style) -> None:
        if at != self._at:
            out.append(f"\x1b[{at[0]};{at[1]}H")
        if style != self._style and (text.strip(" ") or _on_blank(style) != _on_blank(self._style)):
            out.append(_transition(self._style, style))
            self._style = style
        out.append(text)


def _is_narrow(text: str) -> bool:
    """Tell whether each character takes one cell.

    No ideograph, no emoji, no combining character does.
    """
    return text.isascii() or all(map(_is_single, set(text)))


@lru_cache(maxsize=4096)
def _is_single(char: str) -> bool:
    return cell_len(char) == 1


def _stretches(new: list[Cell], old: list[Cell]) -> Iterator[tuple[int, int]]:
    """The stretches (first, end) of cells to write.

    They hold all cells that differ, and gaps too short to be skipped.
    """
    changed = [i for i, (a, b) in enumerate(zip(new, old, strict=True)) if a != b]
    first = changed[0]
    for before, after in pairwise(changed):
        if after - before > _GAP:
            yield first, before + 1
            first = after
    yield first, changed[-1] + 1


@lru_cache(maxsize=4096)
def _changed(style: Style, parameters: str) -> Style:
    """`style` after an SGR sequence.

    Raises:
        NotUnderstoodError: a parameter that Rich does not write.
    """
    codes = (parameters or "0").split(";")
    attributes, foreground, background = style
    i = 0
    while i < len(codes):
        code = int(codes[i] or "0")
        if code == 0:
            attributes, foreground, background = PLAIN
        elif code in (38, 48):
            length = {"5": 3, "2": 5}.get(codes[i + 1] if i + 1 < len(codes) else "", 0)
            colour = ";".join(codes[i : i + length])
            if not length or len(codes) < i + length:
                raise NotUnderstoodError(parameters)
            foreground, background = (colour, background) if code == 38 else (foreground, colour)
            i += length - 1
        elif 30 <= code <= 37 or 90 <= code <= 97:
            foreground = codes[i]
        elif 40 <= code <= 47 or 100 <= code <= 107:
            background = codes[i]
        elif code == 39:
            foreground = ""
        elif code == 49:
            background = ""
        elif 1 <= code <= 9:
            attributes = (*attributes, codes[i]) if codes[i] not in attributes else attributes
        else:
            raise NotUnderstoodError(parameters)
        i += 1
    return Style(attributes, foreground, background)


@lru_cache(maxsize=4096)
def _on_blank(style: Style) -> Style:
    """The visible part of `style` on a blank cell.

    The background, unless lines or the foreground show there.
    """
    return style if _SEEN_ON_BLANK.intersection(style.attributes) else Style(background=style.background)


@lru_cache(maxsize=4096)
def _sgr(style: Style) -> str:
    """The parameters for all of `style`, from plain text."""
    return ";".join(filter(None, (*sorted(style.attributes), style.foreground, style.background)))


@lru_cache(maxsize=16384)
def _transition(old: Style, new: Style) -> str:
    """The shortest sequence from `old` to `new`."""
    whole = f"\x1b[0;{_sgr(new)}m" if new != PLAIN else "\x1b[0m"
    if set(old.attributes) - set(new.attributes):
        return whole
    parts = [code for code in new.attributes if code not in old.attributes]
    if new.foreground != old.foreground:
        parts.append(new.foreground or "39")
    if new.background != old.background:
        parts.append(new.background or "49")
    return min(whole, f"\x1b[{';'.join(parts)}m", key=len) if parts else ""
