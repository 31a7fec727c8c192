"""From a picture to the cells of a terminal: shrunk so that small things stay visible, and compared cell by cell."""

from __future__ import annotations

import numpy as np

EMPHASIS = 0.65
"""How far a shrunk pixel moves from the mean of what it stands for towards the part that stands out most."""

RAMP = " .:-=+*#%@"
"""Characters from dark to bright, for terminals without colours."""

_COLOUR_BITS = 0xF8  # 5 bits a channel: what the eye hardly sees changes no cell


def fitted_size(height: int, width: int, columns: int, lines: int, rows_per_line: int) -> tuple[int, int]:
    """Rows and columns of pixels in which a picture fills `lines` × `columns` cells and keeps its proportions.

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
    """Brings pictures of one size to another one, by the mean of the area behind each pixel, with emphasis.

    A mean alone would wash out what is smaller than a pixel: Breakout's ball is 2 × 4 pixels of 160 × 210. So each
    pixel moves towards the part of its area that stands out most from the mean of its row.

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

    def affected(self, changed: np.ndarray) -> tuple[int, int]:
        """First and last + 1 of the target's rows that the `changed` rows of the source, bool `[H]`, show in."""
        rows = np.flatnonzero(changed)
        if not rows.size:
            return 0, 0
        touched = np.flatnonzero((self._row_starts <= rows[-1]) & (self._row_ends > rows[0]))
        return int(touched[0]), int(touched[-1]) + 1

    def shrink(self, picture: np.ndarray, first: int = 0, last: int | None = None) -> np.ndarray:
        """Rows `first` to `last` − 1 of the target, uint8 `[last − first, columns, 3]`, of a picture `[H, W, C]`."""
        last = self.target[0] if last is None else last
        begin, end = self._row_starts[first], self._row_ends[last - 1]
        planes = np.ascontiguousarray(picture[begin:end].transpose(2, 0, 1))  # [C, R, W]
        row_starts = self._row_starts[first:last] - begin
        row_heights = (self._row_ends - self._row_starts)[first:last].astype(np.float32)
        area = row_heights[:, None] * self._column_widths  # [rows, columns]

        def pooled(function: np.ufunc, **kwargs: type) -> np.ndarray:
            by_columns = function.reduceat(planes, self._column_starts, axis=2, **kwargs)
            return function.reduceat(by_columns, row_starts, axis=1, **kwargs).astype(np.float32)

        mean = pooled(np.add, dtype=np.uint32) / area  # [C, rows, columns]
        bright, dark = pooled(np.maximum), pooled(np.minimum)
        background = mean.mean(axis=2, keepdims=True)
        salient = np.where(bright - background >= background - dark, bright, dark)
        shrunk = (mean + EMPHASIS * (salient - mean) + 0.5).astype(np.uint8).transpose(1, 2, 0)
        return np.broadcast_to(shrunk, (*shrunk.shape[:2], 3)) if shrunk.shape[2] == 1 else shrunk


def half_block_cells(pixels: np.ndarray) -> np.ndarray:
    """Pixels `[2 × lines, columns, 3]` as cells, uint64 `[lines, columns]`: the upper colour above the lower one's 24
    bits."""
    channels = (pixels & _COLOUR_BITS).astype(np.uint64)
    colours = channels[..., 0] << 16 | channels[..., 1] << 8 | channels[..., 2]
    return colours[0::2] << 24 | colours[1::2]


def ramp_cells(pixels: np.ndarray) -> np.ndarray:
    """Pixels `[lines, columns, 3]` as cells, uint64 `[lines, columns]`: indices of characters in `RAMP`."""
    luminance = pixels @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    return (luminance * (len(RAMP) / 256)).astype(np.uint64)


def changed_spans(before: np.ndarray, after: np.ndarray, *, join: int = 3) -> list[tuple[int, int, int]]:
    """Where two fields of cells `[lines, columns]` differ, as (line, first column, last column + 1).

    Spans that lie at most `join` cells apart are one: to move the cursor costs as many bytes.
    """
    lines, columns = np.nonzero(before != after)
    if not lines.size:
        return []
    apart = (np.diff(lines) != 0) | (np.diff(columns) > join + 1)
    firsts = np.flatnonzero(np.append(True, apart))
    lasts = np.append(firsts[1:], lines.size) - 1
    return [
        (int(lines[first]), int(columns[first]), int(columns[last]) + 1)
        for first, last in zip(firsts, lasts, strict=True)
    ]
