"""The emulator's screen as the agent sees it: grey, pooled and small.

From one step to the next little on an Atari screen moves, so only the bands of lines that changed are converted, pooled
and resized. This is a cache: every result equals the one computed from the whole screen, bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator

import ale_py
import cv2
import numpy as np

MERGED_GAP = 2
"""Changed bands with at most this many others between them share one call, which costs as much as they do."""


class PooledScreen:
    """Two grey frames of the emulator, and their maximum, resized.

    Args:
        ale: with a game loaded, whose screen has H × W pixels.
        pooled: whether `pool` takes the maximum of both frames, or the newest one alone.
    """

    def __init__(self, ale: ale_py.ALEInterface, size: int, *, pooled: bool) -> None:
        self._ale, self._size, self._max_pooled = ale, size, pooled
        height, width = ale.getScreenDims()
        self._bands, self._band_height, self._small_band_height = _bands(height, size)
        self._newest, self._older = _Frame(ale, self._bands), _Frame(ale, self._bands)
        self._newest_was_read = False
        self._pooled = np.zeros((height, width), np.uint8)
        self._small = np.zeros((size, size), np.uint8)
        # Bands of the pooled frame that are not the maximum of the two frames, and those that the small one lacks.
        self._unpooled = set(range(self._bands))
        self._unresized = set(range(self._bands))

    def show_newest(self) -> None:
        """Begin an episode: pooled frame from the screen, older frame black."""
        self._newest.read()
        np.copyto(self._pooled, self._newest.grey)
        self._older.blacken()
        self._newest_was_read = False
        self._forget()

    def read_older(self) -> None:
        """Read the screen as the older frame."""
        self._unpooled.update(self._older.read())

    def read_newest(self) -> None:
        """Read the screen as the newest frame."""
        self._unpooled.update(self._newest.read())
        self._newest_was_read = True

    def pool(self) -> None:
        """Pool the frames; the pooled frame replaces a missing newest one."""
        if self._newest_was_read:
            for lines in self._lines(self._unpooled):
                newest, pooled = self._newest.grey[lines], self._pooled[lines]
                if self._max_pooled:
                    np.maximum(newest, self._older.grey[lines], out=pooled)
                else:
                    np.copyto(pooled, newest)
            self._unresized |= self._unpooled
            self._unpooled.clear()
        elif self._max_pooled:
            np.maximum(self._pooled, self._older.grey, out=self._pooled)
            self._forget()
        self._newest_was_read = False

    def resized(self) -> np.ndarray:
        """The pooled frame, uint8 `[size, size]`, as a copy."""
        for first, last in _runs(self._unresized):
            small = self._small[first * self._small_band_height : last * self._small_band_height]
            lines = self._pooled[first * self._band_height : last * self._band_height]
            cv2.resize(lines, (self._size, len(small)), dst=small, interpolation=cv2.INTER_AREA)
        self._unresized.clear()
        return self._small.copy()

    def colours(self) -> np.ndarray:
        """The screen in RGB, uint8 `[H, W, 3]`, brightest of both frames.

        Many games draw some things in every second frame only.
        """
        colours = self._ale.getScreenRGB()
        if self._max_pooled and not self._older.stale:
            brighter = np.flatnonzero(self._older.grey > self._newest.grey)
            colours.reshape(-1, 3)[brighter] = self._older.colours_at(brighter)
        return colours

    def frames(self) -> tuple[np.ndarray, np.ndarray]:
        """The state for later screens, copied.

        The pooled and the older frame, uint8 `[H, W]`.
        """
        return self._pooled.copy(), self._older.grey.copy()

    def restore(self, pooled: np.ndarray, older: np.ndarray) -> None:
        """Continue from the `frames` of another time."""
        np.copyto(self._pooled, pooled)
        self._older.set_grey(older)
        self._newest_was_read = False
        self._forget()

    def _forget(self) -> None:
        """Pool and resize everything next time."""
        self._unpooled.update(range(self._bands))
        self._unresized.update(range(self._bands))

    def _lines(self, bands: set[int]) -> Iterator[slice]:
        for first, last in _runs(bands):
            yield slice(first * self._band_height, last * self._band_height)


class _Frame:
    """One frame in grey, and the palette numbers behind it.

    Attributes:
        stale: the palette numbers are not those of `grey`.
    """

    def __init__(self, ale: ale_py.ALEInterface, bands: int) -> None:
        self._ale, self._bands = ale, bands
        height, width = ale.getScreenDims()
        self._band_height = height // bands
        self.grey = np.zeros((height, width), np.uint8)
        self._numbers, self._spare = np.zeros((2, height, width), np.uint8)
        # Whether 8 pixels differ, and the same by bands with 4 such answers in a word.
        self._differs = np.zeros((height, width // 8), bool)
        self._differs_by_band = self._differs.reshape(bands, -1).view(np.uint32)
        self.stale = True
        self._grey_of = np.zeros(256, np.uint8)
        self._colour_of = np.zeros((256, 3), np.uint8)
        self._known = b""  # palette numbers whose grey has been seen

    def read(self) -> Iterable[int]:
        """Read the screen; return the bands changed since the last read."""
        before, now = self._numbers, self._spare
        self._ale.getScreen(now)
        self._numbers, self._spare = now, before
        if self.stale:
            self._learn()
            self.stale = False
            return range(self._bands)
        np.not_equal(now.view(np.uint64), before.view(np.uint64), out=self._differs)
        changed = np.bitwise_or.reduce(self._differs_by_band, axis=1).nonzero()[0].tolist()
        for first, last in _runs(changed):
            lines = slice(first * self._band_height, last * self._band_height)
            if now[lines].tobytes().translate(None, self._known):
                self._learn()
                break
            cv2.LUT(now[lines], self._grey_of, dst=self.grey[lines])
        return changed

    def blacken(self) -> None:
        """Make the frame black, independent of the screen."""
        self.grey.fill(0)
        self.stale = True

    def set_grey(self, grey: np.ndarray) -> None:
        """Set the frame to `grey` until the next `read`."""
        np.copyto(self.grey, grey)
        self.stale = True

    def colours_at(self, pixels: np.ndarray) -> np.ndarray:
        """RGB `[n, 3]` of these pixels of the flattened, not `stale` frame."""
        return self._colour_of[self._numbers.ravel()[pixels]]

    def _learn(self) -> None:
        """Convert the screen by the emulator; learn the grey of each number."""
        self._ale.getScreenGrayscale(self.grey)
        self._grey_of[self._numbers.ravel()] = self.grey.ravel()
        numbers = set(np.unique(self._numbers).tolist())
        if new := numbers.difference(self._known):
            colours = self._ale.getScreenRGB().reshape(-1, 3)
            for number in new:
                self._colour_of[number] = colours[np.argmax(self._numbers == number)]
        self._known = bytes(numbers.union(self._known))


def _bands(height: int, size: int) -> tuple[int, int, int]:
    """Number of independently resizable bands, and a band's lines before and after.

    OpenCV computes the origin of a line in floating point. Only where the factor is a fraction of a power of two, as
    210/84 is, do the lines of a band have exactly the weights that they have within the whole screen.
    """
    bands, factor = math.gcd(height, size), height / size
    if not (factor * 64).is_integer():
        bands = 1
    return bands, height // bands, size // bands


def _runs(bands: Collection[int]) -> Iterator[tuple[int, int]]:
    """Start and end of each run of these bands, bridging small gaps."""
    first = last = -1
    for band in sorted(bands):
        if first < 0:
            first = band
        elif band - last > MERGED_GAP + 1:
            yield first, last + 1
            first = band
        last = band
    if first >= 0:
        yield first, last + 1
