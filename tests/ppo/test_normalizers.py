"""Running statistics of all samples, and the normalised observations and rewards."""

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ppo_tui.ppo.normalizers import ObservationNormalizer, RewardNormalizer, RunningMoments

SAMPLES = hnp.arrays(np.float64, st.tuples(st.integers(1, 30), st.just(2)), elements=st.floats(-1e3, 1e3))


@hypothesis.given(samples=SAMPLES, cuts=st.lists(st.integers(1, 29), max_size=4))
def test_moments_are_those_of_all_samples_however_they_are_split(samples, cuts):
    moments = RunningMoments((2,))
    for part in np.split(samples, sorted({cut for cut in cuts if cut < len(samples)})):
        moments.merge(torch.from_numpy(part))
    assert moments.count.item() == len(samples)
    np.testing.assert_allclose(moments.mean, samples.mean(0), atol=1e-8)
    np.testing.assert_allclose(moments.variance, samples.var(0), rtol=1e-8, atol=1e-6)


def test_moments_far_from_zero_lose_no_digits():
    moments, samples = RunningMoments(), 1e8 + torch.arange(1000, dtype=torch.float64)
    for part in samples.split(7):
        moments.merge(part)
    assert moments.variance.item() == pytest.approx(samples.var(correction=0).item(), rel=1e-6)


def test_normalised_observations_have_mean_0_and_variance_1_and_a_limit():
    normalizer = ObservationNormalizer((3,))
    scales, offsets = torch.tensor([100.0, 1e-3, 1.0]), torch.tensor([500.0, 0.0, -7.0])
    observations = torch.randn(5000, 3, generator=torch.Generator().manual_seed(0)) * scales + offsets
    normalizer.merge(observations)
    normalized = normalizer(observations)
    torch.testing.assert_close(normalized.mean(0), torch.zeros(3), atol=1e-3, rtol=0)
    # The 1e-8 that is added to the variance of the second shows: 1e-6.
    torch.testing.assert_close(normalized.std(0), torch.ones(3), atol=1e-2, rtol=0)
    assert normalizer(torch.full((1, 3), 1e9)).tolist() == [[10.0, 10.0, 10.0]]
    assert normalized.dtype == torch.float32


def test_what_never_changes_becomes_zero_and_stacks_share_the_statistics():
    normalizer = ObservationNormalizer((2,))
    normalizer.merge(torch.tensor([[3.0, 0.0], [3.0, 2.0]]))
    assert normalizer(torch.tensor([[[3.0, 1.0], [3.0, 2.0]]])).round(decimals=3).tolist() == [[[0, 0], [0, 1]]]


def test_before_any_statistics_observations_are_only_clipped():
    assert ObservationNormalizer((2,))(torch.tensor([[0.5, -40.0]])).tolist() == [[0.5, -10.0]]


# ── Rewards ─────────────────────────────────────────────────────────────────────────────────────────────────


@hypothesis.given(
    seed=st.integers(0, 2**31),
    gamma=st.sampled_from([0.0, 0.9, 1.0]),
    rollouts=st.integers(1, 3),
    steps=st.integers(1, 9),
)
def test_rewards_are_divided_by_the_deviation_of_all_discounted_returns(seed, gamma, rollouts, steps):
    """Against the definition, step by step, over all rollouts so far.

    Episodes cut the sum.
    """
    generator = np.random.default_rng(seed)
    normalizer, running, returns = RewardNormalizer(2), np.zeros(2), []
    for _ in range(rollouts):
        rewards, ends = generator.normal(3, 2, (steps, 2)), generator.random((steps, 2)) < 0.2
        normalized = normalizer(torch.from_numpy(rewards), torch.from_numpy(ends), gamma)
        for reward, end in zip(rewards, ends, strict=True):
            running = running * gamma + reward
            returns.append(running)
            running = np.where(end, 0.0, running)
        expected = (rewards / np.sqrt(np.var(returns) + 1e-8)).clip(-10, 10)
        np.testing.assert_allclose(normalized, expected, rtol=1e-6, atol=1e-9)


def test_reward_statistics_survive_saving():
    rewards, ends = torch.randn(20, 2, dtype=torch.float64), torch.rand(20, 2) < 0.1
    first = RewardNormalizer(2)
    first(rewards, ends, 0.9)
    second = RewardNormalizer(2)
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(rewards + 1, ends, 0.9), second(rewards + 1, ends, 0.9))
