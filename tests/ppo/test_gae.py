"""Generalised advantage estimation against its definition."""

import hypothesis
import torch
from hypothesis import strategies as st

from ppo_tui.ppo.gae import gae


def advantages_by_definition(rewards, values, terminations, truncations, last_values, final_values, gamma, lam):
    """Σₗ (γλ)ˡ δₜ₊ₗ, one step of one environment at a time.

    Up to the end of the episode or of the rollout.
    """
    num_steps, num_envs = rewards.shape
    result = torch.zeros(num_steps, num_envs, dtype=torch.float64)
    for env in range(num_envs):
        for t in range(num_steps):
            total, weight = 0.0, 1.0
            for k in range(t, num_steps):
                if terminations[k, env]:
                    bootstrap = 0.0
                elif truncations[k, env]:
                    bootstrap = final_values[k, env].item()
                else:
                    bootstrap = (values[k + 1, env] if k + 1 < num_steps else last_values[env]).item()
                delta = rewards[k, env].item() + gamma * bootstrap - values[k, env].item()
                total += weight * delta
                weight *= gamma * lam
                if terminations[k, env] or truncations[k, env]:
                    break
            result[t, env] = total
    return result


@hypothesis.given(
    num_steps=st.integers(1, 12),
    num_envs=st.integers(1, 4),
    seed=st.integers(0, 2**31),
    end_rate=st.floats(0, 1),
    gamma=st.floats(0, 1),
    lam=st.floats(0, 1),
)
def test_gae_is_the_discounted_sum_of_errors_within_each_episode(num_steps, num_envs, seed, end_rate, gamma, lam):
    generator = torch.Generator().manual_seed(seed)
    shape = (num_steps, num_envs)

    def normal(*size):
        return torch.randn(*size, generator=generator, dtype=torch.float64)

    rewards, values, final_values, last_values = normal(*shape), normal(*shape), normal(*shape), normal(num_envs)
    terminations = torch.rand(shape, generator=generator) < end_rate / 2
    truncations = torch.rand(shape, generator=generator) < end_rate / 2
    arguments = (rewards, values, terminations, truncations, last_values, final_values)

    advantages, returns = gae(*arguments, gamma=gamma, gae_lambda=lam)

    expected = advantages_by_definition(*arguments, gamma, lam)
    torch.testing.assert_close(advantages, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(returns, expected + values, rtol=1e-12, atol=1e-12)


def test_final_values_are_read_only_where_a_step_was_truncated():
    """`final_values` elsewhere, here NaN, must not matter."""
    truncations = torch.tensor([[False], [True], [False]])
    final_values = torch.full((3, 1), torch.nan)
    final_values[1] = 10.0
    advantages, _ = gae(
        torch.zeros(3, 1),
        torch.zeros(3, 1),
        torch.zeros(3, 1, dtype=torch.bool),
        truncations,
        torch.tensor([4.0]),
        final_values,
        gamma=0.5,
        gae_lambda=1.0,
    )
    assert advantages.squeeze().tolist() == [2.5, 5.0, 2.0]


def test_lambda_one_gives_the_discounted_return_minus_the_value():
    """Three rewards of 1 at γ = ½ and a bootstrap of 8.

    1 + ½ + ¼ + 8⁄8 = 2.75.
    """
    no = torch.zeros(3, 1, dtype=torch.bool)
    values = torch.tensor([[5.0], [-3.0], [0.5]])
    _, returns = gae(
        torch.ones(3, 1), values, no, no, torch.tensor([8.0]), torch.zeros(3, 1), gamma=0.5, gae_lambda=1.0
    )
    assert returns[0].item() == 2.75
