"""The terms of the objective, at clipping bounds and in gradients."""

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import strategies as st

from ppo_tui.ppo import losses
from ppo_tui.ppo.gae import gae
from ppo_tui.ppo.schedules import adapted_kl_coef, adapted_learning_rate

EPSILON = 0.2


def surrogate_gradient(ratio: float, advantage: float) -> float:
    """∂L/∂r for one step."""
    tensor = torch.tensor([ratio], requires_grad=True)
    losses.clipped_surrogate_loss(tensor, torch.tensor([advantage]), EPSILON).backward()
    return tensor.grad.item()


@pytest.mark.parametrize(
    ("ratio", "advantage", "objective"),
    [
        (1.0, 2.0, 2.0),
        (1.1, 2.0, 2.2),
        (1.5, 2.0, 2.4),  # good and already likelier: no further gain
        (0.5, 2.0, 1.0),  # good but made unlikelier: the full price
        (0.5, -2.0, -1.6),  # bad and already unlikelier: no further gain
        (1.5, -2.0, -3.0),  # bad but made likelier: the full price
    ],
)
def test_clipped_surrogate_is_figure_1_of_the_paper(ratio, advantage, objective):
    loss = losses.clipped_surrogate_loss(torch.tensor([ratio]), torch.tensor([advantage]), EPSILON)
    assert loss.item() == pytest.approx(-objective)


@pytest.mark.parametrize("advantage", [3.0, -3.0])
@pytest.mark.parametrize("ratio", [0.5, 0.79, 0.81, 1.0, 1.19, 1.21, 2.0])
def test_gradient_is_dead_only_where_a_further_gain_would_be_clipped(ratio, advantage):
    beyond = ratio > 1 + EPSILON if advantage > 0 else ratio < 1 - EPSILON
    assert surrogate_gradient(ratio, advantage) == (0.0 if beyond else -advantage)


def test_surrogate_averages_over_the_minibatch():
    loss = losses.clipped_surrogate_loss(torch.tensor([1.0, 1.5]), torch.tensor([1.0, 1.0]), EPSILON)
    assert loss.item() == pytest.approx(-(1.0 + 1.2) / 2)


def test_ratio_of_equal_log_probabilities_is_exactly_one():
    log_probs = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    assert (losses.probability_ratio(log_probs, log_probs) == 1.0).all()


def test_ratio_is_the_quotient_of_the_probabilities():
    ratio = losses.probability_ratio(torch.tensor([0.6]).log(), torch.tensor([0.2]).log())
    assert ratio.item() == pytest.approx(3.0)


def test_value_loss_is_half_the_mean_squared_error():
    assert losses.value_loss(torch.tensor([1.0, 5.0]), torch.tensor([3.0, 5.0])).item() == 1.0


@pytest.mark.parametrize(
    ("value", "expected_loss", "expected_gradient"),
    [
        (0.1, 0.5 * 0.9**2, -0.9),  # within ε of the old value 0: the plain loss
        (0.5, 0.5 * 0.8**2, 0.0),  # moved past 0 + ε towards the return 1: clipped, nothing to gain
        (-0.5, 0.5 * 1.5**2, -1.5),  # moved away from the return: the full price
        (3.0, 0.5 * 2.0**2, 2.0),  # overshot the return by more than the clipped error: the full price
    ],
)
def test_clipped_value_loss_is_the_greater_of_both_errors(value, expected_loss, expected_gradient):
    values = torch.tensor([value], requires_grad=True)
    loss = losses.clipped_value_loss(values, torch.tensor([0.0]), torch.tensor([1.0]), EPSILON)
    loss.backward()
    assert loss.item() == pytest.approx(expected_loss)
    assert values.grad.item() == pytest.approx(expected_gradient)


@hypothesis.given(seed=st.integers(0, 2**31), clip_range=st.floats(0.01, 2))
def test_clipping_the_value_never_lowers_its_loss(seed, clip_range):
    values, old_values, returns = torch.randn(3, 20, generator=torch.Generator().manual_seed(seed)).unbind()
    clipped = losses.clipped_value_loss(values, old_values, returns, clip_range)
    assert clipped >= losses.value_loss(values, returns)


def test_entropy_loss_falls_as_the_policy_explores_more():
    assert losses.entropy_loss(torch.tensor([1.0, 3.0])).item() == -2.0


def test_approximate_kl_estimates_the_divergence_from_samples():
    """Over 200,000 draws the mean meets KL[old, new] = Σ p log(p / q)."""
    old, new = torch.tensor([0.7, 0.2, 0.1]), torch.tensor([0.5, 0.25, 0.25])
    actions = torch.multinomial(old, 200_000, replacement=True, generator=torch.Generator().manual_seed(1))
    estimate = losses.approximate_kl(new.log()[actions], old.log()[actions])
    exact = (old * (old / new).log()).sum().item()
    assert estimate.item() == pytest.approx(exact, rel=0.02)


@hypothesis.given(seed=st.integers(0, 2**31), scale=st.floats(1e-8, 3))
def test_approximate_kl_is_never_negative(seed, scale):
    log_probs, change = torch.randn(2, 50, generator=torch.Generator().manual_seed(seed)).unbind()
    # expm1 and the subtraction each round once, at the size of the log-ratio.
    assert losses.approximate_kl(log_probs + scale * change, log_probs).item() >= -1e-6 * scale


def test_clip_fraction_counts_ratios_beyond_epsilon_on_both_sides():
    ratio = torch.tensor([0.5, 0.9, 1.0, 1.1, 1.5])
    assert losses.clip_fraction(ratio, EPSILON).item() == pytest.approx(2 / 5)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.0, 2.0, 3.0], 1.0),
        ([2.0, 3.0, 4.0], 1.0),  # a constant offset is no variance
        ([7.0, 7.0, 7.0], 0.0),
        ([3.0, 2.0, 1.0], -3.0),
    ],
)
def test_explained_variance_of_known_critics(values, expected):
    assert losses.explained_variance(torch.tensor(values), torch.tensor([1.0, 2.0, 3.0])).item() == expected


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e6])
def test_explained_variance_of_constant_returns_is_nan(constant):
    returns = torch.full((7,), constant)
    assert losses.explained_variance(torch.arange(7.0), returns).isnan()


@pytest.mark.parametrize(("gamma", "ends"), [(0.0, False), (0.9, True), (0.99, True)])
@pytest.mark.parametrize("reward", [0.0, 1.0, -300.0])
@pytest.mark.parametrize("scale", [1e-3, 0.3, 1e4])
def test_explained_variance_of_returns_equal_up_to_rounding_is_nan(gamma, ends, reward, scale):
    """Returns of equal rewards, each of one step, as `gae` computes them."""
    generator = torch.Generator().manual_seed(0)
    values, rewards = scale * torch.randn(64, 4, generator=generator), torch.full((64, 4), reward)
    ended, nothing = torch.full((64, 4), ends), torch.zeros(64, 4)
    _, returns = gae(rewards, values, ended, nothing.bool(), nothing[0], nothing, gamma=gamma, gae_lambda=0.95)
    assert losses.explained_variance(values, returns).isnan()


@pytest.mark.parametrize("offset", [0.0, 1.0, 100.0, 1000.0])
def test_explained_variance_of_nearly_equal_returns_is_right(offset):
    returns = offset + 0.01 * torch.randn(500, generator=torch.Generator().manual_seed(1))
    assert losses.explained_variance(returns, returns).item() == pytest.approx(1.0)
    assert losses.explained_variance(torch.full((500,), offset), returns).item() == pytest.approx(0.0, abs=1e-3)


def test_normalize_gives_mean_zero_and_deviation_one():
    x = losses.normalize(torch.tensor([10.0, 20.0, 60.0]))
    assert x.mean().item() == pytest.approx(0.0, abs=1e-6)
    assert x.std().item() == pytest.approx(1.0)


def test_normalize_survives_equal_numbers_and_a_single_one():
    assert losses.normalize(torch.full((5,), 3.0)).tolist() == [0.0] * 5
    assert losses.normalize(torch.tensor([3.0])).tolist() == [3.0]


# ── The other surrogates ────────────────────────────────────────────────────────────────────────────────────


def test_the_unclipped_surrogate_has_the_gradient_of_actor_critic_where_the_ratio_is_one():
    """∇ mean(r Â) = mean(∇log π Â): A2C is PPO's first step."""
    log_probs = torch.tensor([-0.5, -1.5, -3.0], requires_grad=True)
    advantages = torch.tensor([1.0, -2.0, 0.5])
    losses.surrogate_loss(losses.probability_ratio(log_probs, log_probs.detach()), advantages).backward()
    ours, log_probs.grad = log_probs.grad, None
    (-(log_probs * advantages).mean()).backward()
    torch.testing.assert_close(ours, log_probs.grad)


@pytest.mark.parametrize(
    ("ratio", "advantage", "gain"),
    [(5.0, -1.0, -3.0), (2.0, -1.0, -2.0), (0.1, -1.0, -0.8), (5.0, 1.0, 1.2), (0.1, 1.0, 0.1)],
)
def test_dual_clip_bounds_only_what_a_bad_action_can_cost(ratio, advantage, gain):
    loss = losses.clipped_surrogate_loss(torch.tensor([ratio]), torch.tensor([advantage]), 0.2, dual_clip=3.0)
    assert loss.item() == pytest.approx(-gain)


STEPS = st.lists(st.tuples(st.floats(0.01, 5), st.floats(-10, 10)), min_size=1, max_size=9)
"""Pairs of ratio and advantage."""


def value_and_gradient(loss_of, steps):
    """The loss of these steps, and its gradient by each ratio, both in float64."""
    ratio = torch.tensor([ratio for ratio, _ in steps], dtype=torch.float64, requires_grad=True)
    loss = loss_of(ratio, torch.tensor([advantage for _, advantage in steps], dtype=torch.float64))
    loss.backward()
    return loss.item(), ratio.grad.numpy()


@hypothesis.given(steps=STEPS, epsilon=st.floats(0.01, 2))
def test_spo_is_the_formula_of_the_paper_in_value_and_gradient(steps, epsilon):
    """r Â − |Â| / (2ε) (r − 1)², and its derivative Â − |Â| / ε (r − 1)."""
    loss, gradient = value_and_gradient(lambda r, a: losses.simple_policy_loss(r, a, epsilon), steps)
    r, a = np.array(steps).T
    np.testing.assert_allclose(loss, -np.mean(r * a - np.abs(a) / (2 * epsilon) * (r - 1) ** 2), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(gradient, -(a - np.abs(a) / epsilon * (r - 1)) / len(r), rtol=1e-9, atol=1e-12)


@hypothesis.given(advantage=st.floats(0.1, 10), epsilon=st.floats(0.01, 0.9), beyond=st.floats(0.01, 3))
def test_spo_leads_a_ratio_back_to_the_bound_on_the_side_of_its_advantage(advantage, epsilon, beyond):
    """A clipped surrogate has no gradient beyond the bound; both have none at SPO's optimum."""
    for sign in (1.0, -1.0):
        best, further = 1.0 + sign * epsilon, 1.0 + sign * epsilon * (1 + beyond)
        steps = [(ratio, sign * advantage) for ratio in (1.0, best, further)]
        _, (inside, at_bound, outside) = value_and_gradient(
            lambda r, a: losses.simple_policy_loss(r, a, epsilon), steps
        )
        assert inside * sign < 0, "descending raises the gain towards the bound"
        assert at_bound == pytest.approx(0.0, abs=1e-9 * advantage / epsilon)
        assert outside * sign > 0, "and comes back from beyond it"
        _, other = value_and_gradient(lambda r, a: losses.clipped_surrogate_loss(r, a, epsilon), steps)
        assert other[2] == 0.0


@hypothesis.given(steps=STEPS, lower=st.floats(0.01, 0.9), upper=st.floats(0.01, 2), dual=st.none() | st.floats(1.1, 5))
def test_an_upper_bound_of_its_own_clips_as_written_out(steps, lower, upper, dual):
    loss, gradient = value_and_gradient(
        lambda r, a: losses.clipped_surrogate_loss(r, a, lower, dual, clip_range_upper=upper), steps
    )
    gains, slopes = [], []
    for r, a in steps:
        clipped = min(max(r, 1 - lower), 1 + upper)
        gain, slope = (r * a, a) if r * a <= clipped * a else (clipped * a, 0.0)
        if dual is not None and a < 0 and gain < dual * a:
            gain, slope = dual * a, 0.0
        gains.append(gain)
        slopes.append(slope)
    assert loss == pytest.approx(-np.mean(gains), rel=1e-9, abs=1e-12)
    away_from_kinks = [
        min(abs(r - 1 - upper), abs(r - 1 + lower), abs(r - (dual or 0))) > 1e-9 and a != 0 for r, a in steps
    ]
    np.testing.assert_allclose(
        (gradient * len(steps))[away_from_kinks],
        -np.array(slopes)[away_from_kinks],
        rtol=1e-9,
        atol=np.finfo(float).tiny,
    )
    outside = [r - 1.0 > upper or 1.0 - r > lower for r, _ in steps]
    ratio = torch.tensor([r for r, _ in steps], dtype=torch.float64)
    assert losses.clip_fraction(ratio, lower, upper).item() == pytest.approx(np.mean(outside))


@hypothesis.given(steps=STEPS, epsilon=st.floats(0.01, 2))
def test_equal_bounds_are_one_clip_range_to_the_last_bit(steps, epsilon):
    ratio, advantages = torch.tensor(steps).T
    one = losses.clipped_surrogate_loss(ratio, advantages, epsilon)
    both = losses.clipped_surrogate_loss(ratio, advantages, epsilon, clip_range_upper=epsilon)
    assert one.item() == both.item()
    plain = ((ratio - 1.0).abs() > epsilon).to(ratio.dtype).mean()
    assert losses.clip_fraction(ratio, epsilon).item() == losses.clip_fraction(ratio, epsilon, epsilon).item() == plain


@hypothesis.given(errors=st.lists(st.floats(-10, 10), min_size=1, max_size=9), delta=st.floats(0.1, 5))
def test_hubers_loss_is_the_square_near_zero_and_a_line_beyond(errors, delta):
    values = torch.tensor(errors, dtype=torch.float64)
    expected = [0.5 * e * e if abs(e) <= delta else delta * abs(e) - 0.5 * delta**2 for e in errors]
    zeros = torch.zeros_like(values)
    assert losses.value_loss(values, zeros, delta).item() == pytest.approx(sum(expected) / len(errors), abs=1e-9)
    clipped = losses.clipped_value_loss(values, values, zeros, 0.2, delta)
    assert clipped.item() == pytest.approx(sum(expected) / len(errors), abs=1e-9)


def test_the_penalty_is_beta_times_the_mean_divergence():
    assert losses.kl_penalty(torch.tensor([0.1, 0.3]), 3.0).item() == pytest.approx(0.6)


@pytest.mark.parametrize(("kl", "factor"), [(0.006, 0.5), (0.0067, 1), (0.01, 1), (0.0149, 1), (0.0151, 2), (9.0, 2)])
def test_beta_follows_the_rule_of_the_paper(kl, factor):
    """Halved below d_targ / 1.5, doubled above 1.5 d_targ."""
    assert adapted_kl_coef(3.0, kl, 0.01) == 3.0 * factor


@pytest.mark.parametrize(("kl", "factor"), [(0.004, 1.5), (0.006, 1), (0.019, 1), (0.021, 1 / 1.5)])
def test_the_adaptive_learning_rate_follows_rl_games(kl, factor):
    assert adapted_learning_rate(1e-3, kl, 0.01, low=1e-6, high=1e-2) == pytest.approx(1e-3 * factor)


def test_what_follows_the_divergence_stays_within_bounds():
    coefficient = rate = 1.0
    for _ in range(1000):
        coefficient = adapted_kl_coef(coefficient, 0.0, 0.01)
        rate = adapted_learning_rate(rate, 0.0, 0.01, low=1e-6, high=1e-2)
    assert 0 < coefficient < 1e-5
    assert rate == 1e-2
