"""The game's picture in pixels, over or instead of half blocks."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip

from ..pixels import Enlargement, Graphics, Indexed, kitty_deletion, kitty_picture

try:
    from ..private_textual_image import MOST_CELLS, placeholders, sixels
except ImportError:  # the extra is not installed, or another version
    MOST_CELLS = 0

    def placeholders(line: int, columns: int) -> list[str]:
        return []

    def sixels(picture: Indexed) -> str:
        return ""


_NUMBERS = range(16, 256)
"""Of Kitty's pictures: a cell's colour names them, in 256 colours too."""


class PixelTerminal(Protocol):
    """A terminal able to draw pictures.

    Attributes:
        graphics: its protocol; None for no pictures.
        cell: width and height of a cell in pixels; None while unknown.
        pictures: numbers in use by Kitty's protocol.
        charts: the user wants the charts in pixels too.
    """

    graphics: Graphics | None
    cell: tuple[int, int] | None
    pictures: set[int]
    charts: bool

    def draw(self, commands: str, at: Region | None = None) -> None:
        """Send a picture's commands; those of sixels cover cells `at`."""


class PixelPicture:
    """One picture on a terminal.

    Attributes:
        graphics: how it is drawn.
        covers: sixels lie over the half blocks now.
    """

    def __init__(self, terminal: PixelTerminal) -> None:
        self._terminal = terminal
        self.graphics = terminal.graphics
        self.covers = False
        self._number = next((number for number in _NUMBERS if number not in terminal.pictures), _NUMBERS[-1])
        terminal.pictures.add(self._number)
        self._style = Style(color=Color.from_ansi(self._number))
        self._sent: np.ndarray | None = None
        self._enlargement: Enlargement | None = None
        self._area = Region()

    def forget(self) -> None:
        """Take nothing for drawn: the cells were painted anew."""
        self._sent = None
        self.covers = False

    def remove(self) -> None:
        """Take the picture off the terminal, with its data."""
        self._terminal.pictures.discard(self._number)
        if self.graphics is Graphics.KITTY:
            self._terminal.draw(kitty_deletion(self._number))
        self.forget()

    def fits(self, area: Region, screen_height: int) -> bool:
        """Whether the picture can be drawn in these cells.

        Sixels in the last line would scroll the screen.
        """
        if self.graphics is Graphics.KITTY:
            return 0 < max(area.size) <= MOST_CELLS
        return bool(MOST_CELLS and self._terminal.cell and area.area) and area.bottom < screen_height

    def strip(self, line: int, columns: int) -> Strip:
        """The placeholders of a line; none of them is ever cut."""
        return Strip([Segment(cell, self._style) for cell in placeholders(line, columns)], columns)

    def draw(self, frame: np.ndarray, area: Region) -> None:
        """Draw a frame, uint8 `[H, W, 3]`, in cells of the terminal.

        Only what has changed is sent.
        """
        if self.graphics is Graphics.KITTY:
            if self._sent is None or not np.array_equal(self._sent, frame):
                self._sent = frame.copy()
                self._terminal.draw(kitty_picture(frame, self._number, area.width, area.height))
        elif cell := self._terminal.cell:
            self._draw_sixels(frame, area, cell)

    def _draw_sixels(self, frame: np.ndarray, area: Region, cell: tuple[int, int]) -> None:
        height, width, _ = frame.shape
        shape = (height, width), area.height, area.width, cell
        if self._sent is None or self._enlargement is None or (self._enlargement.shape, self._area) != (shape, area):
            self._enlargement, self._area = Enlargement(*shape), area
            changed = np.ones((height, width), dtype=bool)
        else:
            changed = (frame != self._sent).any(axis=2)
        self._sent = frame.copy()
        self.covers = True
        for block in self._enlargement.changed_blocks(changed):
            first, end, left, right = block
            at = Region(area.x + left, area.y + first, right - left, end - first)
            self._terminal.draw(sixels(self._enlargement.enlarge(frame, block)), at)
