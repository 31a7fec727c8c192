"""The objective of PPO: loss and statistics of a minibatch."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..config import PPOConfig
from . import losses
from .distributions import Distribution
from .minibatches import Minibatch
from .policy import ActorCritic


class Coefficients(NamedTuple):
    """Coefficients of the loss in one update: Python numbers, or scalar tensors.

    Attributes:
        clip_range: ε.
        clip_range_upper: ε of the upper bound.
        value: c₁, of the value loss.
        entropy: c₂, of the entropy loss.
        kl: β of the KL penalty.
    """

    clip_range: float | Tensor
    clip_range_upper: float | Tensor
    value: float | Tensor
    entropy: float | Tensor
    kl: float | Tensor


class Evaluation(NamedTuple):
    """The loss and its statistics on one minibatch.

    Attributes:
        loss: to be minimised.
        means: over the minibatch's steps, without gradient, `[len(MEANS)]`.
        ratio_error: the largest |rₜ − 1|, without gradient.
        log_probs, values: of each step, without gradient, `[B]`; None from a compiled objective.
    """

    loss: Tensor
    means: Tensor
    ratio_error: Tensor
    log_probs: Tensor | None = None
    values: Tensor | None = None


class Objective:
    """The loss of `policy` under the settings of `ppo`."""

    def __init__(self, policy: ActorCritic, ppo: PPOConfig) -> None:
        self._policy, self._ppo = policy, ppo

    def evaluate(self, batch: Minibatch, coefficients: Coefficients, *, samples: bool = True) -> Evaluation:
        """The loss of a minibatch (PPO, equation 9).

        −L^CLIP (or another surrogate) + c₁ L^VF − c₂ S[π_θ].
        """
        distribution, values = self._policy(batch.observations, batch.masks, batch.context)
        log_probs = distribution.log_prob(batch.actions)
        ratio = losses.probability_ratio(log_probs, batch.log_probs)
        policy_loss = self._policy_loss(ratio, distribution, batch, coefficients)
        value_loss = self._value_loss(values, batch, coefficients.clip_range)
        entropy_loss = losses.entropy_loss(distribution.entropy())
        loss = policy_loss + coefficients.value * value_loss + coefficients.entropy * entropy_loss
        with torch.no_grad():
            approx_kl = losses.approximate_kl(log_probs, batch.log_probs)
            clip_fraction = losses.clip_fraction(ratio, coefficients.clip_range, coefficients.clip_range_upper)
            means = torch.stack((policy_loss, value_loss, entropy_loss, loss, approx_kl, clip_fraction))
            evaluation = Evaluation(loss, means, (ratio - 1.0).abs().max())
            return evaluation._replace(log_probs=log_probs.detach(), values=values.detach()) if samples else evaluation

    def evaluate_means(self, batch: Minibatch, coefficients: Coefficients) -> Evaluation:
        """The same without the numbers of each step.

        To be compiled: with other outputs the compiler orders sums in another way, for other last bits.
        """
        return self.evaluate(batch, coefficients, samples=False)

    def _policy_loss(
        self, ratio: Tensor, distribution: Distribution, batch: Minibatch, coefficients: Coefficients
    ) -> Tensor:
        """The negative of the configured surrogate, with its KL penalty."""
        advantages = advantages_of(batch, self._ppo)
        if self._ppo.surrogate == "clip":
            return losses.clipped_surrogate_loss(
                ratio,
                advantages,
                coefficients.clip_range,
                self._ppo.dual_clip,
                clip_range_upper=coefficients.clip_range_upper,
            )
        if self._ppo.surrogate == "spo":
            return losses.simple_policy_loss(ratio, advantages, coefficients.clip_range)
        loss = losses.surrogate_loss(ratio, advantages)
        if self._ppo.surrogate == "none":
            return loss
        return loss + losses.kl_penalty(kl_from_old(distribution, batch), coefficients.kl)

    def _value_loss(self, values: Tensor, batch: Minibatch, clip_range: float | Tensor) -> Tensor:
        delta, old_values, returns = self._ppo.huber_delta, batch.values, batch.returns
        if (normalizer := self._policy.value_normalizer) is not None:
            values, old_values, returns = map(normalizer.normalize, (values, old_values, returns))
        if self._ppo.clip_value_loss:
            return losses.clipped_value_loss(values, old_values, returns, clip_range, delta)
        return losses.value_loss(values, returns, delta)


def advantages_of(batch: Minibatch, ppo: PPOConfig) -> Tensor:
    """The advantages Âₜ in the loss of a minibatch, `[B]`."""
    return (
        losses.normalize(batch.advantages, over=batch.whole_advantages) if ppo.normalize_advantage else batch.advantages
    )


def kl_from_old(distribution: Distribution, batch: Minibatch) -> Tensor:
    """KL[π_θold(·|sₜ), π_θ(·|sₜ)] of each step, `[B]`, in nats."""
    assert batch.old_distributions is not None, "Config.compares_distributions lets the rollout keep them"
    return distribution.kl_from(batch.old_distributions)
