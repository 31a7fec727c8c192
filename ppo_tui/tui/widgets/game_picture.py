"""The game's picture in half blocks or pixels; only changes are written."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, cast

import numpy as np
from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from ..clip_player import ClipPlayer
from ..pixels import Graphics
from .game_pixels import PixelPicture
from .painting import Filters, is_uncovered, repaint
from .plain import Plain

if TYPE_CHECKING:
    from ..app import PpoTuiApp

EMPHASIS = 0.65
"""Share by which a shrunk pixel moves from the mean of its area towards its most salient part."""

RAMP = " .:-=+*#%@"
"""Characters from dark to bright, for terminals without colours."""

_BAND_BYTES = 16 * 1024
"""Bytes of a channel that are shrunk at once."""

_MOST_IN_16_BITS = 257
"""The sum of so many bytes fits into 16 bits."""

_GAZE_DARK, _GAZE_TINT = 0.5, 0.7
_GAZE_COLOUR = _GAZE_TINT * np.array([255, 90, 255])
_GAZE_STEPS = 6
_GAZE_SHARES = np.round((np.arange(256) / 255) ** 2 * _GAZE_STEPS) / _GAZE_STEPS
"""The strength of a tint: squared, as weak gradients are everywhere, and in few steps, which change few cells."""

_COLOUR_BITS = 0xF8  # 5 bits a channel: what the eye hardly sees changes no cell


def fitted_size(height: int, width: int, columns: int, lines: int, rows_per_line: int) -> tuple[int, int]:
    """Rows and columns of pixels for a picture in its proportions.

    It fills `lines` × `columns` cells.

    Args:
        rows_per_line: 2 for half blocks, whose pixels are square; 1 for whole cells, which are twice as high as wide.

    Returns:
        (rows, columns), at least one line and column; enlarged only a whole number of times.
    """
    scale = min(columns / width, 2 * lines / height)
    if scale >= 1:
        scale = int(scale)
    shown_lines = min(lines, max(1, round(height * scale / 2)))
    return shown_lines * rows_per_line, min(columns, max(1, round(width * scale)))


class Shrinker:
    """Scales pictures by means of areas, with emphasis.

    A mean alone would wash out details smaller than a pixel: Breakout's ball is 2 × 4 pixels of 160 × 210. So each
    pixel moves towards the part of its area that differs most from the mean of its row.

    Args:
        source: height and width of the pictures.
        target: rows and columns to be made of them.
    """

    def __init__(self, source: tuple[int, int], target: tuple[int, int]) -> None:
        self.source, self.target = source, target
        (height, width), (rows, columns) = source, target
        self._row_starts = np.arange(rows) * height // rows
        self._row_ends = np.maximum(np.append(self._row_starts[1:], height), self._row_starts + 1)
        self._column_starts = np.arange(columns) * width // columns
        column_ends = np.maximum(np.append(self._column_starts[1:], width), self._column_starts + 1)
        self._column_widths = (column_ends - self._column_starts).astype(np.float32)
        self._sum_across = np.uint16 if self._column_widths.max() <= _MOST_IN_16_BITS else np.uint32

    def affected(self, changed: np.ndarray) -> tuple[int, int]:
        """The target's rows affected by a change: first, last + 1.

        `changed` is bool `[H]`, the rows of the source.
        """
        first, last = int(changed.argmax()), len(changed) - 1 - int(changed[::-1].argmax())
        if not changed[first]:
            return 0, 0
        return int(self._row_ends.searchsorted(first, "right")), int(self._row_starts.searchsorted(last, "right"))

    def shrink(self, picture: np.ndarray, first: int = 0, last: int | None = None) -> np.ndarray:
        """Shrink a picture to some rows of the target.

        The picture is `[H, W, C]`; returns rows `first` to `last` − 1, uint8 `[last − first, columns, 3]`.
        """
        last = self.target[0] if last is None else last
        shrunk = np.empty((last - first, self.target[1], picture.shape[2]), np.uint8)
        # A few rows of one channel after the other, as NumPy widens all that it adds up.
        for begin, end in self._bands(first, last):
            for channel, plane in enumerate(picture.transpose(2, 0, 1)):
                shrunk[begin - first : end - first, :, channel] = self._shrunk_plane(plane, begin, end)
        return np.broadcast_to(shrunk, (*shrunk.shape[:2], 3)) if shrunk.shape[2] == 1 else shrunk

    def _bands(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """The target's rows in parts, each of few rows of the source."""
        most = max(1, _BAND_BYTES // self.source[1])
        while first < last:
            fitting = int(self._row_ends.searchsorted(self._row_starts[first] + most, "right"))
            end = min(last, max(first + 1, fitting))
            yield first, end
            first = end

    def _shrunk_plane(self, plane: np.ndarray, first: int, last: int) -> np.ndarray:
        """One channel `[H, W]`, shrunk to uint8 `[last − first, columns]`."""
        begin, end = self._row_starts[first], self._row_ends[last - 1]
        plane = np.ascontiguousarray(plane[begin:end])
        row_starts = self._row_starts[first:last] - begin
        row_heights = (self._row_ends - self._row_starts)[first:last].astype(np.float32)
        area = row_heights[:, None] * self._column_widths

        def pooled(function: np.ufunc, across: type | None = None, down: type | None = None) -> np.ndarray:
            by_columns = function.reduceat(plane, self._column_starts, axis=1, dtype=across)
            return function.reduceat(by_columns, row_starts, axis=0, dtype=down).astype(np.float32)

        mean = pooled(np.add, across=self._sum_across, down=np.uint32) / area
        bright, dark = pooled(np.maximum), pooled(np.minimum)
        background = mean.mean(axis=1, keepdims=True)
        salient = np.where(bright - background >= background - dark, bright, dark)
        return (mean + EMPHASIS * (salient - mean) + 0.5).astype(np.uint8)


def tinted(pixels: np.ndarray, gaze: np.ndarray) -> np.ndarray:
    """Pixels tinted by a gaze, and darker elsewhere.

    Pixels are `[rows, columns, 3]`, the gaze is uint8 `[H, W]`.
    """
    rows, columns = pixels.shape[:2]
    height, width = gaze.shape
    spread = gaze[np.arange(rows) * height // rows][:, np.arange(columns) * width // columns]
    share = _GAZE_SHARES[spread][..., None]
    return (pixels * (_GAZE_DARK + (1 - _GAZE_DARK) * share) * (1 - _GAZE_TINT * share) + _GAZE_COLOUR * share).astype(
        np.uint8
    )


def half_block_cells(pixels: np.ndarray) -> np.ndarray:
    """Convert pixels to cells of half blocks.

    Pixels are `[2 × lines, columns, 3]`, cells uint64 `[lines, columns]`: the upper colour above the lower one's 24
    bits.
    """
    channels = pixels & _COLOUR_BITS
    colours = channels[..., 0].astype(np.uint32)
    for channel in (1, 2):
        colours <<= 8
        colours |= channels[..., channel]
    cells = colours[0::2].astype(np.uint64)
    cells <<= 24
    cells |= colours[1::2]
    return cells


def ramp_cells(pixels: np.ndarray) -> np.ndarray:
    """Convert pixels to indices of characters in `RAMP`.

    Pixels are `[lines, columns, 3]`, the indices uint64 `[lines, columns]`.
    """
    luminance = pixels @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    return (luminance * (len(RAMP) / 256)).astype(np.uint64)


_JOINED = 3
"""Unchanged cells between two changed ones that are written again: to move the cursor costs as many bytes."""


def changed_spans(before: np.ndarray, after: np.ndarray) -> list[tuple[int, int, int]]:
    """The differences of two fields of cells `[lines, columns]`.

    As (line, first column, last column + 1). Spans that lie at most `_JOINED` cells apart are one.
    """
    lines, columns = np.nonzero(before != after)
    if not lines.size:
        return []
    places = lines * (before.shape[1] + _JOINED + 1) + columns  # those of two lines are never near
    lasts = [*np.flatnonzero(places[1:] - places[:-1] > _JOINED + 1).tolist(), lines.size - 1]
    firsts = [0, *(last + 1 for last in lasts[:-1])]
    ends = zip(lines[firsts].tolist(), columns[firsts].tolist(), columns[lasts].tolist(), strict=True)
    return [(line, first, last + 1) for line, first, last in ends]


_COLOURFUL = ("truecolor", "256", "standard")
"""Colour systems with enough colours for a picture: of 16, each pixel gets the nearest."""


class GamePicture(Plain, Widget):
    """The picture of the playing clip, centred, as large as fits.

    A terminal without enough colours, or whose user wants none, gets characters from dark to bright. What the network
    looks at is tinted, and the rest darkened.

    Where the terminal can, the picture is drawn in pixels. In Kitty's protocol they fill placeholders, which are cells
    like all others. Sixels lie over the half blocks; those are seen where a dialog or a notification covers a part.
    """

    def __init__(self, player: ClipPlayer) -> None:
        super().__init__()
        self._player = player
        self._shrinker: Shrinker | None = None
        self._pixels = np.zeros((0, 0, 3), dtype=np.uint8)
        self._cells = np.zeros((0, 0), dtype=np.uint64)
        self._strips: dict[int, Strip] = {}  # those of whole lines, once they were asked for
        self._filters: Filters | None = None
        self._colourful: bool | None = None  # in the present theme
        self._in_half_blocks = True
        self._pixel_picture: PixelPicture | None = None
        self._restoring = False

    def on_mount(self) -> None:
        terminal = cast("PpoTuiApp", self.app).terminal
        if terminal and terminal.graphics:
            self._pixel_picture = PixelPicture(terminal)

    def on_unmount(self) -> None:
        if self._pixel_picture:
            self._pixel_picture.remove()

    @property
    def colourful(self) -> bool:
        """Whether the terminal shows colours."""
        if self._colourful is None:
            app = self.app
            unwanted = app.no_color or app.current_theme.ansi
            self._colourful = not unwanted and (app.is_headless or app.console.color_system in _COLOURFUL)
        return self._colourful

    def renew(self) -> None:
        """Show the clip's picture; repaint only the changed cells."""
        picture = self._player.picture
        width, height = self.content_size
        if picture is None or not width or not height:
            return
        half_blocks = self.colourful
        source = picture.shape[0], picture.shape[1]
        target = fitted_size(*source, width, height, 2 if half_blocks else 1)
        changed = self._player.changed_rows
        shrinker = self._shrinker
        if shrinker is None or (shrinker.source, shrinker.target) != (source, target):
            shrinker = self._shrinker = Shrinker(source, target)
            self._pixels = np.zeros((*target, 3), dtype=np.uint8)
            changed = None
        first, last = (0, target[0]) if changed is None else shrinker.affected(changed)
        if first < last:
            self._pixels[first:last] = shrinker.shrink(picture, first, last)
        gaze = self._player.gaze_map
        pixels = self._pixels if gaze is None else tinted(self._pixels, gaze)
        cells = half_block_cells(pixels) if half_blocks else ramp_cells(pixels)
        if not self._show_pixels(cells, half_blocks):
            lines, columns = cells.shape
            self._show(cells, half_blocks, (width - columns) // 2, (height - lines) // 2)

    def _show_pixels(self, cells: np.ndarray, half_blocks: bool) -> bool:
        """Draw the picture in pixels; False if impossible now.

        `cells` become the half blocks beneath them.
        """
        pixels, picture = self._pixel_picture, self._player.picture
        if pixels is None or picture is None:
            return False
        if self._cells.shape != cells.shape or not half_blocks:
            pixels.forget()
            return False
        left, top = self._offset()
        lines, columns = cells.shape
        area = Region(left, top, columns, lines).translate(self.content_region.offset)
        in_cells = pixels.graphics is Graphics.KITTY
        if not pixels.fits(area, self.app.size.height) or not (in_cells or is_uncovered(self)):
            if pixels.covers:  # whatever covers a part of it: no half of a picture stays
                pixels.forget()
                self.refresh()
            return False
        self._cells = cells
        self._strips.clear()
        frame = np.broadcast_to(picture, (*picture.shape[:2], 3))
        gaze = self._player.gaze_map
        pixels.draw(np.ascontiguousarray(frame if gaze is None else tinted(frame, gaze)), area)
        return True

    def _restore_pixels(self) -> None:
        """Draw the picture again, over newly painted cells."""
        self._restoring = False
        if self._pixel_picture and self.is_attached and self.screen.is_active:
            if is_uncovered(self):  # what covers it makes half blocks of the whole picture
                self._pixel_picture.forget()
            self._show_pixels(self._cells, self._in_half_blocks)

    @property
    def _placeholders(self) -> PixelPicture | None:
        """The picture, if its placeholders replace the half blocks."""
        pixels = self._pixel_picture
        if pixels is None or pixels.graphics is not Graphics.KITTY or not self._in_half_blocks:
            return None
        lines, columns = self._cells.shape
        return pixels if self.screen.is_active and pixels.fits(Region(0, 0, columns, lines), 0) else None

    def _show(self, cells: np.ndarray, half_blocks: bool, left: int, top: int) -> None:
        if (cells.shape, half_blocks) != (self._cells.shape, self._in_half_blocks):
            self._cells, self._in_half_blocks = cells, half_blocks
            self._strips.clear()
            self.refresh()
            return
        spans = changed_spans(self._cells, cells)
        self._cells = cells
        if not spans:
            return
        for line, _, _ in spans:
            self._strips.pop(line, None)
        if min(left, top) < 0:
            self.refresh()
            return
        repaint(self, [(top + line, left + at, self._strip(line, at, end)) for line, at, end in spans])

    def render_lines(self, crop: Region) -> list[Strip]:
        """The present lines, from no cache.

        They may have been written past the compositor.
        """
        if self._pixel_picture and not self._restoring:
            self._restoring = True
            self.call_later(self._restore_pixels)
        return [self.render_line(y).crop(crop.x, crop.right) for y in range(crop.y, crop.bottom)]

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        left, top = self._offset()
        lines, columns = self._cells.shape
        if not 0 <= y - top < lines or left < 0:
            return Strip.blank(width, self.rich_style)
        placeholders = self._placeholders
        if placeholders:
            strip = placeholders.strip(y - top, columns)
        elif (strip := self._strips.get(y - top)) is None:
            strip = self._strips[y - top] = self._strip(y - top, 0, columns)
        blank = self.rich_style
        margins = Segment(" " * left, blank), Segment(" " * (width - left - columns), blank)
        return Strip([margins[0], *strip, margins[1]], width)

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._shrinker = self._filters = self._colourful = None
        self._strips.clear()

    def on_resize(self) -> None:
        self.renew()

    def _offset(self) -> tuple[int, int]:
        """Cells to the left of the picture and above it."""
        width, height = self.content_size
        lines, columns = self._cells.shape
        return (width - columns) // 2, (height - lines) // 2

    def _strip(self, line: int, first: int, end: int) -> Strip:
        """The cells of a line from column `first` to `end` − 1."""
        cells = self._cells[line, first:end]
        if not self._in_half_blocks:
            segments = [Segment("".join(RAMP[int(cell)] for cell in cells), self.rich_style)]
        else:
            segments = [_half_blocks(cell, len(list(equal))) for cell, equal in itertools.groupby(cells.tolist())]
        if self._filters is None:
            self._filters = Filters(self)
        return self._filters.apply(Strip(segments, len(cells)))


@lru_cache(maxsize=16_384)
def _half_blocks(cell: int, count: int) -> Segment:
    """`count` cells of the same two colours."""
    upper, lower = divmod(cell, 1 << 24)
    if upper == lower:
        return Segment(" " * count, Style(bgcolor=_colour(lower)))
    return Segment("▀" * count, Style(color=_colour(upper), bgcolor=_colour(lower)))


def _colour(value: int) -> Color:
    return Color.from_rgb(value >> 16, value >> 8 & 0xFF, value & 0xFF)
