"""The terms of PPO's objective and the diagnostics beside them: one formula, one function.

Every function takes and returns tensors; `[B]` is a minibatch of B steps and a result without a shape is a scalar.
"PPO" is Schulman et al., 2017, arXiv:1707.06347.
"""

from __future__ import annotations

import torch
from torch import Tensor


def probability_ratio(log_probs: Tensor, old_log_probs: Tensor) -> Tensor:
    """rₜ(θ) = π_θ(aₜ|sₜ) / π_θold(aₜ|sₜ) (PPO, section 3), from the log-probabilities `[B]` of both; `[B]`."""
    return torch.exp(log_probs - old_log_probs)


def clipped_surrogate_loss(ratio: Tensor, advantages: Tensor, clip_range: float) -> Tensor:
    """−L^CLIP = −mean(min(rₜ Âₜ, clip(rₜ, 1 − ε, 1 + ε) Âₜ)) (PPO, equation 7).

    Args:
        ratio: rₜ(θ), `[B]`.
        advantages: Âₜ, `[B]`.
        clip_range: ε.
    """
    clipped_ratio = ratio.clamp(1.0 - clip_range, 1.0 + clip_range)
    return -torch.min(ratio * advantages, clipped_ratio * advantages).mean()


def value_loss(values: Tensor, returns: Tensor) -> Tensor:
    """½ mean((V_θ(sₜ) − Vₜ^targ)²): L^VF of PPO, equation 9, with the ½ of OpenAI's baselines; both `[B]`."""
    return 0.5 * (values - returns).square().mean()


def clipped_value_loss(values: Tensor, old_values: Tensor, returns: Tensor, clip_range: float) -> Tensor:
    """½ mean(max((V − Vᵗᵃʳᵍ)², (V_old + clip(V − V_old, −ε, ε) − Vᵗᵃʳᵍ)²)).

    The paper has no such term; OpenAI's baselines do (``ppo2/model.py`` in https://github.com/openai/baselines).

    Args:
        values: V_θ(sₜ), `[B]`.
        old_values: what the critic said during the rollout, `[B]`.
        returns: Vₜ^targ, `[B]`.
        clip_range: ε, in units of the value.
    """
    clipped_values = old_values + (values - old_values).clamp(-clip_range, clip_range)
    return 0.5 * torch.max((values - returns).square(), (clipped_values - returns).square()).mean()


def entropy_loss(entropy: Tensor) -> Tensor:
    """−mean(S[π_θ](sₜ)): the negative of the bonus in PPO's equation 9, from entropies `[B]` in nats."""
    return -entropy.mean()


def approximate_kl(log_probs: Tensor, old_log_probs: Tensor) -> Tensor:
    """KL[π_θold, π_θ] as mean((r − 1) − log r), in nats, from the log-probabilities `[B]` of old actions.

    The estimator k₃ of http://joschu.net/blog/kl-approx.html: unbiased, never negative and of low variance.
    """
    log_ratio = log_probs - old_log_probs
    return (torch.expm1(log_ratio) - log_ratio).mean()


def clip_fraction(ratio: Tensor, clip_range: float) -> Tensor:
    """Share (0..1) of the steps whose ratio rₜ `[B]` lies further than ε from 1."""
    return ((ratio - 1.0).abs() > clip_range).to(ratio.dtype).mean()


def explained_variance(values: Tensor, returns: Tensor) -> Tensor:
    """1 − Var[returns − values] / Var[returns]: 1 for a perfect critic, 0 for a constant one, below 0 for a worse.

    Both tensors are of one shape. NaN where all returns are equal, because there is no variance to explain.
    """
    spread = (returns.max() - returns.min()) > 0
    unexplained = torch.var(returns - values, correction=0) / torch.var(returns, correction=0)
    return torch.where(spread, 1.0 - unexplained, torch.nan)


def normalize(x: Tensor, eps: float = 1e-8) -> Tensor:
    """(x − mean) / (standard deviation + eps) over all of `x`; a single number is returned as it is."""
    if x.numel() < 2:
        return x
    return (x - x.mean()) / (x.std() + eps)
