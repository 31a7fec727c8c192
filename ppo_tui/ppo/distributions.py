"""Action distributions, and the kinds of action space behind them.

The distributions compute the numbers of `torch.distributions` without its overhead. Sampling is a pure function of
parameters and noise. The noise of a whole vector step is drawn at once, so an action does not depend on how the
environments are split into worker groups or on the order of the groups.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import ClassVar, Generic, Protocol, TypeVar

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor
from torch.nn import functional

from ..errors import ConfigError

_HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)

_SMALLEST_UNIFORM, _LARGEST_UNIFORM = 2.0**-25, 1.0 - 2.0**-24
"""Bounds of uniform noise, for finite Gumbel numbers.

A generator of float32 draws multiples of 2⁻²⁴, 0 among them; all others are within these bounds.
"""


class Distribution(Protocol):
    """B independent action distributions, one per observation."""

    @property
    def parameters(self) -> Tensor:
        """Numbers to determine the distributions within their kind, `[B, P]`."""
        ...

    def sample(self, noise: Tensor) -> Tensor:
        """One action each, from `noise` of `ActorCritic.draw_noise`."""
        ...

    def mode(self) -> Tensor:
        """The most probable action of each."""
        ...

    def log_prob(self, actions: Tensor) -> Tensor:
        """log π(a|s), `[B]`, in nats."""
        ...

    def entropy(self) -> Tensor:
        """Entropy of each, `[B]`, in nats."""
        ...

    def kl_from(self, old: Tensor) -> Tensor:
        """KL[π_old(·|s) ‖ π(·|s)], exact, `[B]`, in nats.

        `old` is `parameters` `[B, P]` of π_old.
        """
        ...


class Categorical:
    """A choice among A actions; actions are int64 `[B]`, from 0.

    Args:
        logits: unnormalised log-probabilities, `[B, A]`; −inf excludes an action.
        mask: the possible actions, bool `[B, A]`, at least one each; None for all. An impossible one has probability 0,
            no part in the entropy and no gradient (Huang & Ontañón, 2020, arXiv:2006.14171).
    """

    def __init__(self, logits: Tensor, mask: Tensor | None = None) -> None:
        if mask is not None:
            logits = logits.masked_fill(~mask, -torch.inf)
        log_probs = torch.log_softmax(logits, dim=-1)
        # An excluded action contributes p log p = 0 to the entropy, but 0 × −inf would be NaN.
        self.log_probs = log_probs.clamp(min=torch.finfo(log_probs.dtype).min)  # [B, A]
        self.parameters = self.log_probs

    @staticmethod
    def draw_noise(batch: int, num_actions: int, generator: torch.Generator) -> Tensor:
        """Uniform noise in [0, 1), `[batch, num_actions]`, on the generator's device."""
        return torch.rand(batch, num_actions, generator=generator, device=generator.device)

    def sample(self, noise: Tensor) -> Tensor:
        """Sample by the Gumbel-max trick (Gumbel, 1954).

        argmax(log p + g) with g = −log(−log u) follows p. For u = 0 or 1 g would be infinite: a possible action would
        fall behind those of probability 0, or one of these rise above it.
        """
        gumbel = -torch.log(-torch.log(noise.clamp(_SMALLEST_UNIFORM, _LARGEST_UNIFORM)))
        return torch.argmax(self.log_probs + gumbel, dim=-1)

    def mode(self) -> Tensor:
        return torch.argmax(self.log_probs, dim=-1)

    def log_prob(self, actions: Tensor) -> Tensor:
        return self.log_probs.gather(-1, actions.unsqueeze(-1)).squeeze(-1)

    def entropy(self) -> Tensor:
        return -(self.log_probs.exp() * self.log_probs).sum(-1)

    def kl_from(self, old: Tensor) -> Tensor:
        return (old.exp() * (old - self.log_probs)).sum(-1)


class MultiCategorical:
    """D independent choices; actions are int64 `[B, D]`, each counted from 0.

    Args:
        logits: of all choices, one choice after the other, `[B, ΣA]`.
        sizes: the number of actions A of each choice.
        mask: as for `Categorical`, laid out like the logits; at least one possible action in each choice.
    """

    def __init__(self, logits: Tensor, sizes: Sequence[int], mask: Tensor | None = None) -> None:
        masks = [None] * len(sizes) if mask is None else mask.split(sizes, dim=-1)
        self._sizes = sizes
        self._choices = [Categorical(*pair) for pair in zip(logits.split(sizes, dim=-1), masks, strict=True)]

    @property
    def parameters(self) -> Tensor:
        return torch.cat([choice.log_probs for choice in self._choices], dim=-1)  # [B, ΣA]

    def sample(self, noise: Tensor) -> Tensor:
        noises = noise.split(self._sizes, dim=-1)
        return torch.stack([choice.sample(part) for choice, part in zip(self._choices, noises, strict=True)], dim=-1)

    def mode(self) -> Tensor:
        return torch.stack([choice.mode() for choice in self._choices], dim=-1)

    def log_prob(self, actions: Tensor) -> Tensor:
        parts = zip(self._choices, actions.unbind(-1), strict=True)
        return torch.stack([choice.log_prob(part) for choice, part in parts]).sum(0)

    def entropy(self) -> Tensor:
        return torch.stack([choice.entropy() for choice in self._choices]).sum(0)

    def kl_from(self, old: Tensor) -> Tensor:
        parts = zip(self._choices, old.split(self._sizes, dim=-1), strict=True)
        return torch.stack([choice.kl_from(part) for choice, part in parts]).sum(0)


class Bernoulli:
    """D independent switches; actions are `[B, D]` of 0.0 and 1.0.

    Args:
        logits: log p/(1−p) of each switch being on, `[B, D]`.
    """

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits
        self.parameters = logits

    def sample(self, noise: Tensor) -> Tensor:
        """On if uniform noise in [0, 1) stays below p."""
        return (noise < torch.sigmoid(self.logits)).float()

    def mode(self) -> Tensor:
        return (self.logits > 0).float()

    def log_prob(self, actions: Tensor) -> Tensor:
        return -functional.binary_cross_entropy_with_logits(self.logits, actions, reduction="none").sum(-1)

    def entropy(self) -> Tensor:
        on = torch.sigmoid(self.logits)
        return functional.binary_cross_entropy_with_logits(self.logits, on, reduction="none").sum(-1)

    def kl_from(self, old: Tensor) -> Tensor:
        on = torch.sigmoid(old)
        cross_entropy = functional.binary_cross_entropy_with_logits(self.logits, on, reduction="none").sum(-1)
        return cross_entropy - Bernoulli(old).entropy()


class DiagonalGaussian:
    """Normal distributions with independent dimensions; actions are `[B, A]`.

    Args:
        mean: `[B, A]`.
        log_std: logarithm of the standard deviations, `[A]`, the same in every state.
    """

    def __init__(self, mean: Tensor, log_std: Tensor) -> None:
        self.mean = mean
        self.log_std = log_std

    @property
    def parameters(self) -> Tensor:
        return torch.cat([self.mean, self.log_std.expand_as(self.mean)], dim=-1)  # [B, 2A]

    @staticmethod
    def draw_noise(batch: int, num_dims: int, generator: torch.Generator) -> Tensor:
        """Standard normal noise, `[batch, num_dims]`, on the generator's device."""
        return torch.randn(batch, num_dims, generator=generator, device=generator.device)

    def sample(self, noise: Tensor) -> Tensor:
        return self.mean + noise * self.log_std.exp()

    def mode(self) -> Tensor:
        return self.mean

    def log_prob(self, actions: Tensor) -> Tensor:
        standardized = (actions - self.mean) * torch.exp(-self.log_std)
        return -(0.5 * standardized.square() + self.log_std + _HALF_LOG_2PI).sum(-1)

    def entropy(self) -> Tensor:
        total = (self.log_std + (0.5 + _HALF_LOG_2PI)).sum()
        return total.expand(self.mean.shape[0])

    def kl_from(self, old: Tensor) -> Tensor:
        old_mean, old_log_std = old.chunk(2, dim=-1)
        squares = (2 * old_log_std).exp() + (old_mean - self.mean).square()
        return (self.log_std - old_log_std + 0.5 * squares * torch.exp(-2 * self.log_std) - 0.5).sum(-1)


class SquashedGaussian(DiagonalGaussian):
    """A normal distribution squashed by tanh.

    It is that of a = tanh(u) in (−1, 1) for a normal u.

    Actions are given and taken as u, `[B, A]`, from which a follows exactly; the reverse would lose digits near ±1.
    Log-probabilities and entropy are those of a, by the change of variables log π(a) = log μ(u) − Σ log(1 − tanh²u)
    (Haarnoja et al., 2018, arXiv:1801.01290, appendix C). The divergence of two such distributions is that of their
    normal ones, since tanh is one to one.
    """

    def log_prob(self, actions: Tensor) -> Tensor:
        return super().log_prob(actions) - _log_slope_of_tanh(actions).sum(-1)

    def entropy(self) -> Tensor:
        """H(u) + E[Σ log(1 − tanh²u)], by Gauss–Hermite quadrature, to 0.01 nats."""
        nodes, weights = (part.to(self.mean) for part in _gauss_hermite())
        points = self.mean.unsqueeze(-1) + self.log_std.exp().unsqueeze(-1) * nodes  # [B, A, Q]
        return super().entropy() + (_log_slope_of_tanh(points) @ weights).sum(-1)


def _log_slope_of_tanh(u: Tensor) -> Tensor:
    """log(1 − tanh²u), without overflow: 2 (log 2 − u − softplus(−2u))."""
    return 2.0 * (math.log(2.0) - u - functional.softplus(-2.0 * u))


@functools.cache
def _gauss_hermite() -> tuple[Tensor, Tensor]:
    """Nodes and weights, `[Q]`, for the expectation over a standard normal."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(32)
    return torch.from_numpy(nodes), torch.from_numpy(weights / weights.sum())


Space = TypeVar("Space", bound=spaces.Space)


class ActionKind(Generic[Space]):
    """Representation of one kind of action space within the policy.

    Attributes:
        space: of the environment.
        num_outputs: outputs of the policy head for each observation.
        shape, dtype: of one action within the policy.
        distribution_size: P, the parameters of one distribution (see `Distribution.parameters`).
        gaussian: whether there is a log standard deviation to learn, and noise is normal rather than uniform.
    """

    gaussian: ClassVar[bool] = False
    dtype: ClassVar[torch.dtype] = torch.int64

    def __init__(self, space: Space, num_outputs: int, shape: tuple[int, ...]) -> None:
        self.space = space
        self.num_outputs = self.distribution_size = num_outputs
        self.shape = shape

    def distribution(self, outputs: Tensor, log_std: Tensor | None, masks: Tensor | None) -> Distribution:
        """The distributions of the policy head's `outputs`, `[B, num_outputs]`.

        Args:
            log_std: `[A]` where `gaussian`, else None.
            masks: bool `[B, num_outputs]`, or None where every action is possible.
        """
        raise NotImplementedError

    def draw_noise(self, batch: int, generator: torch.Generator) -> Tensor:
        """Random numbers for `batch` actions, `[batch, num_outputs]`, on the generator's device."""
        return (DiagonalGaussian if self.gaussian else Categorical).draw_noise(batch, self.num_outputs, generator)

    def to_env(self, actions: np.ndarray) -> np.ndarray:
        """Actions `[B, *shape]` as members of the space, `[B, *space.shape]`."""
        raise NotImplementedError


class DiscreteActions(ActionKind[spaces.Discrete]):
    """One choice among ``space.n`` actions."""

    def __init__(self, space: spaces.Discrete) -> None:
        super().__init__(space, int(space.n), ())

    def distribution(self, outputs: Tensor, log_std: Tensor | None, masks: Tensor | None) -> Distribution:
        return Categorical(outputs, masks)

    def to_env(self, actions: np.ndarray) -> np.ndarray:
        return (actions + self.space.start).astype(self.space.dtype)


class MultiDiscreteActions(ActionKind[spaces.MultiDiscrete]):
    """Several choices at once."""

    def __init__(self, space: spaces.MultiDiscrete) -> None:
        self._sizes = [int(n) for n in space.nvec.flat]
        super().__init__(space, sum(self._sizes), (len(self._sizes),))

    def distribution(self, outputs: Tensor, log_std: Tensor | None, masks: Tensor | None) -> Distribution:
        return MultiCategorical(outputs, self._sizes, masks)

    def to_env(self, actions: np.ndarray) -> np.ndarray:
        return (actions.reshape(len(actions), *self.space.shape) + self.space.start).astype(self.space.dtype)


class MultiBinaryActions(ActionKind[spaces.MultiBinary]):
    """Several switches at once."""

    dtype = torch.float32

    def __init__(self, space: spaces.MultiBinary) -> None:
        super().__init__(space, math.prod(space.shape), (math.prod(space.shape),))

    def distribution(self, outputs: Tensor, log_std: Tensor | None, masks: Tensor | None) -> Distribution:
        return Bernoulli(outputs)

    def to_env(self, actions: np.ndarray) -> np.ndarray:
        return actions.reshape(len(actions), *self.space.shape).astype(self.space.dtype)


class ContinuousActions(ActionKind[spaces.Box]):
    """Real numbers, clipped to the space's bounds.

    The learner keeps the unclipped ones, of which the distribution gives the probability.
    """

    gaussian = True
    dtype = torch.float32

    def __init__(self, space: spaces.Box) -> None:
        super().__init__(space, math.prod(space.shape), (math.prod(space.shape),))
        self.distribution_size = 2 * self.num_outputs

    def distribution(self, outputs: Tensor, log_std: Tensor | None, masks: Tensor | None) -> Distribution:
        assert log_std is not None, "a Gaussian has a log standard deviation"
        return DiagonalGaussian(outputs, log_std)

    def to_env(self, actions: np.ndarray) -> np.ndarray:
        shaped = actions.reshape(len(actions), *self.space.shape)
        return shaped.astype(self.space.dtype).clip(self.space.low, self.space.high)


class SquashedActions(ContinuousActions):
    """Real numbers, squashed by a tanh into the space's finite bounds."""

    def distribution(self, outputs: Tensor, log_std: Tensor | None, masks: Tensor | None) -> Distribution:
        assert log_std is not None, "a Gaussian has a log standard deviation"
        return SquashedGaussian(outputs, log_std)

    def to_env(self, actions: np.ndarray) -> np.ndarray:
        low, high = self.space.low.astype(np.float64), self.space.high.astype(np.float64)
        shares = 0.5 * (np.tanh(actions.reshape(len(actions), *self.space.shape).astype(np.float64)) + 1.0)
        return (low + shares * (high - low)).astype(self.space.dtype).clip(self.space.low, self.space.high)


def action_kind(space: spaces.Space, *, squash: bool) -> ActionKind:
    """The kind of action space of `space`.

    Args:
        squash: squash continuous actions into their bounds instead of clipping them.

    Raises:
        ConfigError: no policy can act in this space.
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
        f"the environment's action space is {space}: a policy acts in Discrete, MultiDiscrete and MultiBinary spaces "
        "and in a Box of floats",
        hint="choose another environment, or wrap it to have one of these action spaces",
    )
