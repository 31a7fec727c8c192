"""Compression of a `GameClip`'s pictures, each as a difference.

One step of a game changes few rows of its picture: a step of Breakout takes about a hundred bytes instead of a hundred
thousand. A clip's first picture differs from black, so that a clip stands for itself.
"""

from __future__ import annotations

import zlib

import numpy as np


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
        self.picture = np.zeros((height, width, channels), dtype=np.uint8)
        self._stream = zlib.decompressobj()

    def decode(self, encoded: bytes) -> np.ndarray:
        """Bring `picture` up to date; return the changed rows.

        They are bool `[H]`.

        Raises:
            ValueError: these bytes are not the next picture of this size.
        """
        height, width, channels = self.picture.shape
        mask_bytes = -(-height // 8)
        try:
            raw = self._stream.decompress(encoded, mask_bytes + self.picture.size)
        except zlib.error as error:
            raise ValueError(f"a damaged picture: {error}") from error
        changed = np.unpackbits(np.frombuffer(raw[:mask_bytes], np.uint8), count=height).astype(bool)
        expected = mask_bytes + int(changed.sum()) * width * channels
        if len(raw) != expected or self._stream.unconsumed_tail:
            raise ValueError(f"{len(encoded)} bytes are no change of a picture of {height} rows")
        self.picture[changed] ^= np.frombuffer(raw, np.uint8, offset=mask_bytes).reshape(-1, width, channels)
        return changed
