"""Generalised advantage estimation, as a function of tensors."""

from __future__ import annotations

import torch
from torch import Tensor


def gae(
    rewards: Tensor,
    values: Tensor,
    terminations: Tensor,
    truncations: Tensor,
    last_values: Tensor,
    final_values: Tensor,
    *,
    gamma: float,
    gae_lambda: float,
) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimation with exact treatment of time limits.

        δₜ = rₜ + γ V(sₜ₊₁) − V(sₜ)                (Schulman et al., 2016, arXiv:1506.02438, equation 10)
        Âₜ = Σₗ (γλ)ˡ δₜ₊ₗ                         (equation 16; equations 11 and 12 of arXiv:1707.06347)

    The sum ends with the episode. V(sₜ₊₁) is 0 where the step terminated, the value of the episode's own final
    observation where it was truncated (Pardo et al., 2018, arXiv:1712.00378), and that of the next observation
    everywhere else. A step that both terminated and was truncated counts as terminated.

    Args:
        rewards: rₜ, `[T, N]`.
        values: V(sₜ), `[T, N]`.
        terminations: whether step t reached a terminal state, bool `[T, N]`.
        truncations: whether a limit ended the episode at step t, bool `[T, N]`.
        last_values: V(s_T), the value of the observation after the last step, `[N]`.
        final_values: value of the final observation of the episode ended by step t, `[T, N]`; read only where
            step t was truncated.
        gamma: discount factor γ.
        gae_lambda: λ; 0 gives the one-step error δₜ, 1 the discounted return minus V(sₜ).

    Returns:
        The advantages Âₜ and the returns Âₜ + V(sₜ), the critic's targets, both `[T, N]`.
    """
    deltas = one_step_errors(rewards, values, terminations, truncations, last_values, final_values, gamma=gamma)
    episode_ends = terminations | truncations
    decays = torch.full_like(deltas, gamma * gae_lambda).masked_fill_(episode_ends, 0.0)  # [T, N]

    running = torch.zeros_like(last_values)  # [N]
    backwards = []
    for delta, decay in zip(reversed(deltas.unbind()), reversed(decays.unbind()), strict=True):
        running = torch.addcmul(delta, decay, running)
        backwards.append(running)
    advantages = torch.stack(backwards[::-1])
    return advantages, advantages + values


def one_step_errors(
    rewards: Tensor,
    values: Tensor,
    terminations: Tensor,
    truncations: Tensor,
    last_values: Tensor,
    final_values: Tensor,
    *,
    gamma: float,
) -> Tensor:
    """The one-step errors δₜ of `gae`, from its arguments.

    `[T, N]`; without N, of one environment, `[T]`.
    """
    next_values = torch.cat([values[1:], last_values.unsqueeze(0)])
    next_values = torch.where(truncations, final_values, next_values).masked_fill(terminations, 0.0)
    return rewards + gamma * next_values - values
