"""Observations of an environment as inputs of an exported policy."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn

from ..envs.fitting import FittedObservations, is_grid


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

    def forward(self, entries: Sequence[Tensor]) -> Tensor:
        """Observations of the policy, `[B, (K,) *S]`, from those of the environment."""
        if is_grid(self._fit.given):
            return entries[0].movedim(-1, -3) if self._fit.space is not self._fit.given else entries[0]
        parts = [_numbers(given, entry.space) for given, entry in zip(entries, self._fit.entries, strict=True)]
        vectors = torch.cat(parts, dim=-1) if len(parts) > 1 else parts[0]
        return vectors.index_select(-1, self._shown) if self._hides else vectors

    def restore(self, observations: Tensor) -> tuple[Tensor, ...]:
        """Inputs for these observations of the policy, with 0 for hidden numbers."""
        fitted = observations.numpy()
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
