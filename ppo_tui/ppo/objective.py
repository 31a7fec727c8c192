"""What a minibatch says of a policy: PPO's loss, and the means that are reported beside it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..config import PPOConfig
from . import losses
from .buffer import Minibatch
from .distributions import Distribution
from .policy import ActorCritic

MEANS = ("policy_gradient_loss", "value_loss", "entropy_loss", "loss", "approx_kl", "clip_fraction")
"""Names of `Evaluation.means`."""


class Coefficients(NamedTuple):
    """The numbers in the loss that may differ from one update to the next: Python's, or scalar tensors.

    Attributes:
        clip_range: ε.
        value: of the value loss.
        entropy: of the entropy loss.
        kl: β of the KL penalty.
    """

    clip_range: float | Tensor
    value: float | Tensor
    entropy: float | Tensor
    kl: float | Tensor


class Evaluation(NamedTuple):
    """Of one minibatch.

    Attributes:
        loss: what is to be minimised.
        means: over the minibatch's steps, without gradient, in the order of `MEANS`.
        ratio_error: the largest |rₜ − 1|, without gradient.
    """

    loss: Tensor
    means: Tensor
    ratio_error: Tensor


class Objective:
    """Judges `policy`, whose weights may change from one call to the next, by the loss that `ppo` describes."""

    def __init__(self, policy: ActorCritic, ppo: PPOConfig) -> None:
        self._policy, self._ppo = policy, ppo

    def evaluate(self, batch: Minibatch, coefficients: Coefficients) -> Evaluation:
        distribution, values = self._policy(batch.observations, batch.masks, batch.past)
        log_probs = distribution.log_prob(batch.actions)
        ratio = losses.probability_ratio(log_probs, batch.log_probs)
        policy_loss = self._policy_loss(ratio, distribution, batch, coefficients)
        value_loss = self._value_loss(values, batch, coefficients.clip_range)
        entropy_loss = losses.entropy_loss(distribution.entropy())
        loss = policy_loss + coefficients.value * value_loss + coefficients.entropy * entropy_loss
        with torch.no_grad():
            approx_kl = losses.approximate_kl(log_probs, batch.log_probs)
            clip_fraction = losses.clip_fraction(ratio, coefficients.clip_range)
            means = torch.stack((policy_loss, value_loss, entropy_loss, loss, approx_kl, clip_fraction))
            return Evaluation(loss, means, (ratio - 1.0).abs().max())

    def _policy_loss(
        self, ratio: Tensor, distribution: Distribution, batch: Minibatch, coefficients: Coefficients
    ) -> Tensor:
        """The negative of the surrogate that the configuration names, the KL penalty included."""
        advantages = batch.advantages
        if self._ppo.normalize_advantage:
            advantages = losses.normalize(advantages, over=batch.whole_advantages)
        if self._ppo.surrogate == "clip":
            return losses.clipped_surrogate_loss(ratio, advantages, coefficients.clip_range, self._ppo.dual_clip)
        loss = losses.surrogate_loss(ratio, advantages)
        if self._ppo.surrogate == "none":
            return loss
        return loss + losses.kl_penalty(distribution.kl_from(batch.old_distributions), coefficients.kl)

    def _value_loss(self, values: Tensor, batch: Minibatch, clip_range: float | Tensor) -> Tensor:
        delta = self._ppo.huber_delta
        if self._ppo.clip_value_loss:
            return losses.clipped_value_loss(values, batch.values, batch.returns, clip_range, delta)
        return losses.value_loss(values, batch.returns, delta)
