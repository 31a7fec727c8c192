"""The terms of PPO's objective, and statistics of an update.

One function a formula.

Every function takes and returns tensors; `[B]` is a minibatch of B steps and a result without a shape is a scalar.
Coefficients are Python's numbers or scalar tensors. "PPO" is Schulman et al., 2017, arXiv:1707.06347.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

_ROUNDING = 8.0
"""Units in the last place, between two returns that are equal but for rounding."""


def probability_ratio(log_probs: Tensor, old_log_probs: Tensor) -> Tensor:
    """The probability ratio rₜ(θ), `[B]` (PPO, section 3).

    rₜ(θ) = π_θ(aₜ|sₜ) / π_θold(aₜ|sₜ), from the log-probabilities `[B]` of both.
    """
    return torch.exp(log_probs - old_log_probs)


def surrogate_loss(ratio: Tensor, advantages: Tensor) -> Tensor:
    """−L^CPI = −mean(rₜ Âₜ) (PPO, equation 6): importance sampling without any bound.

    As in TRPO (Schulman et al., 2015, arXiv:1502.05477, equation 14). In the first step of an update, where rₜ = 1, its
    gradient is the policy gradient −mean(∇log π(aₜ|sₜ) Âₜ) of A2C (Mnih et al., 2016, arXiv:1602.01783, section 4).

    Args:
        ratio: rₜ(θ), `[B]`.
        advantages: Âₜ, `[B]`.
    """
    return -(ratio * advantages).mean()


def policy_gradient_loss(log_probs: Tensor, advantages: Tensor) -> Tensor:
    """−mean(log π(aₜ|sₜ) Âₜ), the loss of A3C.

    Its gradient is the negative policy gradient (Mnih et al., 2016, arXiv:1602.01783, section 4).

    Args:
        log_probs: log π(aₜ|sₜ), `[B]`.
        advantages: Âₜ, `[B]`.
    """
    return -(log_probs * advantages).mean()


def clipped_surrogate_loss(
    ratio: Tensor,
    advantages: Tensor,
    clip_range: float | Tensor,
    dual_clip: float | None = None,
    *,
    clip_range_upper: float | Tensor | None = None,
) -> Tensor:
    """The clipped surrogate loss −L^CLIP (PPO, equation 7).

    −L^CLIP = −mean(min(rₜ Âₜ, clip(rₜ, 1 − ε, 1 + ε) Âₜ)).

    Args:
        ratio: rₜ(θ), `[B]`.
        advantages: Âₜ, `[B]`.
        clip_range: ε.
        clip_range_upper: ε of the upper bound 1 + ε alone (Yu et al., 2025, DAPO, arXiv:2503.14476, section 3.1); None
            for that of the lower one.
        dual_clip: c > 1: where Âₜ < 0, c Âₜ is a lower bound of the gain (Ye et al., 2020, arXiv:1912.09729,
            equation 5); None for no bound.
    """
    upper = clip_range if clip_range_upper is None else clip_range_upper
    clipped_ratio = _clamp(ratio, 1.0 - clip_range, 1.0 + upper)
    gains = torch.min(ratio * advantages, clipped_ratio * advantages)
    if dual_clip is not None:
        gains = torch.where(advantages < 0, torch.max(gains, dual_clip * advantages), gains)
    return -gains.mean()


def simple_policy_loss(ratio: Tensor, advantages: Tensor, clip_range: float | Tensor) -> Tensor:
    """The loss of Simple Policy Optimization, SPO (Xie et al., 2025, arXiv:2401.16025).

    −mean(rₜ Âₜ − |Âₜ| / (2ε) (rₜ − 1)²). The gain of a step is greatest at rₜ = 1 + sign(Âₜ) ε. A ratio beyond is led
    back there, where a clipped surrogate has no gradient.

    Args:
        ratio: rₜ(θ), `[B]`.
        advantages: Âₜ, `[B]`.
        clip_range: ε > 0.
    """
    gains = ratio * advantages - advantages.abs() / (2.0 * clip_range) * (ratio - 1.0).square()
    return -gains.mean()


def _clamp(x: Tensor, low: float | Tensor, high: float | Tensor) -> Tensor:
    # PyTorch's stubs have no overload for bounds of either type.
    return x.clamp(low, high)  # pyright: ignore[reportCallIssue, reportArgumentType]


def kl_penalty(divergences: Tensor, kl_coef: float | Tensor) -> Tensor:
    """β mean(KL[π_θold(·|sₜ), π_θ(·|sₜ)]), the penalty of L^KLPEN (PPO, equation 8).

    Args:
        divergences: the exact KL of each step, `[B]`, in nats.
        kl_coef: β.
    """
    return kl_coef * divergences.mean()


def value_loss(values: Tensor, returns: Tensor, huber_delta: float | None = None) -> Tensor:
    """½ mean((V_θ(sₜ) − Vₜ^targ)²) (PPO, L^VF of equation 9).

    The factor ½ is that of OpenAI's baselines.

    Args:
        values: V_θ(sₜ), `[B]`.
        returns: Vₜ^targ, `[B]`.
        huber_delta: δ, beyond which errors count linearly, as δ |e| − ½ δ² (Huber, 1964); None squares all of them.
    """
    return _half_squares(values - returns, huber_delta).mean()


def clipped_value_loss(
    values: Tensor, old_values: Tensor, returns: Tensor, clip_range: float | Tensor, huber_delta: float | None = None
) -> Tensor:
    """The value loss with clipped changes of the value.

    ½ mean(max((V − Vᵗᵃʳᵍ)², (V_old + clip(V − V_old, −ε, ε) − Vᵗᵃʳᵍ)²)).

    The paper has no such term; OpenAI's baselines do (``ppo2/model.py`` in https://github.com/openai/baselines).

    Args:
        values: V_θ(sₜ), `[B]`.
        old_values: V_old(sₜ), of the critic that acted, `[B]`.
        returns: Vₜ^targ, `[B]`.
        clip_range: ε, in units of the value.
        huber_delta: as for `value_loss`.
    """
    clipped_values = old_values + _clamp(values - old_values, -clip_range, clip_range)
    free, clipped = (_half_squares(v - returns, huber_delta) for v in (values, clipped_values))
    return torch.max(free, clipped).mean()


def _half_squares(errors: Tensor, huber_delta: float | None) -> Tensor:
    if huber_delta is None:
        return 0.5 * errors.square()
    return nn.functional.huber_loss(errors, torch.zeros_like(errors), reduction="none", delta=huber_delta)


def entropy_loss(entropy: Tensor) -> Tensor:
    """−mean(S[π_θ](sₜ)), from entropies `[B]` in nats (PPO, equation 9)."""
    return -entropy.mean()


def approximate_kl(log_probs: Tensor, old_log_probs: Tensor) -> Tensor:
    """KL[π_θold, π_θ] estimated as mean((rₜ − 1) − log rₜ), in nats.

    From the log-probabilities `[B]` of the actions taken. The estimator k₃ of http://joschu.net/blog/kl-approx.html:
    unbiased, never negative and of low variance.
    """
    log_ratio = log_probs - old_log_probs
    return (torch.expm1(log_ratio) - log_ratio).mean()


def clip_fraction(ratio: Tensor, clip_range: float | Tensor, clip_range_upper: float | Tensor | None = None) -> Tensor:
    """Share (0..1) of the ratios `[B]` beyond either bound.

    They are 1 − ε and 1 + ε, of the arguments of `clipped_surrogate_loss`.
    """
    upper, deviation = clip_range if clip_range_upper is None else clip_range_upper, ratio - 1.0
    return ((deviation > upper) | (-deviation > clip_range)).to(ratio.dtype).mean()


def explained_variance(values: Tensor, returns: Tensor) -> Tensor:
    """1 − Var[returns − values] / Var[returns].

    Both tensors have the same shape.

    1 for a perfect critic, 0 for a constant one, below 0 for a worse one; NaN where all returns are equal up to
    rounding and there is no variance to explain.
    """
    # A return is (Vₜᵃʳᵍ − V) + V, whose rounding is relative to the larger of both.
    magnitude = torch.max(returns.abs().max(), values.abs().max())
    spread = returns.max() - returns.min()
    unexplained = torch.var(returns - values, correction=0) / torch.var(returns, correction=0)
    return torch.where(spread > _ROUNDING * torch.finfo(returns.dtype).eps * magnitude, 1.0 - unexplained, torch.nan)


def normalize(x: Tensor, eps: float = 1e-8, *, over: Tensor | None = None) -> Tensor:
    """(x − mean) / (standard deviation + eps).

    Args:
        over: sample of the mean and standard deviation; by default `x`. With fewer than two numbers `x` is unchanged.
    """
    over = x if over is None else over
    if over.numel() < 2:
        return x
    return (x - over.mean()) / (over.std() + eps)
