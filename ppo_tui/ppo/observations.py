"""How an observation lies in memory: which axis stacks frames, which one holds an image's channels."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from gymnasium import spaces
from torch import Tensor

MIN_IMAGE_SIZE = 36
"""Height and width of the smallest image that the three convolutions of the Nature CNN can read."""


def has_stack_axis(shape: Sequence[int], dtype: np.typing.DTypeLike, frame_stack: int) -> bool:
    """Whether the policy sees `[B, K, *shape]` instead of `[B, *shape]` for observations of `shape`.

    Grey images (2-D, uint8) always carry the axis, even for K = 1: it becomes the channel of the convolutions.
    """
    return frame_stack > 1 or (len(shape) == 2 and np.dtype(dtype) == np.uint8)


@dataclasses.dataclass(frozen=True)
class ImageLayout:
    """How an image observation becomes `[B, channels, height, width]`."""

    channels: int
    height: int
    width: int
    channels_innermost: bool

    @classmethod
    def of(cls, space: spaces.Box, frame_stack: int) -> ImageLayout | None:
        """The layout for stacks of K = `frame_stack` observations of `space`, or None if it holds no images.

        Images are uint8 of shape `[H, W]`, `[H, W, C]` or `[C, H, W]`; the shorter of the first and the last axis
        is the one of the channels.
        """
        if space.dtype != np.uint8 or len(space.shape) not in (2, 3):
            return None
        if len(space.shape) == 2:
            return cls(frame_stack, *space.shape, channels_innermost=False)
        first, middle, last = space.shape
        if last < first:
            return cls(frame_stack * last, first, middle, channels_innermost=True)
        return cls(frame_stack * first, middle, last, channels_innermost=False)

    def fold(self, observations: Tensor) -> Tensor:
        """`[B, K, H, W]`, `[B, (K,) C, H, W]` or `[B, (K,) H, W, C]` to `[B, channels, H, W]`, oldest frame first."""
        if self.channels_innermost:
            observations = observations.movedim(-1, -3)
        return observations.reshape(observations.shape[0], self.channels, self.height, self.width)
