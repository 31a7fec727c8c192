"""The action distributions: what `torch.distributions` computes, without its overhead, sampled from given noise.

Sampling is a pure function of parameters and noise. The noise of a whole vector step is drawn at once, so an
action does not depend on how the environments are grouped or on which group comes first.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor

_HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)


class Distribution(Protocol):
    """B independent action distributions, one per observation."""

    def sample(self, noise: Tensor) -> Tensor:
        """One action each, from `noise` as `ActorCritic.draw_noise` gives it."""

    def mode(self) -> Tensor:
        """The most probable action of each."""

    def log_prob(self, actions: Tensor) -> Tensor:
        """log π(a|s), `[B]`, in nats."""

    def entropy(self) -> Tensor:
        """Entropy of each, `[B]`, in nats."""


class Categorical:
    """A choice among A discrete actions; actions are int64 `[B]`, counted from 0.

    Args:
        logits: unnormalised log-probabilities, `[B, A]`; −inf excludes an action.
    """

    def __init__(self, logits: Tensor) -> None:
        log_probs = torch.log_softmax(logits, dim=-1)
        # An excluded action contributes p log p = 0 to the entropy, but 0 × −inf would be NaN.
        self.log_probs = log_probs.clamp(min=torch.finfo(log_probs.dtype).min)  # [B, A]

    @staticmethod
    def draw_noise(batch: int, num_actions: int, generator: torch.Generator) -> Tensor:
        """Uniform noise in [0, 1), `[batch, num_actions]`, on the generator's device."""
        return torch.rand(batch, num_actions, generator=generator, device=generator.device)

    def sample(self, noise: Tensor) -> Tensor:
        """The Gumbel-max trick: argmax(log p + g) with g = −log(−log u) follows p (Gumbel, 1954)."""
        gumbel = -torch.log(-torch.log(noise))
        return torch.argmax(self.log_probs + gumbel, dim=-1)

    def mode(self) -> Tensor:
        return torch.argmax(self.log_probs, dim=-1)

    def log_prob(self, actions: Tensor) -> Tensor:
        return self.log_probs.gather(-1, actions.unsqueeze(-1)).squeeze(-1)

    def entropy(self) -> Tensor:
        return -(self.log_probs.exp() * self.log_probs).sum(-1)


class DiagonalGaussian:
    """A normal distribution with independent dimensions; actions are `[B, A]`.

    Args:
        mean: `[B, A]`.
        log_std: logarithm of the standard deviations, `[A]`, the same in every state.
    """

    def __init__(self, mean: Tensor, log_std: Tensor) -> None:
        self.mean = mean
        self.log_std = log_std

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
