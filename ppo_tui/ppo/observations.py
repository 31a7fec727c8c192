"""The layout of observations: axes of stacked frames and of image channels.

Loads no PyTorch, so that a configuration can be checked against its environment before anything heavy is loaded.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from gymnasium import spaces

from ..config import PolicyConfig
from ..envs.fitting import holds_bytes, is_grid
from ..envs.packing import PackedBox
from ..errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

MIN_IMAGE_SIZES = {"nature-cnn": 36, "nature-small": 20, "impala": 8, "a3c-cnn": 8}
"""Smallest height and width of an image for each convolutional network."""


def divides_bytes(space: spaces.Box, policy: PolicyConfig) -> bool:
    """Whether the policy divides these observations by 255."""
    return space.dtype == np.uint8 and (
        holds_bytes(space) if policy.normalize_images == "auto" else policy.normalize_images
    )


def has_stack_axis(shape: Sequence[int], dtype: np.typing.DTypeLike, frame_stack: int) -> bool:
    """Whether the policy's observations are `[B, K, *shape]` instead of `[B, *shape]`.

    Grey images (2-D, uint8) always carry the axis, even for K = 1: it becomes the channel of the convolutions.
    """
    return frame_stack > 1 or (len(shape) == 2 and np.dtype(dtype) == np.uint8)


@dataclasses.dataclass(frozen=True)
class ImageLayout:
    """Conversion of images and boards to `[B, channels, height, width]`.

    Attributes:
        channel_axis: of one observation, from its end.
        divided: whether their bytes are divided by 255.
    """

    channels: int
    height: int
    width: int
    channel_axis: int = -3
    divided: bool = True

    @classmethod
    def of(cls, space: spaces.Box, frame_stack: int, *, divided: bool = True) -> ImageLayout | None:
        """The layout of stacks of `frame_stack` observations; None without images.

        Images are uint8 of shape `[H, W]`, `[H, W, C]` or `[C, H, W]`; the shorter of the first and the last axis
        is the one of the channels. In a board with two equal axes it is the other one, however long.
        """
        if not is_grid(space):
            return None
        if len(space.shape) == 2:
            return cls(frame_stack, *space.shape, divided=divided)
        first, middle, last = space.shape
        axis = -1 if last < first else -3
        if not holds_bytes(space) and len({first, middle, last}) == 2:
            axis = {first == middle: -1, middle == last: -3, first == last: -2}[True]
        sides = list(space.shape)
        channels = sides.pop(axis)
        return cls(frame_stack * channels, *sides, channel_axis=axis, divided=divided)

    def fold(self, observations: Tensor) -> Tensor:
        """Reshape to `[B, channels, H, W]`, oldest frame first.

        From `[B, K, H, W]`, or `[B, (K,) C, H, W]` with the channels on any of the last three axes.
        """
        if self.channel_axis != -3:
            observations = observations.movedim(self.channel_axis, -3)
        return observations.reshape(observations.shape[0], self.channels, self.height, self.width)


def image_layout(
    space: spaces.Box, policy: PolicyConfig, frame_stack: int, name: str = "observations"
) -> ImageLayout | None:
    """The layout of images for a CNN; None for other networks.

    Args:
        frame_stack: K, the newest observations in one input of the policy.
        name: of the observations, for an error.

    Raises:
        ConfigError: a CNN is configured, and these observations are no images of sufficient size.
    """
    network = "nature-cnn" if policy.network == "auto" else policy.network
    if network not in MIN_IMAGE_SIZES:
        return None
    smallest = MIN_IMAGE_SIZES[network]
    layout = ImageLayout.of(space, frame_stack, divided=divides_bytes(space, policy))
    if layout and min(layout.height, layout.width) >= smallest:
        return layout
    if policy.network == "auto":
        return None
    raise ConfigError(
        f"policy.network = {network!r}: it reads uint8 images of at least {smallest}×{smallest}, not {space.dtype} "
        f"{name} of shape {space.shape}",
        hint="set policy.network to 'mlp', or leave it at 'auto'",
    )


def image_layouts(space: spaces.Box, policy: PolicyConfig, frame_stack: int) -> tuple[ImageLayout, ...]:
    """The layouts of all images for CNNs; none for other networks.

    Raises:
        ConfigError: as `image_layout` does, naming the part.
    """
    if isinstance(space, PackedBox):
        parts = [(picture_space(picture.shape), picture.place) for picture in space.pictures]
    else:
        parts = [(space, "observations")]
    layouts = (image_layout(part, policy, frame_stack, name) for part, name in parts)
    return tuple(layout for layout in layouts if layout is not None)


def picture_space(shape: Sequence[int]) -> spaces.Box:
    """The space of an image among other parts."""
    return spaces.Box(0, 255, tuple(shape), np.uint8)


def check_spaces_of_policy(
    observation_space: spaces.Box, action_space: spaces.Space, policy: PolicyConfig, frame_stack: int
) -> None:
    """Refuse a policy with settings unfit for the spaces of `make_env`.

    Raises:
        ConfigError: names the setting.
    """
    image_layouts(observation_space, policy, frame_stack)
    if isinstance(observation_space, PackedBox):
        _check_parts(observation_space, policy)
    elif policy.normalize_observations and divides_bytes(observation_space, policy):
        raise ConfigError(
            "policy.normalize_observations = true: the observations are images, whose bytes are scaled to 0..1 already",
            hint="leave it out, or set policy.normalize_images = false",
        )
    if policy.squash_actions and not (isinstance(action_space, spaces.Box) and action_space.is_bounded()):
        raise ConfigError(
            f"policy.squash_actions = true: the environment's action space, {action_space}, has no bounds",
            hint="leave it out; it is for a Box with finite bounds",
        )


def _check_parts(space: PackedBox, policy: PolicyConfig) -> None:
    if ":" in policy.network:
        places = ", ".join(part.place for part in (*space.pictures, *space.numbers))
        raise ConfigError(
            f"policy.network = {policy.network!r}: a network of your own reads a single array, and the observations "
            f"have several parts: {places}",
            hint="choose one of ppo-tui's networks, or let the environment return a single array",
        )
    if policy.normalize_observations and not any(part.is_vector for part in space.numbers):
        raise ConfigError(
            "policy.normalize_observations = true: the observations have no vector to normalise, only "
            f"{', '.join(part.place for part in (*space.pictures, *space.numbers))}",
            hint="leave it out; images are divided by 255, and discrete parts are one-hot",
        )
