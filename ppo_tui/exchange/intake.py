"""Observations of an environment as inputs of an exported policy."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn

from ..envs.fitting import FittedObservations, has_channel_last, is_grid, is_picture
from ..envs.packing import PackedBox
from ..ppo.combined import Parts, unpack


class Intake(nn.Module):
    """The conversion of `FittedObservations`, on tensors.

    Args:
        space: of the environment's observations.
        hide: indices of hidden numbers in the vector.

    Attributes:
        names: of the inputs: ``observations``, or ``observations.key`` for each entry of a Dict or Tuple.
    """

    _shown: Tensor

    def __init__(self, space: spaces.Space, hide: Sequence[int]) -> None:
        super().__init__()
        self._fit = FittedObservations(space)
        self._hides = bool(hide)
        shown = np.setdiff1d(np.arange(math.prod(self._fit.space.shape)), np.asarray(hide, np.int64))
        self.register_buffer("_shown", torch.from_numpy(shown), persistent=False)
        paths = [".".join(map(str, ("observations", *entry.path))) for entry in self._fit.entries]
        unique = len(set(paths)) == len(paths)
        self.names = paths if unique else [f"observations.{number}" for number in range(len(paths))]

    def forward(self, entries: Sequence[Tensor]) -> Tensor | Parts:
        """Observations of the policy, `[B, (K,) *S]`, from those of the environment.

        Those with images among other parts are not packed.
        """
        if is_grid(self._fit.given):
            return entries[0].movedim(-1, -3) if self._fit.space is not self._fit.given else entries[0]
        if isinstance(self._fit.space, PackedBox):
            return self._parts(entries, self._fit.space)
        parts = [_numbers(given, entry.space) for given, entry in zip(entries, self._fit.entries, strict=True)]
        vectors = torch.cat(parts, dim=-1) if len(parts) > 1 else parts[0]
        return vectors.index_select(-1, self._shown) if self._hides else vectors

    def _parts(self, entries: Sequence[Tensor], space: PackedBox) -> Parts:
        numbers, pictures = [], []
        for given, entry in zip(entries, self._fit.entries, strict=True):
            if not is_picture(entry.space):
                numbers.append(_numbers(given, entry.space))
                continue
            shape = entry.space.shape or ()
            pictures.append(given.movedim(-1, -3) if len(shape) == 3 and has_channel_last(shape) else given)
        if not numbers:  # none, in the batch and the stack of the images
            numbers = [pictures[0].flatten(pictures[0].ndim - len(space.pictures[0].shape))[..., :0].float()]
        return Parts(torch.cat(numbers, dim=-1), tuple(pictures))

    def held(self, observations: Tensor) -> Tensor:
        """Whether the environment's own types hold these observations, bool `[B]`."""
        given, expected = self(self.restore(observations)), observations
        if not isinstance(given, Tensor):
            assert isinstance(self._fit.space, PackedBox), "no other space has parts"
            expected = unpack(self._fit.space, observations)
        pairs = zip(_tensors(given), _tensors(expected), strict=True)
        return torch.stack([(one == other).flatten(1).all(dim=1) for one, other in pairs]).all(dim=0)

    def magnitudes(self, observations: Tensor) -> Tensor:
        """The largest absolute number of each observation of the policy, `[B]`."""
        if isinstance(self._fit.space, PackedBox):
            observations = unpack(self._fit.space, observations).numbers
        numbers = observations.flatten(1).abs()
        return numbers.amax(dim=1) if numbers.shape[1] else numbers.new_zeros(len(numbers))

    def restore(self, observations: Tensor) -> tuple[Tensor, ...]:
        """Inputs for these observations of the policy, with 0 for hidden numbers."""
        fitted = observations.contiguous().numpy()
        if self._hides:
            whole = np.zeros((*fitted.shape[:-1], math.prod(self._fit.space.shape)), np.float32)
            whole[..., self._shown.numpy()] = fitted
            fitted = whole
        return tuple(torch.from_numpy(np.ascontiguousarray(part)) for part in self._fit.restore(fitted))

    def sample(self, seed: int, count: int) -> Tensor:
        """Random members of the environment's space, as the policy sees them.

        They are converted as in training; `[count, *S]`.
        """
        space = copy.deepcopy(self._fit.given)
        space.seed(seed)
        fitted = np.stack([self._fit(space.sample()) for _ in range(count)])
        return torch.from_numpy(fitted[..., self._shown.numpy()] if self._hides else fitted)


def _tensors(observations: Tensor | Parts) -> tuple[Tensor, ...]:
    return (observations,) if isinstance(observations, Tensor) else (observations.numbers, *observations.pictures)


def _numbers(given: Tensor, space: spaces.Space) -> Tensor:
    """Float32 `[B, (K,) D]` of an entry `[B, (K,) *shape]`."""
    shape = space.shape or ()
    flat = given.flatten(given.ndim - len(shape)) if shape else given.unsqueeze(-1)
    match space:
        case spaces.Discrete():
            sizes, starts = [int(space.n)], [int(space.start)]
        case spaces.MultiDiscrete():
            sizes, starts = ([int(n) for n in part.reshape(-1)] for part in (space.nvec, space.start))
        case _:
            return flat.float()
    return torch.cat(
        [
            (flat[..., choice : choice + 1].long() == torch.arange(start, start + size)).float()
            for choice, (size, start) in enumerate(zip(sizes, starts, strict=True))
        ],
        dim=-1,
    )
