"""The action distributions against `torch.distributions`, and sampling against probability."""

import math

import hypothesis
import pytest
import torch
from hypothesis import strategies as st

from ppo_tui.ppo import Bernoulli, Categorical, DiagonalGaussian, MultiCategorical, SquashedGaussian


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


# ── Several choices, switches, squashed actions ─────────────────────────────────────────────────────────────

SIZES = (2, 3, 4)


@hypothesis.given(seed=st.integers(0, 2**31), batch=st.integers(1, 8))
def test_several_choices_agree_with_torch(seed, batch):
    logits = 3 * torch.randn(batch, sum(SIZES), generator=generator(seed))
    ours = MultiCategorical(logits, SIZES)
    theirs = [torch.distributions.Categorical(logits=part) for part in logits.split(SIZES, dim=-1)]
    actions = ours.sample(Categorical.draw_noise(batch, sum(SIZES), generator(seed)))
    assert all((actions[:, i] < size).all() for i, size in enumerate(SIZES))
    expected = sum(part.log_prob(actions[:, i]) for i, part in enumerate(theirs))
    torch.testing.assert_close(ours.log_prob(actions), expected)
    torch.testing.assert_close(ours.entropy(), sum(part.entropy() for part in theirs), atol=1e-5, rtol=1e-5)
    assert torch.equal(ours.mode(), torch.stack([part.mode for part in theirs], dim=-1))


@hypothesis.given(seed=st.integers(0, 2**31), batch=st.integers(1, 8), switches=st.integers(1, 5))
def test_switches_agree_with_torch(seed, batch, switches):
    logits = 3 * torch.randn(batch, switches, generator=generator(seed))
    ours = Bernoulli(logits)
    theirs = torch.distributions.Independent(torch.distributions.Bernoulli(logits=logits), 1)
    actions = ours.sample(torch.rand(batch, switches, generator=generator(seed)))
    torch.testing.assert_close(ours.log_prob(actions), theirs.log_prob(actions))
    torch.testing.assert_close(ours.entropy(), theirs.entropy())
    assert torch.equal(ours.mode(), (torch.sigmoid(logits) > 0.5).float())


def test_switches_are_on_as_often_as_their_probability():
    logits = torch.tensor([[-2.0, 0.0, 1.0]]).expand(100_000, -1)
    actions = Bernoulli(logits).sample(torch.rand(100_000, 3, generator=generator()))
    torch.testing.assert_close(actions.mean(0), torch.sigmoid(logits[0]), atol=0.006, rtol=0)


@hypothesis.given(seed=st.integers(0, 2**31), batch=st.integers(1, 8), num_dims=st.integers(1, 4))
def test_squashed_actions_have_the_probability_that_torch_gives_them(seed, batch, num_dims):
    mean, actions = torch.randn(2, batch, num_dims, generator=generator(seed), dtype=torch.float64).unbind()
    log_std = 0.3 * torch.randn(num_dims, generator=generator(seed), dtype=torch.float64)
    normal = torch.distributions.Normal(mean, log_std.exp().expand_as(mean))
    squashed = torch.distributions.TransformedDistribution(normal, torch.distributions.TanhTransform())
    expected = squashed.log_prob(torch.tanh(actions)).sum(-1)
    torch.testing.assert_close(SquashedGaussian(mean, log_std).log_prob(actions), expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("log_std", [-3.0, -1.0, 0.0, 0.7])
def test_the_entropy_of_squashed_actions_is_their_mean_surprise(log_std):
    """Against 400,000 samples, with a mean known to about 0.003."""
    mean = torch.tensor([[0.0, 1.5, -3.0]])
    distribution = SquashedGaussian(mean, torch.full((3,), log_std))
    samples = mean + torch.randn(400_000, 3, generator=generator()) * torch.tensor(log_std).exp()
    surprise = -distribution.log_prob(samples).mean()
    assert distribution.entropy().item() == pytest.approx(surprise.item(), abs=0.02)


def test_extreme_squashed_actions_stay_finite():
    mean = torch.tensor([[40.0, -40.0]], requires_grad=True)
    distribution = SquashedGaussian(mean, torch.zeros(2))
    (distribution.log_prob(torch.tensor([[45.0, -38.0]])) + distribution.entropy()).sum().backward()
    assert mean.grad.isfinite().all()


# ── Divergence ──────────────────────────────────────────────────────────────────────────────────────────────


def made(kind: str, seed: int):
    """One of our distributions and torch's, of the same random parameters."""
    numbers = 2 * torch.randn(5, 9, generator=generator(seed))
    if kind == "categorical":
        return Categorical(numbers), [torch.distributions.Categorical(logits=numbers)]
    if kind == "multi":
        parts = [torch.distributions.Categorical(logits=part) for part in numbers.split(SIZES, dim=-1)]
        return MultiCategorical(numbers, SIZES), parts
    if kind == "switches":
        return Bernoulli(numbers), [torch.distributions.Bernoulli(logits=part) for part in numbers.unbind(-1)]
    log_std = numbers[0, 4:8] / 4
    ours = (DiagonalGaussian if kind == "gaussian" else SquashedGaussian)(numbers[:, :4], log_std)
    return ours, [torch.distributions.Normal(numbers[:, i], log_std[i].exp()) for i in range(4)]


@pytest.mark.parametrize("kind", ["categorical", "multi", "switches", "gaussian", "squashed"])
@hypothesis.given(seed=st.integers(0, 2**30))
@hypothesis.settings(max_examples=25)
def test_divergence_agrees_with_torch_and_is_zero_from_itself(kind, seed):
    (old, old_parts), (new, new_parts) = made(kind, seed), made(kind, seed + 1)
    expected = sum(torch.distributions.kl_divergence(o, n) for o, n in zip(old_parts, new_parts, strict=True))
    torch.testing.assert_close(new.kl_from(old.parameters), expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(old.kl_from(old.parameters), torch.zeros(5), atol=1e-5, rtol=0)


# ── Masks ───────────────────────────────────────────────────────────────────────────────────────────────────


@hypothesis.given(seed=st.integers(0, 2**31), num_actions=st.integers(2, 8))
def test_a_masked_distribution_is_that_of_the_possible_actions_alone(seed, num_actions):
    """Impossible actions: probability 0, no entropy, no divergence, no gradient.

    The rest share the probability.
    """
    logits = (3 * torch.randn(6, num_actions, generator=generator(seed))).requires_grad_()
    mask = torch.rand(6, num_actions, generator=generator(seed)) < 0.5
    mask[:, 0] |= ~mask.any(-1)
    masked, other = Categorical(logits, mask), Categorical(logits.detach() / 2, mask)
    for row in range(6):
        alone = torch.distributions.Categorical(logits=logits[row, mask[row]].detach())
        torch.testing.assert_close(masked.log_probs[row, mask[row]].exp().detach(), alone.probs)
        torch.testing.assert_close(masked.entropy()[row].detach(), alone.entropy(), atol=1e-5, rtol=1e-5)
    assert (masked.log_probs.exp()[~mask] == 0).all()
    noise = Categorical.draw_noise(6, num_actions, generator(seed))
    for actions in (masked.sample(noise), masked.mode()):
        assert mask[torch.arange(6), actions].all()
    (masked.entropy() + masked.log_prob(masked.mode()) + masked.kl_from(other.parameters)).sum().backward()
    assert logits.grad.isfinite().all()
    assert (logits.grad[~mask] == 0).all()


EXTREMES = [0.0, 2.0**-24, 1.0 - 2.0**-24]
"""The smallest, the second smallest and the largest number of a generator of float32."""


@hypothesis.given(
    noise=st.lists(st.sampled_from([*EXTREMES, 0.5]), min_size=9, max_size=9),
    mask=st.lists(st.booleans(), min_size=9, max_size=9),
    scale=st.sampled_from([0.0, 1.0, 50.0, 1e30]),
    seed=st.integers(0, 99),
)
def test_no_masked_action_is_taken_whatever_the_generator_draws(noise, mask, scale, seed):
    logits = scale * torch.randn(1, 9, generator=generator(seed))
    masks, uniform = torch.tensor([mask]), torch.tensor([noise])
    starts = [sum(SIZES[:choice]) for choice in range(len(SIZES))]
    for start, size in zip(starts, SIZES, strict=True):
        masks[0, start] |= not masks[0, start : start + size].any()
    assert masks[0, Categorical(logits, masks).sample(uniform)].all()
    actions = MultiCategorical(logits, SIZES, masks).sample(uniform)[0].tolist()
    assert all(masks[0, start + action] for start, action in zip(starts, actions, strict=True))


def test_numbers_between_the_extremes_are_used_as_they_are():
    noise = Categorical.draw_noise(1000, 3, generator(4)).clamp(EXTREMES[1], EXTREMES[2])
    log_probs = torch.log_softmax(torch.randn(1000, 3, generator=generator(5)), dim=-1)
    expected = torch.argmax(log_probs - torch.log(-torch.log(noise)), dim=-1)
    assert torch.equal(Categorical(log_probs).sample(noise), expected)


def test_each_of_several_choices_has_a_mask_of_its_own():
    mask = torch.tensor([[True, False, False, True, True, True, False, False, False]])
    distribution = MultiCategorical(torch.zeros(1, 9), SIZES, mask)
    noise = Categorical.draw_noise(500, 9, generator())
    actions = MultiCategorical(torch.zeros(500, 9), SIZES, mask.expand(500, -1)).sample(noise)
    assert [set(column.tolist()) for column in actions.unbind(-1)] == [{0}, {1, 2}, {0}]
    assert distribution.entropy().item() == pytest.approx(math.log(2))
