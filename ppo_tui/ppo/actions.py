"""The kinds of action spaces: how the policy's outputs become distributions, and its actions the environment's."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from ..errors import ConfigError
from .distributions import (
    Bernoulli,
    Categorical,
    DiagonalGaussian,
    Distribution,
    MultiCategorical,
    SquashedGaussian,
)


class ActionKind:
    """How actions of one kind of space live within the policy.

    Attributes:
        space: of the environment.
        num_outputs: numbers that the policy head puts out for each observation.
        shape, dtype: of one action within the policy.
        distribution_size: P, the parameters of one distribution (see `Distribution.parameters`).
        gaussian: whether there is a log standard deviation to learn, and noise is normal rather than uniform.
    """

    gaussian: ClassVar[bool] = False
    dtype: ClassVar[torch.dtype] = torch.int64

    def __init__(self, space: spaces.Space, num_outputs: int, shape: tuple[int, ...]) -> None:
        self.space = space
        self.num_outputs = self.distribution_size = num_outputs
        self.shape = shape

    def distribution(self, outputs: Tensor, log_std: Tensor | None, masks: Tensor | None) -> Distribution:
        """The distributions for the policy head's `outputs`, `[B, num_outputs]`.

        Args:
            log_std: `[A]`, where `gaussian`.
            masks: bool `[B, num_outputs]`, or None where every action is possible.
        """
        raise NotImplementedError

    def draw_noise(self, batch: int, generator: torch.Generator) -> Tensor:
        """The randomness of `batch` actions, `[batch, num_outputs]`, on the generator's device."""
        return (DiagonalGaussian if self.gaussian else Categorical).draw_noise(batch, self.num_outputs, generator)

    def to_env(self, actions: np.ndarray) -> np.ndarray:
        """Actions `[B, *shape]` as members of the space, `[B, *space.shape]`."""
        raise NotImplementedError


class DiscreteActions(ActionKind):
    """One choice among ``space.n`` actions."""

    def __init__(self, space: spaces.Discrete) -> None:
        super().__init__(space, int(space.n), ())

    def distribution(self, outputs: Tensor, log_std: Tensor | None, masks: Tensor | None) -> Distribution:
        return Categorical(outputs, masks)

    def to_env(self, actions: np.ndarray) -> np.ndarray:
        return (actions + self.space.start).astype(self.space.dtype)


class MultiDiscreteActions(ActionKind):
    """Several choices at once."""

    def __init__(self, space: spaces.MultiDiscrete) -> None:
        self._sizes = [int(n) for n in space.nvec.flat]
        super().__init__(space, sum(self._sizes), (len(self._sizes),))

    def distribution(self, outputs: Tensor, log_std: Tensor | None, masks: Tensor | None) -> Distribution:
        return MultiCategorical(outputs, self._sizes, masks)

    def to_env(self, actions: np.ndarray) -> np.ndarray:
        return (actions.reshape(len(actions), *self.space.shape) + self.space.start).astype(self.space.dtype)


class MultiBinaryActions(ActionKind):
    """Several switches at once."""

    dtype = torch.float32

    def __init__(self, space: spaces.MultiBinary) -> None:
        super().__init__(space, math.prod(space.shape), (math.prod(space.shape),))

    def distribution(self, outputs: Tensor, log_std: Tensor | None, masks: Tensor | None) -> Distribution:
        return Bernoulli(outputs)

    def to_env(self, actions: np.ndarray) -> np.ndarray:
        return actions.reshape(len(actions), *self.space.shape).astype(self.space.dtype)


class ContinuousActions(ActionKind):
    """Real numbers, clipped to the space's bounds; the learner keeps the unclipped ones, whose probability it knows."""

    gaussian = True
    dtype = torch.float32

    def __init__(self, space: spaces.Box) -> None:
        super().__init__(space, math.prod(space.shape), (math.prod(space.shape),))
        self.distribution_size = 2 * self.num_outputs

    def distribution(self, outputs: Tensor, log_std: Tensor | None, masks: Tensor | None) -> Distribution:
        return DiagonalGaussian(outputs, log_std)

    def to_env(self, actions: np.ndarray) -> np.ndarray:
        shaped = actions.reshape(len(actions), *self.space.shape)
        return shaped.astype(self.space.dtype).clip(self.space.low, self.space.high)


class SquashedActions(ContinuousActions):
    """Real numbers that a tanh squashes into the space's bounds, which must be finite."""

    def distribution(self, outputs: Tensor, log_std: Tensor | None, masks: Tensor | None) -> Distribution:
        return SquashedGaussian(outputs, log_std)

    def to_env(self, actions: np.ndarray) -> np.ndarray:
        low, high = self.space.low.astype(np.float64), self.space.high.astype(np.float64)
        shares = 0.5 * (np.tanh(actions.reshape(len(actions), *self.space.shape).astype(np.float64)) + 1.0)
        return (low + shares * (high - low)).astype(self.space.dtype).clip(self.space.low, self.space.high)


def action_kind(space: spaces.Space, *, squash: bool) -> ActionKind:
    """How actions of `space` live within the policy.

    Args:
        squash: squash continuous actions into their bounds instead of clipping them.

    Raises:
        ConfigError: the space is none that a policy can act in.
    """
    if isinstance(space, spaces.Discrete):
        return DiscreteActions(space)
    if isinstance(space, spaces.MultiDiscrete):
        return MultiDiscreteActions(space)
    if isinstance(space, spaces.MultiBinary):
        return MultiBinaryActions(space)
    if isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating):
        return SquashedActions(space) if squash else ContinuousActions(space)
    raise ConfigError(
        f"the environment's actions are {space}: the policy acts in Discrete, MultiDiscrete and MultiBinary spaces and "
        "in a Box of floats",
        hint="choose another environment, or wrap it so that its actions are of one of these kinds",
    )
