"""The action distributions against `torch.distributions`, and sampling against probability."""

import hypothesis
import pytest
import torch
from hypothesis import strategies as st

from ppo_tui.ppo import Categorical, DiagonalGaussian


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@hypothesis.given(seed=st.integers(0, 2**31), batch=st.integers(1, 20), num_actions=st.integers(1, 20))
def test_categorical_agrees_with_torch(seed, batch, num_actions):
    logits = 5 * torch.randn(batch, num_actions, generator=generator(seed))
    actions = torch.randint(num_actions, (batch,), generator=generator(seed))
    ours, theirs = Categorical(logits), torch.distributions.Categorical(logits=logits)
    torch.testing.assert_close(ours.log_prob(actions), theirs.log_prob(actions))
    torch.testing.assert_close(ours.entropy(), theirs.entropy(), atol=1e-5, rtol=1e-5)
    assert torch.equal(ours.mode(), theirs.mode)


@hypothesis.given(seed=st.integers(0, 2**31), batch=st.integers(1, 20), num_dims=st.integers(1, 8))
def test_gaussian_agrees_with_torch(seed, batch, num_dims):
    mean, actions = torch.randn(2, batch, num_dims, generator=generator(seed)).unbind()
    log_std = torch.randn(num_dims, generator=generator(seed))
    ours = DiagonalGaussian(mean, log_std)
    theirs = torch.distributions.Independent(torch.distributions.Normal(mean, log_std.exp().expand_as(mean)), 1)
    torch.testing.assert_close(ours.log_prob(actions), theirs.log_prob(actions))
    torch.testing.assert_close(ours.entropy(), theirs.entropy())
    assert torch.equal(ours.mode(), mean)


def test_categorical_samples_come_as_often_as_their_probability():
    """χ² with 4 degrees of freedom exceeds 23.5 once in 10,000 seeds."""
    draws = 100_000
    probabilities = torch.tensor([0.5, 0.3, 0.15, 0.049, 0.001])
    distribution = Categorical(probabilities.log().expand(draws, -1))
    actions = distribution.sample(Categorical.draw_noise(draws, 5, generator(7)))
    expected = draws * probabilities
    chi_square = ((actions.bincount(minlength=5) - expected).square() / expected).sum()
    assert chi_square < 23.5


def test_gaussian_samples_have_its_mean_and_deviation():
    draws = 100_000
    distribution = DiagonalGaussian(torch.tensor([[3.0, -1.0]]).expand(draws, -1), torch.tensor([0.0, -2.0]))
    samples = distribution.sample(DiagonalGaussian.draw_noise(draws, 2, generator(7)))
    assert samples.mean(0).tolist() == pytest.approx([3.0, -1.0], abs=0.02)
    assert samples.std(0).log().tolist() == pytest.approx([0.0, -2.0], abs=0.01)


@pytest.mark.parametrize(
    "logits", [[1e30, 0.0, -1e30], [-torch.inf, 0.0, -torch.inf], [3e38, 3e38, -3e38], [1e-30, 0.0, 0.0]]
)
def test_extreme_logits_stay_finite(logits):
    tensor = torch.tensor([logits], requires_grad=True)
    distribution = Categorical(tensor)
    (distribution.entropy() + distribution.log_prob(distribution.mode())).sum().backward()
    assert distribution.entropy().isfinite().all()
    assert distribution.log_prob(torch.tensor([2])).isfinite().all()
    assert tensor.grad.isfinite().all()


def test_excluded_actions_are_never_sampled():
    logits = torch.tensor([[0.0, -torch.inf, 0.0]]).expand(10_000, -1)
    actions = Categorical(logits).sample(Categorical.draw_noise(10_000, 3, generator()))
    assert set(actions.tolist()) == {0, 2}


def test_noise_of_zero_which_has_an_infinite_logarithm_is_survived():
    noise = torch.tensor([[0.0, 0.3, 0.0]])
    assert Categorical(torch.zeros(1, 3)).sample(noise).item() == 1


@pytest.mark.parametrize("kind", [Categorical, DiagonalGaussian])
def test_noise_repeats_with_its_generator(kind):
    first, second = kind.draw_noise(4, 3, generator(5)), kind.draw_noise(4, 3, generator(5))
    assert torch.equal(first, second)
    assert first.shape == (4, 3)
