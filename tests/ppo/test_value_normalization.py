"""Normalised values: their statistics, the outputs that stay, and an update."""

import hypothesis
import msgspec
import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import nn

from ppo_tui.ppo import Hyperparameters, Learner
from ppo_tui.ppo.normalizers import VALUE_WINDOW, ValueNormalizer
from tests.ppo.reference import updated_weights
from tests.ppo.test_learner import CPU, make_config, make_policy, make_rollout, update, weights_of

TARGETS = hnp.arrays(np.float64, st.integers(1, 40), elements=st.floats(-1e4, 1e4))
ROLLOUTS = st.lists(st.tuples(TARGETS, st.integers(1, 3000)), min_size=1, max_size=5)
"""Targets and how often each of them is repeated: rollouts from one step to more than the window."""

LONG = hypothesis.settings(max_examples=50)


def adapted(rollouts, head: nn.Linear) -> ValueNormalizer:
    normalizer = ValueNormalizer()
    for targets in rollouts:
        normalizer.adapt(torch.from_numpy(targets), head)
    return normalizer


@LONG
@hypothesis.given(rollouts=ROLLOUTS)
def test_the_statistics_are_those_of_all_targets_each_by_its_age(rollouts):
    """A target after which k more have come weighs exp(−k / window)."""
    rollouts = [np.repeat(targets, times) for targets, times in rollouts]
    normalizer = adapted(rollouts, nn.Linear(1, 1))
    later = np.cumsum([0, *(len(targets) for targets in rollouts[:0:-1])])[::-1]
    weights = np.concatenate([np.full(len(t), np.exp(-k / VALUE_WINDOW)) for t, k in zip(rollouts, later, strict=True)])
    targets = np.concatenate(rollouts)
    mean = np.average(targets, weights=weights)
    variance = np.average((targets - mean) ** 2, weights=weights)
    np.testing.assert_allclose(normalizer.mean, mean, rtol=1e-9, atol=1e-7)
    np.testing.assert_allclose(normalizer.variance, variance, rtol=1e-7, atol=1e-6)
    np.testing.assert_allclose(normalizer.deviation, max(variance**0.5, 1e-4), rtol=1e-4, atol=1e-5)


@LONG
@hypothesis.given(rollouts=ROLLOUTS, seed=st.integers(0, 2**31 - 1))
def test_new_statistics_and_folding_leave_every_value_as_it_is(rollouts, seed):
    torch.manual_seed(seed)
    head, features = nn.Linear(8, 1), torch.randn(5, 8)
    before = head(features).detach()
    normalizer = adapted([targets for targets, _ in rollouts], head)
    # Rounding is relative to what is added up: σ n(s) and μ, at most as large as a target.
    largest = max(1.0, *(np.abs(targets).max() for targets, _ in rollouts))
    torch.testing.assert_close(normalizer(head(features)), before, rtol=1e-5, atol=4e-6 * largest)
    torch.testing.assert_close(normalizer.normalize(normalizer(before)), before, rtol=1e-3, atol=1e-2 * largest)
    normalizer.fold_into(head)
    torch.testing.assert_close(head(features), before, rtol=1e-5, atol=4e-6 * largest)


def test_a_return_that_grows_from_0_to_400_stays_near_mean_0_and_variance_1():
    """Over two million steps, with states that differ by half of the return."""
    generator, normalizer, head = np.random.default_rng(0), ValueNormalizer(), nn.Linear(1, 1)
    for rollout in range(1000):
        level = 0.4 * rollout
        targets = torch.from_numpy(generator.normal(level, 1 + level / 2, 2000))
        normalizer.adapt(targets, head)
        if rollout > 100:
            normalized = normalizer.normalize(targets)
            assert -0.2 < normalized.mean() < 0.6
            assert 0.8 < normalized.std() < 1.5


def test_targets_that_are_all_equal_or_not_finite_do_no_harm():
    head = nn.Linear(2, 1)
    normalizer = adapted([np.full(10, 3.0), np.array([np.nan, np.inf, 3.0]), np.array([np.nan])], head)
    assert (normalizer.mean.item(), normalizer.deviation.item()) == (3.0, 1e-4)
    assert head.weight.isfinite().all()
    assert normalizer.count.item() == pytest.approx(11, rel=1e-3)


@pytest.mark.parametrize("clip_value_loss", [True, False])
def test_an_update_equals_a_second_implementation_in_float64(clip_value_loss):
    """Returns around 50: the values are clipped, and learnt, in units of σ."""
    config = make_config(
        learning_rate=3e-3, clip_value_loss=clip_value_loss, clip_range=0.05, normalize_values=True, value_coef=2.0
    )
    policy = make_policy(config)
    rollout = make_rollout(policy, config)
    rollout.rewards.mul_(5.0).add_(20.0)
    expected = updated_weights(dict(policy.named_parameters()), rollout, config)
    update(config, policy=policy, rollout=rollout)
    for name, parameter in policy.named_parameters():
        torch.testing.assert_close(parameter.double(), expected[name], rtol=0, atol=2e-5, msg=name)
    torch.testing.assert_close(policy.value_normalizer.mean, rollout.returns.double().mean())
    assert policy.value_normalizer.mean > 40


def test_explained_variance_stays_in_real_units():
    plain, normalized = (update(make_config(normalize_values=each)) for each in (False, True))
    assert normalized["train/explained_variance"] == plain["train/explained_variance"]
    assert normalized["train/value_loss"] != plain["train/value_loss"]


def test_a_folded_policy_decides_and_values_the_same_without_statistics():
    config = make_config(normalize_values=True)
    policy = make_policy(config)
    update(config, policy=policy)
    folded, observations = policy.folded(), torch.randn(7, 3)
    assert {*folded.state_dict()} == {*make_policy(make_config()).state_dict()}
    torch.testing.assert_close(folded.value(observations), policy.value(observations))
    before = weights_of(policy)
    with torch.no_grad():
        folded.value_head.weight.zero_()
    assert torch.equal(policy.value_head.weight, before["value_head.weight"]), "it is a copy"
    plain = make_policy(make_config())
    assert plain.folded() is plain


@pytest.mark.slow
def test_compiled_updates_normalise_too():
    """Compiled code reads the statistics of each update anew."""
    results = []
    for compiled in (False, True):
        config = make_config(normalize_values=True, epochs=1, minibatches=1)
        config = msgspec.structs.replace(config, run=msgspec.structs.replace(config.run, compile=compiled))
        policy = make_policy(config)
        learner = Learner(policy, config, CPU)
        for seed in (1, 2, 3):
            rollout = make_rollout(policy, config, seed=seed)
            rollout.rewards.mul_(10.0**seed)
            learner.update(rollout, Hyperparameters.from_config(config))
        results.append(weights_of(policy))
    for name, weight in results[0].items():
        torch.testing.assert_close(results[1][name], weight, msg=name)
