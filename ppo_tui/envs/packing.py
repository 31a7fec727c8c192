"""Observations with images among other parts, packed into one array of bytes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from gymnasium.spaces import Box

FLOAT = np.dtype(np.float32).itemsize


class Numbers(NamedTuple):
    """A part without an image.

    Attributes:
        place: of the part, such as ``observation['speed']``.
        size: of its float32 numbers.
        is_vector: whether they are its own numbers, for a normaliser; else they are zeros and ones.
    """

    place: str
    size: int
    is_vector: bool


class Picture(NamedTuple):
    """A part with an image.

    Attributes:
        shape: uint8 `[H, W]` or, channels first, `[C, H, W]`.
    """

    place: str
    shape: tuple[int, ...]


class PackedBox(Box):
    """The learner's space of observations with images among other parts, uint8 `[P]`.

    First come the D numbers of all parts without an image, as the bytes of float32, then the images. Zeros at the end
    make P a multiple of four, so that the numbers of any observation in an array can be read in place.

    Attributes:
        numbers, pictures: the parts, each in the order of the environment's space.
        num_numbers: D.
    """

    def __init__(self, numbers: Sequence[Numbers], pictures: Sequence[Picture]) -> None:
        self.numbers, self.pictures = tuple(numbers), tuple(pictures)
        self.num_numbers = sum(part.size for part in self.numbers)
        size = FLOAT * self.num_numbers + sum(math.prod(picture.shape) for picture in self.pictures)
        super().__init__(0, 255, (-(-size // FLOAT) * FLOAT,), np.uint8)

    def pack(self, numbers: np.ndarray, pictures: Sequence[np.ndarray]) -> np.ndarray:
        """One observation `[P]` of float32 numbers `[D]` and uint8 pictures."""
        packed = np.zeros(self.shape, np.uint8)
        packed[: FLOAT * self.num_numbers] = numbers.view(np.uint8)
        for place, picture in zip(self.places(), pictures, strict=True):
            packed[place] = picture.reshape(-1)
        return packed

    def unpack(self, packed: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
        """Views of the numbers `[..., D]` and the pictures `[..., *shape]`.

        Args:
            packed: observations, `[..., P]`.
        """
        numbers = packed[..., : FLOAT * self.num_numbers].view(np.float32)
        pictures = [
            packed[..., place].reshape(*packed.shape[:-1], *picture.shape)
            for place, picture in zip(self.places(), self.pictures, strict=True)
        ]
        return numbers, pictures

    def places(self) -> list[slice]:
        """The bytes of each picture."""
        ends = np.cumsum([FLOAT * self.num_numbers, *(math.prod(picture.shape) for picture in self.pictures)]).tolist()
        return [slice(start, end) for start, end in itertools.pairwise(ends)]

    def to_plain(self) -> dict[str, Any]:
        """The space as numbers and text alone, for `from_plain`."""
        return {
            "numbers": [[part.place, int(part.size), part.is_vector] for part in self.numbers],
            "pictures": [[picture.place, [int(side) for side in picture.shape]] for picture in self.pictures],
        }

    @classmethod
    def from_plain(cls, plain: Any) -> PackedBox:
        return cls(
            [Numbers(str(place), int(size), bool(is_vector)) for place, size, is_vector in plain["numbers"]],
            [Picture(str(place), tuple(map(int, shape))) for place, shape in plain["pictures"]],
        )
