"""Compression of a `GameClip`'s pictures, each as a difference.

One step of a game changes few rows of its picture: a step of Breakout takes about a hundred bytes instead of a hundred
thousand. A clip's first picture differs from black, so that a clip stands for itself.
"""

from __future__ import annotations

import math
import mmap
import zlib

import numpy as np

_PART_BYTES = 16 * 1024
"""Bytes that a decoder takes from its stream at once; a whole picture of a clip has up to twelve times as many."""


class PictureEncoder:
    """Encodes consecutive pictures of one size, uint8 `[H, W, C]`.

    Attributes:
        nbytes: bytes of all pictures so far.
    """

    def __init__(self) -> None:
        self._before: np.ndarray | None = None
        self._stream = zlib.compressobj(level=1)
        self.nbytes = 0

    def encode(self, picture: np.ndarray) -> bytes:
        """Encode the next picture, and keep a copy.

        Raises:
            ValueError: its shape is not that of the picture before.
        """
        if self._before is None:
            self._before = np.zeros_like(picture)
        if picture.shape != self._before.shape:
            raise ValueError(f"a picture of shape {picture.shape} after one of shape {self._before.shape}")
        changed = (picture != self._before).any(axis=(1, 2))  # [H]
        difference = picture[changed] ^ self._before[changed]
        self._before[changed] = picture[changed]
        raw = np.packbits(changed).tobytes() + difference.tobytes()
        encoded = self._stream.compress(raw) + self._stream.flush(zlib.Z_SYNC_FLUSH)
        self.nbytes += len(encoded)
        return encoded


class PictureDecoder:
    """The inverse of a `PictureEncoder`, for pictures in its order.

    Attributes:
        picture: the newest one, uint8 `[H, W, C]`; overwritten by the next.
    """

    def __init__(self, height: int, width: int, channels: int) -> None:
        self.picture = _zeros((height, width, channels))
        self._stream = zlib.decompressobj()

    def decode(self, encoded: bytes) -> np.ndarray:
        """Bring `picture` up to date; return the changed rows.

        They are bool `[H]`.

        Raises:
            ValueError: these bytes are not the next picture of this size; some of its rows may have changed.
        """
        try:
            return self._decoded(encoded)
        except zlib.error as error:
            raise ValueError(f"a damaged picture: {error}") from error

    def _decoded(self, encoded: bytes) -> np.ndarray:
        if not self.picture.size:
            raise ValueError("a picture without rows or columns")
        height, width, channels = self.picture.shape
        mask = self._decompressed(encoded, -(-height // 8))
        changed = np.unpackbits(np.frombuffer(mask, np.uint8), count=height).astype(bool)
        rows = np.flatnonzero(changed)
        most = max(1, _PART_BYTES // (width * channels))
        for part in (rows[first : first + most] for first in range(0, len(rows), most)):
            difference = self._decompressed(self._stream.unconsumed_tail, len(part) * width * channels)
            self.picture[part] ^= np.frombuffer(difference, np.uint8).reshape(-1, width, channels)
        if self._stream.decompress(self._stream.unconsumed_tail, 1):
            raise ValueError(f"{len(encoded)} bytes are more than a change of {len(rows)} rows of a picture")
        return changed

    def _decompressed(self, encoded: bytes, count: int) -> bytes:
        """The next `count` bytes of the stream."""
        raw = self._stream.decompress(encoded, count)
        if len(raw) != count:
            raise ValueError(f"{len(encoded)} bytes are no change of a picture of {len(self.picture)} rows")
        return raw


def _zeros(shape: tuple[int, int, int]) -> np.ndarray:
    """A black picture in memory of its own.

    The system has it back at once. Those of many environments come and go together, and small things that settle in
    their room on the heap would keep the next ones out.
    """
    size = math.prod(shape)
    return np.frombuffer(mmap.mmap(-1, max(1, size)), np.uint8)[:size].reshape(shape)
