"""The plot of a chart in pixels instead of dots."""

from __future__ import annotations

import numpy as np
from textual.geometry import Region
from textual.strip import Strip

from ..pixels import Graphics
from .game_pixels import PixelPicture, PixelTerminal
from .painting import PAINTS_DIRECTLY, is_uncovered
from .plain import Plain

_USUAL_CELL = 10, 20
"""Width and height of a cell that Kitty's protocol scales a picture to."""


class PlotPixels:
    """The picture of one chart, if the user wants pixels.

    In Kitty's protocol, placeholders replace the dots of braille. Sixels lie over these, which are seen below a dialog.

    Attributes:
        area: the cells of the chart with pixels; empty for none.
        is_stale: the newest picture is yet to be drawn: something covers a part of the chart.
    """

    def __init__(self, chart: Plain) -> None:
        self._chart = chart
        self._picture: PixelPicture | None = None
        self.area = Region()
        self.is_stale = False

    @property
    def _terminal(self) -> PixelTerminal | None:
        return getattr(self._chart.app, "terminal", None)

    @property
    def wanted(self) -> bool:
        """Whether the user wants pixels, and the terminal draws them."""
        terminal = self._terminal
        return terminal is not None and terminal.charts

    @property
    def cell(self) -> tuple[int, int] | None:
        """Width and height of a cell in pixels.

        None for no pixels now: the dimmed screen behind a dialog has none.
        """
        terminal = self._terminal
        if terminal is None or not terminal.charts or not self._chart.screen.is_active:
            return None
        if terminal.graphics is Graphics.KITTY:
            return terminal.cell or _USUAL_CELL
        return terminal.cell if PAINTS_DIRECTLY else None

    def place(self, area: Region) -> bool:
        """Give the picture these cells of the chart, if possible.

        Returns whether they are others than before, so that the whole chart has to be painted.
        """
        if area and self._picture is None and (terminal := self._terminal):
            self._picture = PixelPicture(terminal)
        chart = self._chart
        if self._picture is None or not self._picture.fits(
            area.translate(chart.content_region.offset), chart.app.size.height
        ):
            area = Region()
        if not self.wanted:
            self.remove()
        before, self.area = self.area, area
        return area != before

    def draw(self, frame: np.ndarray) -> None:
        """Draw a frame of the area, uint8 `[H, W, 3]`, unless covered."""
        if self._picture and self.area:
            self.is_stale = not (self._picture.graphics is Graphics.KITTY or is_uncovered(self._chart))
            if not self.is_stale:
                self._picture.draw(frame, self.area.translate(self._chart.content_region.offset))

    def forget(self) -> None:
        """Take nothing for drawn: the cells were painted anew."""
        if self._picture:
            self._picture.forget()

    def remove(self) -> None:
        """Take the picture off the terminal."""
        if self._picture:
            self._picture.remove()
        self._picture, self.is_stale = None, False

    def splice(self, line: int, strip: Strip) -> Strip:
        """A line of the chart, with placeholders instead of dots."""
        picture, area = self._picture, self.area
        if picture is None or picture.graphics is not Graphics.KITTY or not self._chart.screen.is_active:
            return strip
        if not area.y <= line < area.bottom:
            return strip
        pixels = picture.strip(line - area.y, area.width)
        return Strip.join([strip.crop(0, area.x), pixels, strip.crop(area.right)])
