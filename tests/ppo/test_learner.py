"""The learner: against a reference, its guards, its state, its learning."""

import dataclasses
import math

import msgspec
import numpy as np
import pytest
import torch
from gymnasium import spaces

from ppo_tui.config import Config, build_config
from ppo_tui.config.learning import OPTIMIZERS
from ppo_tui.ppo import ActorCritic, Hyperparameters, Learner, RolloutBuffer, build_policy
from ppo_tui.ppo.observer import Observer
from tests.ppo.reference import updated_weights
from tests.ppo.rollouts import empty_rollout

CPU = torch.device("cpu")
VECTOR = spaces.Box(-np.inf, np.inf, (3,), np.float32)
SCREEN = spaces.Box(0, 255, (36, 36), np.uint8)
DISCRETE = spaces.Discrete(4)
CONTINUOUS = spaces.Box(-1, 1, (2,), np.float32)

METRICS = {
    "train/policy_gradient_loss",
    "train/value_loss",
    "train/entropy_loss",
    "train/loss",
    "train/approx_kl",
    "train/clip_fraction",
    "train/explained_variance",
    "train/grad_norm",
    "train/n_updates",
    "train/learning_rate",
    "train/clip_range",
    "train/ratio_error_first",
    "train/nonfinite",
    "train/dead_units",
}


def make_config(*, num_envs=4, steps=16, learning_rate=1e-3, optim=None, policy=None, **ppo) -> Config:
    return build_config(
        {
            "env": {"id": "None-v0"},
            "rollout": {"num_envs": num_envs, "steps": steps},
            "policy": policy or {},
            "ppo": ppo,
            "optim": {"learning_rate": learning_rate, **(optim or {})},
        }
    )


def make_policy(config: Config, observation_space=VECTOR, action_space=DISCRETE, *, frame_stack=1) -> ActorCritic:
    torch.manual_seed(0)
    return build_policy(
        observation_space,
        action_space,
        config.policy,
        frame_stack=frame_stack,
        normalize_values=config.ppo.normalize_values,
    )


def make_rollout(
    policy: ActorCritic, config: Config, space=VECTOR, *, frame_stack=1, seed=1, mask_share=0.0
) -> RolloutBuffer:
    """Random observations, rewards, masks and episode ends, with `policy`'s decisions."""
    rollout = empty_rollout(
        space.shape,
        space.dtype,
        num_steps=config.rollout.steps,
        num_envs=config.rollout.num_envs,
        frame_stack=frame_stack,
        action_shape=policy.action_shape,
        action_dtype=policy.action_dtype,
        num_masked=policy.policy_head.out_features if mask_share else 0,
        distribution_size=policy.distribution_size if config.compares_distributions else 0,
        keep_final_frames=config.ppo.recompute_advantages,
    )
    generator = torch.Generator().manual_seed(seed)
    if rollout.frames.is_floating_point():
        rollout.frames.normal_(generator=generator)
    else:
        rollout.frames.random_(0, 256, generator=generator)
    for tensor in (rollout.rewards, rollout.final_values):
        tensor.normal_(generator=generator)
    rollout.terminations.bernoulli_(0.1, generator=generator)
    rollout.truncations.bernoulli_(0.1, generator=generator)
    if mask_share:
        rollout.masks.bernoulli_(1 - mask_share, generator=generator)[..., 0] = True
    for t in range(rollout.num_steps):
        noise = policy.draw_noise(rollout.num_envs, generator)
        rollout.store(t, policy.decide(rollout.observation(t), noise=noise, masks=rollout.mask(t)))
        rollout.mark_boundaries(t)
    rollout.last_values.copy_(policy.value(rollout.observation(rollout.num_steps)))
    if config.ppo.recompute_advantages:
        for t, env in (rollout.truncations & ~rollout.terminations).nonzero().tolist():
            final = torch.randn(space.shape, generator=generator).numpy().astype(space.dtype)
            rollout.keep_final_frame(t, env, final)
            rollout.final_values[t, env] = policy.value(rollout.final_observation_stack(t, env, final))[0]
    return rollout


def update(config: Config, *, policy=None, rollout=None, **changes) -> dict[str, float]:
    policy = policy or make_policy(config)
    rollout = rollout or make_rollout(policy, config)
    hyper = dataclasses.replace(Hyperparameters.from_config(config), **changes)
    return Learner(policy, config, CPU).update(rollout, hyper)


def weights_of(policy: ActorCritic) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in policy.state_dict().items()}


def assert_equal_weights(actual: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    for name in expected:
        assert torch.equal(actual[name], expected[name]), name


# ── The mathematics ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("clip_value_loss", [True, False])
@pytest.mark.parametrize("normalize_advantage", [True, False])
def test_an_update_equals_a_second_implementation_in_float64(clip_value_loss, normalize_advantage):
    """A high learning rate: later minibatches are clipped.

    In ratio, value and gradient.
    """
    config = make_config(
        learning_rate=3e-3,
        clip_value_loss=clip_value_loss,
        normalize_advantage=normalize_advantage,
        clip_range=0.05,
        entropy_coef=0.02,
    )
    policy = make_policy(config)
    rollout = make_rollout(policy, config)
    expected = updated_weights(dict(policy.named_parameters()), rollout, config)
    before = weights_of(policy)

    metrics = update(config, policy=policy, rollout=rollout)

    assert metrics["train/clip_fraction"] > 0.1
    assert metrics["train/grad_norm"] > config.optim.max_grad_norm
    for name, parameter in policy.named_parameters():
        assert (parameter - before[name]).abs().max() > 1e-4, name
        torch.testing.assert_close(parameter.double(), expected[name], rtol=0, atol=1e-5, msg=name)


@pytest.mark.parametrize("surrogate", ["none", "kl", "spo"])
@pytest.mark.parametrize("optimizer", ["adam", "rmsprop"])
def test_other_surrogates_and_optimisers_equal_the_second_implementation_too(surrogate, optimizer):
    config = make_config(learning_rate=3e-3, surrogate=surrogate, kl_coef=3.0, clip_value_loss=False, clip_range=0.05)
    config = msgspec.structs.replace(config, optim=msgspec.structs.replace(config.optim, name=optimizer))
    policy = make_policy(config)
    rollout = make_rollout(policy, config)
    expected = updated_weights(dict(policy.named_parameters()), rollout, config)
    before = weights_of(policy)
    assert update(config, policy=policy, rollout=rollout)["train/approx_kl"] > 5e-4
    for name, parameter in policy.named_parameters():
        assert (parameter - before[name]).abs().max() > 1e-4, name
        torch.testing.assert_close(parameter.double(), expected[name], rtol=0, atol=1e-5, msg=name)


def test_an_upper_bound_of_its_own_equals_the_second_implementation_and_is_reported():
    config = make_config(learning_rate=3e-3, clip_range=0.05, clip_range_upper=0.02)
    policy = make_policy(config)
    rollout = make_rollout(policy, config)
    expected = updated_weights(dict(policy.named_parameters()), rollout, config)
    metrics = update(config, policy=policy, rollout=rollout)
    assert (metrics["train/clip_range"], metrics["train/clip_range_upper"]) == (0.05, 0.02)
    for name, parameter in policy.named_parameters():
        torch.testing.assert_close(parameter.double(), expected[name], rtol=0, atol=1e-5, msg=name)
    one_bound = make_config(learning_rate=3e-3, clip_range=0.05)
    assert metrics["train/clip_fraction"] > update(one_bound)["train/clip_fraction"], "the narrower bound counts"


def test_spo_keeps_ratios_nearer_to_one_than_clipping_does():
    largest = {}
    for surrogate in ("clip", "spo"):
        config = make_config(learning_rate=1e-2, surrogate=surrogate, clip_range=0.1, epochs=20)
        largest[surrogate] = update(config)["train/clip_fraction"]
    assert largest["spo"] < largest["clip"]


@pytest.mark.parametrize("clip_value_loss", [True, False])
def test_advantages_of_each_epoch_equal_the_second_implementation(clip_value_loss):
    """It runs the policy by hand over the whole rollout before each epoch but the first."""
    config = make_config(learning_rate=3e-3, clip_value_loss=clip_value_loss, recompute_advantages=True)
    policy = make_policy(config)
    rollout = make_rollout(policy, config)
    assert rollout.final_frames
    expected = updated_weights(dict(policy.named_parameters()), rollout, config)
    collected = {name: tensor.clone() for name, tensor in rollout.experience_dict().items()}
    update(config, policy=policy, rollout=rollout)
    for name, parameter in policy.named_parameters():
        torch.testing.assert_close(parameter.double(), expected[name], rtol=0, atol=1e-5, msg=name)
    for name, tensor in rollout.experience_dict().items():
        assert torch.equal(tensor, collected[name]), f"{name} is as it was collected"
    plain = make_policy(config)
    update(make_config(learning_rate=3e-3, clip_value_loss=clip_value_loss), policy=plain, rollout=rollout)
    assert any(
        (one - other).abs().max() > 1e-4 for one, other in zip(plain.parameters(), policy.parameters(), strict=True)
    )


def test_no_advantage_is_computed_again_after_an_early_stop():
    weights = []
    for changes in ({"epochs": 4, "target_kl": 1e-9, "recompute_advantages": True}, {"epochs": 1}):
        config = make_config(learning_rate=3e-3, **changes)
        policy = make_policy(config)
        rollout = make_rollout(policy, config)
        rollout.final_values.zero_()
        update(config, policy=policy, rollout=rollout)
        weights.append(weights_of(policy))
    assert_equal_weights(*weights)


def test_a_strong_penalty_keeps_the_new_policy_near_the_old_one():
    free, held = (update(make_config(learning_rate=3e-3, surrogate="kl", kl_coef=coef)) for coef in (1e-6, 100.0))
    assert held["train/approx_kl"] < free["train/approx_kl"] / 10


def test_the_adaptive_penalty_follows_the_divergence_that_it_measures():
    """β doubles under a low target, and halves under a high one."""
    for desired, factor in ((1e-6, 2.0), (10.0, 0.5)):
        config = make_config(learning_rate=3e-3, surrogate="kl-adaptive", kl_coef=1.0, desired_kl=desired)
        policy = make_policy(config)
        learner, rollout = Learner(policy, config, CPU), make_rollout(policy, config)
        before = make_policy(config)
        metrics = learner.update(rollout, Hyperparameters.from_config(config))
        with torch.no_grad():
            observations = rollout.step_frames()
            old, new = before(observations)[0].parameters, policy(observations)[0]
            assert metrics["train/kl"] == pytest.approx(new.kl_from(old).mean().item(), rel=1e-4)
        assert metrics["train/kl_coef"] == 1.0
        assert learner.update(rollout, Hyperparameters.from_config(config))["train/kl_coef"] == factor


def test_the_adaptive_learning_rate_starts_at_its_setting_and_again_when_that_is_edited():
    config = make_config(learning_rate=1e-3, desired_kl=10.0)
    optim = msgspec.structs.replace(config.optim, learning_rate_schedule="kl-adaptive")
    config = msgspec.structs.replace(config, optim=optim)
    policy = make_policy(config)
    learner, rollout, hyper = (
        Learner(policy, config, CPU),
        make_rollout(policy, config),
        Hyperparameters.from_config(config),
    )
    rates = [learner.update(rollout, hyper)["train/learning_rate"] for _ in range(3)]
    assert rates == pytest.approx([1e-3, 1.5e-3, 2.25e-3])
    edited = dataclasses.replace(hyper, learning_rate=1e-4)
    assert learner.update(rollout, edited)["train/learning_rate"] == 1e-4


def test_normalised_rewards_make_their_scale_irrelevant():
    config = make_config(normalize_rewards=True, gamma=0.9)
    results = []
    for scale in (1.0, 1000.0):
        policy = make_policy(config)
        rollout = make_rollout(policy, config)
        rollout.rewards *= scale
        update(config, policy=policy, rollout=rollout)
        results.append(rollout.returns)
    torch.testing.assert_close(*results, rtol=1e-3, atol=1e-3)


def test_observation_statistics_are_taken_after_the_update_and_are_no_weights():
    config = make_config()
    config = msgspec.structs.replace(config, policy=msgspec.structs.replace(config.policy, normalize_observations=True))
    policy = make_policy(config)
    rollout = make_rollout(policy, config)
    assert update(config, policy=policy, rollout=rollout)["train/ratio_error_first"] < 1e-5
    torch.testing.assert_close(policy.normalizer.mean, rollout.step_frames().double().mean(0))
    assert "normalizer.mean" in policy.state_dict()
    assert all(not name.startswith("normalizer") for name, _ in policy.named_parameters())


def test_masked_actions_are_learned_with_their_masks():
    """The ratio is 1 at first only with the masks of acting."""
    config = make_config()
    policy = make_policy(config)
    rollout = make_rollout(policy, config, mask_share=0.4)
    assert not rollout.masks.all()
    chosen = rollout.masks[:-1].gather(-1, rollout.actions.unsqueeze(-1))
    assert chosen.all()
    metrics = update(config, policy=policy, rollout=rollout)
    assert metrics["train/ratio_error_first"] <= 1e-5
    assert metrics["train/nonfinite"] == 0


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_kind_of_state_survives_saving(optimizer):
    """The next update has the same bits.

    Penalty, learning rate, reward statistics and optimiser are all restored.
    """
    optim = {"name": optimizer, "learning_rate_schedule": "kl-adaptive", "critic_learning_rate": 3e-3}
    config = make_config(surrogate="kl-adaptive", normalize_rewards=True, optim=optim)
    policy, hyper = make_policy(config), Hyperparameters.from_config(config)
    learner, rollout = Learner(policy, config, CPU), make_rollout(policy, config)
    for _ in range(2):
        learner.update(rollout, hyper)
    state, weights = learner.state_dict(), weights_of(policy)
    numbers = {key: value for key, value in state.items() if not isinstance(value, torch.Tensor)}
    state |= msgspec.json.decode(msgspec.json.encode(numbers))
    expected = learner.update(rollout, hyper)

    other = make_policy(config)
    other.load_state_dict(weights)
    resumed = Learner(other, config, CPU)
    resumed.load_state_dict(state)
    assert resumed.update(rollout, hyper) == expected
    assert_equal_weights(weights_of(other), weights_of(policy))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimiser_skips_a_minibatch_that_is_not_finite(optimizer):
    config = make_config(epochs=1, minibatches=1, optim={"name": optimizer})
    policy = make_policy(config)
    learner, good, bad = Learner(policy, config, CPU), make_rollout(policy, config), make_rollout(policy, config)
    bad.rewards[3, 1] = torch.nan
    hyper = Hyperparameters.from_config(config)
    first = weights_of(policy)
    assert learner.update(bad, hyper)["train/nonfinite"] == 1
    assert_equal_weights(weights_of(policy), first)
    learner.update(good, hyper)
    before, slots = weights_of(policy), learner.state_dict()
    assert learner.update(bad, hyper)["train/nonfinite"] == 1
    assert_equal_weights(weights_of(policy), before)
    after = learner.state_dict()
    assert all(torch.equal(after[key], slots[key]) for key in slots if key.startswith(optimizer))


def test_the_state_of_another_optimiser_is_refused():
    config = make_config()
    learner = Learner(make_policy(config), config, CPU)
    learner.update(make_rollout(learner.policy, config), Hyperparameters.from_config(config))
    other = msgspec.structs.replace(config, optim=msgspec.structs.replace(config.optim, name="rmsprop"))
    with pytest.raises(ValueError, match="optimiser state of adam; the optimiser is rmsprop"):
        Learner(make_policy(config), other, CPU).load_state_dict(learner.state_dict())


@pytest.mark.parametrize("action_space", [DISCRETE, CONTINUOUS])
@pytest.mark.parametrize(("space", "frame_stack"), [(VECTOR, 1), (VECTOR, 3), (SCREEN, 4)])
def test_the_first_ratio_is_one(space, frame_stack, action_space):
    """Equal up to rounding.

    Matrix products over another number of rows may add in another order.
    """
    config = make_config()
    policy = make_policy(config, space, action_space, frame_stack=frame_stack)
    rollout = make_rollout(policy, config, space, frame_stack=frame_stack)
    assert update(config, policy=policy, rollout=rollout)["train/ratio_error_first"] <= 1e-5


def test_the_first_ratio_is_exactly_one_over_the_same_batch():
    config = make_config(num_envs=32, steps=1, minibatches=1)
    assert update(config)["train/ratio_error_first"] == 0.0


def test_the_first_ratio_reveals_a_rollout_of_another_policy():
    config = make_config()
    rollout = make_rollout(make_policy(config), config)
    rollout.log_probs += 0.1
    assert update(config, rollout=rollout)["train/ratio_error_first"] == pytest.approx(1 - math.exp(-0.1), rel=1e-3)


def test_metrics_are_means_over_all_minibatches_of_the_update():
    """At a learning rate of 0 means over minibatches equal the rollout's."""
    config = make_config(normalize_advantage=False, clip_value_loss=False)
    policy = make_policy(config)
    rollout = make_rollout(policy, config)
    metrics = update(config, policy=policy, rollout=rollout, learning_rate=0.0, clip_range=0.3)

    errors = rollout.values - rollout.returns
    distribution, _ = policy(rollout.minibatch(torch.arange(64)).observations)
    assert set(metrics) == METRICS
    assert all(isinstance(value, float | int) for value in metrics.values())
    assert metrics["train/policy_gradient_loss"] == pytest.approx(-rollout.advantages.mean().item(), abs=1e-6)
    assert metrics["train/value_loss"] == pytest.approx(0.5 * errors.square().mean().item(), rel=1e-5)
    assert metrics["train/entropy_loss"] == pytest.approx(-distribution.entropy().mean().item(), rel=1e-5)
    assert metrics["train/loss"] == pytest.approx(
        metrics["train/policy_gradient_loss"]
        + config.ppo.value_coef * metrics["train/value_loss"]
        + config.ppo.entropy_coef * metrics["train/entropy_loss"],
        rel=1e-4,
    )
    assert metrics["train/explained_variance"] == pytest.approx(
        1 - errors.var().item() / rollout.returns.var().item(), rel=1e-4
    )
    assert metrics["train/approx_kl"] == pytest.approx(0.0, abs=1e-6)
    assert metrics["train/clip_fraction"] == 0.0
    assert metrics["train/nonfinite"] == 0
    assert metrics["train/n_updates"] == config.ppo.epochs
    assert metrics["train/learning_rate"] == 0.0
    assert metrics["train/clip_range"] == 0.3


def test_the_learning_rate_of_each_update_is_the_one_given():
    config = make_config()
    policy = make_policy(config)
    before = weights_of(policy)
    update(config, policy=policy, learning_rate=0.0)
    assert_equal_weights(weights_of(policy), before)


def test_every_step_is_visited_once_an_epoch_in_a_new_order():
    config = make_config(epochs=3)
    policy = make_policy(config)
    rollout = make_rollout(policy, config)
    visited = []
    original = rollout.minibatch
    rollout.minibatch = lambda indices: visited.append(indices) or original(indices)
    update(config, policy=policy, rollout=rollout)
    epochs = torch.stack(visited).view(3, 64)
    assert torch.equal(epochs.sort(dim=1).values, torch.arange(64).expand(3, -1))
    assert not torch.equal(epochs[0], epochs[1])


def test_progress_is_reported_after_each_minibatch():
    class Listener(Observer):
        def learned(self, result):
            seen.append((result.epoch, result.minibatch))

    config = make_config(epochs=2, minibatches=2)
    policy = make_policy(config)
    seen = []
    Learner(policy, config, CPU).update(
        make_rollout(policy, config), Hyperparameters.from_config(config), observer=Listener()
    )
    assert seen == [(1, 1), (1, 2), (2, 1), (2, 2)]


# ── The guards ──────────────────────────────────────────────────────────────────────────────────────────────


def test_an_update_ends_after_the_epoch_whose_kl_passes_the_target():
    config = make_config(epochs=10, learning_rate=3e-3)
    free = update(config, target_kl=None)
    stopped = update(config, target_kl=0.001)
    assert free["train/n_updates"] == 10
    assert 1 < stopped["train/n_updates"] < 10
    assert update(config, target_kl=100.0)["train/n_updates"] == 10


def test_each_epoch_is_judged_by_its_own_kl():
    """The first epoch's KL must not lower the mean of later epochs."""
    config = make_config(epochs=10, learning_rate=3e-3)
    by_epoch = []
    total = 0.0
    for epochs in range(1, 11):
        mean = update(config, epochs=epochs)["train/approx_kl"]
        by_epoch.append(mean * epochs - total)
        total = mean * epochs
    target = by_epoch[4] / 1.5 * 0.999
    first_beyond = next(epoch for epoch, kl in enumerate(by_epoch, start=1) if kl > 1.5 * target)
    assert update(config, target_kl=target)["train/n_updates"] == first_beyond


def test_an_update_of_nothing_but_nan_leaves_weights_and_optimiser_as_they_were():
    config = make_config()
    policy = make_policy(config)
    learner = Learner(policy, config, CPU)
    hyper = Hyperparameters.from_config(config)
    learner.update(make_rollout(policy, config), hyper)
    weights, state = weights_of(policy), learner.state_dict()

    broken = make_rollout(policy, config)
    broken.rewards.fill_(torch.nan)
    metrics = learner.update(broken, hyper)

    assert metrics["train/nonfinite"] == config.ppo.epochs * config.ppo.minibatches
    assert math.isnan(metrics["train/loss"])
    assert_equal_weights(weights_of(policy), weights)
    adam = {name: tensor for name, tensor in state.items() if name.startswith("adam/")}
    assert_equal_weights(learner.state_dict(), adam)


def test_minibatches_that_are_not_finite_are_skipped_and_the_others_learned_from():
    config = make_config(normalize_advantage=False, minibatches=4, epochs=1)
    policy = make_policy(config)
    rollout = make_rollout(policy, config)
    rollout.log_probs[3, 1] = -torch.inf  # an infinite ratio: 1 of the 4 minibatches has no finite gradient
    before = weights_of(policy)
    metrics = update(config, policy=policy, rollout=rollout)
    assert metrics["train/nonfinite"] == 1
    assert all(math.isfinite(metrics[name]) for name in METRICS - {"train/ratio_error_first"})
    assert not torch.equal(policy.policy_head.weight, before["policy_head.weight"])
    assert all(parameter.isfinite().all() for parameter in policy.parameters())


# ── State ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("space", "frame_stack"), [(VECTOR, 1), (SCREEN, 4)])
def test_a_restored_learner_goes_on_bit_for_bit(space, frame_stack):
    config = make_config()
    hyper = Hyperparameters.from_config(config)
    policy = make_policy(config, space, frame_stack=frame_stack)
    learner = Learner(policy, config, CPU)
    learner.update(make_rollout(policy, config, space, frame_stack=frame_stack), hyper)
    weights, state = weights_of(policy), learner.state_dict()
    rollout = make_rollout(policy, config, space, frame_stack=frame_stack, seed=2)
    expected = learner.update(rollout, hyper)

    resumed_policy = make_policy(config, space, frame_stack=frame_stack)
    resumed = Learner(resumed_policy, config, CPU)
    resumed_policy.load_state_dict(weights)
    resumed.load_state_dict({name: value.clone() if name != "epochs_done" else value for name, value in state.items()})

    assert resumed.update(rollout, hyper) == expected
    assert_equal_weights(weights_of(resumed_policy), weights_of(policy))
    assert expected["train/n_updates"] == 2 * config.ppo.epochs


def test_state_consists_of_contiguous_tensors_and_json_values():
    config = make_config()
    policy = make_policy(config, SCREEN, frame_stack=4)
    learner = Learner(policy, config, CPU)
    learner.update(make_rollout(policy, config, SCREEN, frame_stack=4), Hyperparameters.from_config(config))
    state = learner.state_dict()
    tensors = {name: value for name, value in state.items() if isinstance(value, torch.Tensor)}
    assert all(tensor.is_contiguous() and tensor.device == CPU for tensor in tensors.values())
    assert len(tensors) == 1 + 3 * len(list(policy.parameters()))
    msgspec.json.encode({name: value for name, value in state.items() if name not in tensors})


def test_state_before_the_first_update_is_restored_too():
    config = make_config()
    learner = Learner(make_policy(config), config, CPU)
    state = learner.state_dict()
    policy = make_policy(config)
    used = Learner(policy, config, CPU)
    used.update(make_rollout(policy, config), Hyperparameters.from_config(config))
    used.load_state_dict(state)
    assert used.state_dict().keys() == state.keys()
    assert used.epochs_done == 0


def test_state_of_another_network_is_refused():
    config = make_config()
    policy = make_policy(config)
    learner = Learner(policy, config, CPU)
    learner.update(make_rollout(policy, config), Hyperparameters.from_config(config))
    state = learner.state_dict()
    for action_space, space in ((CONTINUOUS, VECTOR), (DISCRETE, SCREEN)):
        with pytest.raises(ValueError, match="optimiser state"):
            Learner(make_policy(config, space, action_space), config, CPU).load_state_dict(state)


# ── Does it learn? ──────────────────────────────────────────────────────────────────────────────────────────


def train_on_one_step_episodes(policy: ActorCritic, config: Config, reward_of, updates: int) -> np.ndarray:
    """Train on one-step episodes; return the rewards of the last rollout, `[T, N]`.

    Contexts are one-hot.
    """
    contexts = torch.eye(3)
    generator = torch.Generator().manual_seed(0)
    learner = Learner(policy, config, CPU)
    rollout = make_rollout(policy, config)
    rollout.terminations.fill_(True)
    rollout.truncations.fill_(False)
    for _ in range(updates):
        chosen = torch.randint(3, (rollout.num_steps + 1, rollout.num_envs), generator=generator)
        rollout.frames.copy_(contexts[chosen])
        for t in range(rollout.num_steps):
            noise = policy.draw_noise(rollout.num_envs, generator)
            decision = policy.decide(rollout.observation(t), noise=noise)
            rollout.store(t, decision)
            rollout.rewards[t] = reward_of(chosen[t], decision.actions)
            rollout.mark_boundaries(t)
        learner.update(rollout, Hyperparameters.from_config(config))
        rollout.carry_over()
    return rollout.rewards.numpy()


def test_it_learns_which_action_each_context_rewards():
    """Chance earns a quarter."""
    config = make_config(learning_rate=5e-3, clip_range=0.2, entropy_coef=0.0)
    policy = make_policy(config)
    rewards = train_on_one_step_episodes(
        policy, config, lambda context, action: (action == (context + 1) % 4).float(), updates=25
    )
    assert rewards.mean() > 0.9


def test_it_learns_a_continuous_action_and_to_be_sure_of_it():
    """The reward is the negative squared distance from a context's target."""
    config = make_config(learning_rate=1e-2, clip_range=0.2, entropy_coef=0.0)
    policy = make_policy(config, action_space=CONTINUOUS)
    targets = torch.tensor([[1.0, 0.0], [0.0, -1.0], [-1.0, 1.0]])
    rewards = train_on_one_step_episodes(
        policy, config, lambda context, action: -(action - targets[context]).square().sum(-1), updates=60
    )
    assert rewards.mean() > -0.3
    assert policy.log_std.max() < -0.5


# ── Mixed precision ─────────────────────────────────────────────────────────────────────────────────────────


def in_bf16(config: Config) -> Config:
    return msgspec.structs.replace(config, policy=msgspec.structs.replace(config.policy, precision="bf16"))


@pytest.mark.parametrize(("space", "frame_stack"), [(VECTOR, 1), (SCREEN, 4)])
def test_in_bf16_the_same_weights_say_nearly_the_same_and_the_first_ratio_is_nearly_one(space, frame_stack):
    config = make_config()
    exact, mixed = (make_policy(c, space, frame_stack=frame_stack) for c in (config, in_bf16(config)))
    rollout = make_rollout(mixed, config, space, frame_stack=frame_stack)
    with torch.no_grad():
        ours, theirs = mixed(rollout.observation(3)), exact(rollout.observation(3))
    assert ours[1].dtype == torch.float32
    assert not torch.equal(ours[1], theirs[1]), "the arithmetic really is another one"
    torch.testing.assert_close(ours[1], theirs[1], rtol=0.03, atol=0.03)
    metrics = update(config, policy=mixed, rollout=rollout)
    assert metrics["train/ratio_error_first"] < 1e-3
    assert all(parameter.dtype == torch.float32 for parameter in mixed.parameters())


def test_in_bf16_the_gradients_point_the_same_way():
    config = make_config()
    exact, mixed = (make_policy(c, SCREEN, frame_stack=4) for c in (config, in_bf16(config)))
    observations = make_rollout(exact, config, SCREEN, frame_stack=4).observation(3)
    for policy in (exact, mixed):
        distribution, values = policy(observations)
        (values.square().mean() + distribution.log_prob(torch.zeros(len(values), dtype=torch.int64)).mean()).backward()
    for (name, one), other in zip(exact.named_parameters(), mixed.parameters(), strict=True):
        similarity = torch.nn.functional.cosine_similarity(one.grad.flatten(), other.grad.flatten(), dim=0)
        assert similarity > 0.99, name
