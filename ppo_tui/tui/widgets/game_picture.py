"""The picture of the game in half blocks: only the cells that change are written to the terminal."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from ..controller import Controller
from .painting import filtered, repaint
from .raster import RAMP, Shrinker, changed_spans, fitted_size, half_block_cells, ramp_cells

_COLOURFUL = ("truecolor", "256")
"""Colour systems with enough colours for a picture."""


class GamePicture(Widget):
    """What the spectator sees, centred, as large as fits.

    A terminal without enough colours, or whose user wants none, gets characters from dark to bright.
    """

    def __init__(self, run: Controller, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.run = run
        self._shrinker: Shrinker | None = None
        self._pixels = np.zeros((0, 0, 3), dtype=np.uint8)
        self._cells = np.zeros((0, 0), dtype=np.uint64)
        self._strips: list[Strip] = []
        self._in_half_blocks = True

    @property
    def colourful(self) -> bool:
        """Whether the terminal shows the picture in colours."""
        app = self.app
        unwanted = app.no_color or app.current_theme.ansi
        return not unwanted and (app.is_headless or app.console.color_system in _COLOURFUL)

    def renew(self) -> None:
        """Show the spectator's picture; repaints only the cells that differ."""
        picture = self.run.game.picture
        width, height = self.content_size
        if picture is None or not width or not height:
            return
        half_blocks = self.colourful
        source = picture.shape[:2]
        target = fitted_size(*source, width, height, 2 if half_blocks else 1)
        changed = self.run.game.changed_rows
        shrinker = self._shrinker
        if shrinker is None or (shrinker.source, shrinker.target) != (source, target):
            shrinker = self._shrinker = Shrinker(source, target)
            self._pixels = np.zeros((*target, 3), dtype=np.uint8)
            changed = None
        first, last = (0, target[0]) if changed is None else shrinker.affected(changed)
        if first < last:
            self._pixels[first:last] = shrinker.shrink(picture, first, last)
        self._show(half_block_cells(self._pixels) if half_blocks else ramp_cells(self._pixels), half_blocks)

    def _show(self, cells: np.ndarray, half_blocks: bool) -> None:
        if (cells.shape, half_blocks) != (self._cells.shape, self._in_half_blocks):
            self._cells, self._in_half_blocks = cells, half_blocks
            self._strips = []
            self.refresh()
            return
        spans = changed_spans(self._cells, cells)
        self._cells = cells
        if not spans:
            return
        left, top = self._offset()
        if not self._strips or min(left, top) < 0:
            self.refresh()
            return
        for line in {line for line, _, _ in spans}:
            self._strips[line] = self._strip(line)
        repaint(self, [(top + line, left + at, self._strips[line].crop(at, end)) for line, at, end in spans])

    def render_lines(self, crop: Region) -> list[Strip]:
        """As they are now; kept by nobody, because they may have been written past the compositor."""
        return [self.render_line(y).crop(crop.x, crop.right) for y in range(crop.y, crop.bottom)]

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        left, top = self._offset()
        lines, columns = self._cells.shape
        if not 0 <= y - top < lines or left < 0:
            return Strip.blank(width, self.rich_style)
        if not self._strips:
            self._strips = [self._strip(line) for line in range(lines)]
        blank = self.rich_style
        margins = Segment(" " * left, blank), Segment(" " * (width - left - columns), blank)
        return Strip([margins[0], *self._strips[y - top], margins[1]], width)

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._shrinker = None
        self._strips = []

    def on_resize(self) -> None:
        self.renew()

    def _offset(self) -> tuple[int, int]:
        """Cells to the left of the picture and above it."""
        width, height = self.content_size
        lines, columns = self._cells.shape
        return (width - columns) // 2, (height - lines) // 2

    def _strip(self, line: int) -> Strip:
        cells = self._cells[line]
        if not self._in_half_blocks:
            segments = [Segment("".join(RAMP[int(cell)] for cell in cells), self.rich_style)]
        else:
            starts = np.flatnonzero(np.append(True, cells[1:] != cells[:-1])).tolist()
            ends = [*starts[1:], len(cells)]
            segments = [_half_blocks(int(cells[start]), end - start) for start, end in zip(starts, ends, strict=True)]
        return filtered(self, Strip(segments, len(cells)))


@lru_cache(maxsize=16_384)
def _half_blocks(cell: int, count: int) -> Segment:
    """`count` cells of the same two colours."""
    upper, lower = divmod(cell, 1 << 24)
    if upper == lower:
        return Segment(" " * count, Style(bgcolor=_colour(lower)))
    return Segment("▀" * count, Style(color=_colour(upper), bgcolor=_colour(lower)))


def _colour(value: int) -> Color:
    return Color.from_rgb(value >> 16, value >> 8 & 0xFF, value & 0xFF)
