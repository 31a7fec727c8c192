"""Networks for observations with images among other parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..distributed.ranks import ALONE, Ranks
from ..envs.packing import FLOAT, PackedBox
from .networks import CNNS, MLP
from .normalizers import ObservationNormalizer


class Parts(NamedTuple):
    """The parts of B observations.

    Attributes:
        numbers: of all parts without an image, float32 `[B, (K,) D]`.
        pictures: uint8 `[B, (K,) *shape]` each.
    """

    numbers: Tensor
    pictures: tuple[Tensor, ...]


def unpack(space: PackedBox, observations: Tensor | Parts) -> Parts:
    """The parts of packed observations, uint8 `[B, (K,) P]`.

    Those that are in parts already, as an exported policy has them, stay so.
    """
    if not isinstance(observations, Tensor):
        return observations
    batch = observations.shape[:-1]
    # A stack lies innermost in memory, so that the bytes of a number are not always neighbours.
    numbers = observations[..., : FLOAT * space.num_numbers].contiguous().view(torch.float32)
    pictures = tuple(
        observations[..., place].unflatten(-1, picture.shape)
        for place, picture in zip(space.places(), space.pictures, strict=True)
    )
    return Parts(numbers.view(*batch, space.num_numbers), pictures)


class PartsNormalizer(ObservationNormalizer):
    """A normaliser of the vectors among the parts.

    One-hots and images stay as they are.
    """

    _is_vector: Tensor

    def __init__(self, space: PackedBox) -> None:
        super().__init__((space.num_numbers,))
        self._space = space
        flags = [part.is_vector for part in space.numbers for _ in range(part.size)]
        self.register_buffer("_is_vector", torch.tensor(flags, dtype=torch.bool), persistent=False)

    def forward(self, observations: Tensor | Parts) -> Parts:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The parts of observations, their vectors normalised."""
        parts = unpack(self._space, observations)
        return parts._replace(numbers=torch.where(self._is_vector, super().forward(parts.numbers), parts.numbers))

    def merge(self, samples: Tensor, ranks: Ranks = ALONE) -> None:
        """Add the numbers of packed samples to the moments.

        They are `[M, P]` on each of `ranks`.
        """
        super().merge(unpack(self._space, samples).numbers, ranks)


class CombinedNetwork(nn.Module):
    """An encoder for each image, then an MLP.

    The MLP reads their features and all other numbers, as in Stable-Baselines3's ``MultiInputPolicy``: its
    ``CombinedExtractor`` concatenates the features of each part, and fully connected layers follow.

    Args:
        encoders: of the images, each with an attribute ``num_features``.
        frame_stack: K, the newest observations in one input of the policy.
        hidden, activation, layer_norm: of the `MLP` behind the encoders.

    Attributes:
        space: of the observations.
        num_features: of the last layer.
    """

    def __init__(
        self,
        space: PackedBox,
        encoders: Sequence[nn.Module],
        hidden: Sequence[int],
        activation: str,
        *,
        frame_stack: int,
        layer_norm: bool = False,
    ) -> None:
        super().__init__()
        self.space = space
        self.encoders = nn.ModuleList(encoders)
        seen = sum(int(encoder.num_features) for encoder in encoders)  # pyright: ignore[reportArgumentType]
        self.mixer = MLP(seen + frame_stack * space.num_numbers, hidden, activation, layer_norm=layer_norm)
        self.num_features = self.mixer.num_features

    @property
    def has_convolutions(self) -> bool:
        """Whether an encoder is a convolutional network."""
        return any(isinstance(encoder, tuple(CNNS.values())) for encoder in self.encoders)

    def forward(self, observations: Tensor | Parts) -> Tensor:
        """Features `[B, num_features]` of observations `[B, (K,) P]`, packed or in parts."""
        parts = unpack(self.space, observations)
        features = [encoder(picture) for encoder, picture in zip(self.encoders, parts.pictures, strict=True)]
        return self.mixer(torch.cat([*features, parts.numbers.flatten(1)], dim=-1))
