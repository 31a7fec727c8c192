"""A new run begins with whatever fits of another run's weights, and names the rest."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from ppo_tui import Trainer
from ppo_tui.config import Config, build_config
from ppo_tui.errors import UsageError
from ppo_tui.ppo import ActorCritic, Learner, build_policy
from ppo_tui.training.checkpoint.initial import Beginning, begin_with
from ppo_tui.training.checkpoint.source import REWARDS, Source

NUMBERS, PICTURES = (4,), (84, 84)


def config_of(**settings: Any) -> Config:
    """A configuration of CartPole with these settings in ``policy`` and ``ppo``."""
    ppo = {key: settings.pop(key) for key in ("normalize_values", "normalize_rewards") if key in settings}
    return build_config({"env": {"id": "CartPole-v1"}, "policy": settings, "ppo": ppo, "run": {"total_steps": 2048}})


def policy_of(config: Config, actions: int = 2, shape: tuple[int, ...] = NUMBERS, seed: int = 1) -> ActorCritic:
    pictures = shape == PICTURES
    space = spaces.Box(0, 255, shape, np.uint8) if pictures else spaces.Box(-1, 1, shape, np.float32)
    return build_policy(
        space,
        spaces.Discrete(actions),
        config.policy,
        frame_stack=4 if pictures else 1,
        normalize_values=config.ppo.normalize_values,
        seed=seed,
    )


def source_of(policy: ActorCritic, **facts: Any) -> Source:
    weights = {name: tensor.contiguous() for name, tensor in policy.state_dict().items()}
    named = {"argument": "it@5", "name": "it", "path": "runs/it", "step": 5, "sha256": "0", "env": "CartPole-v1"}
    return Source(**{**named, "policy": save(weights), **facts})


def begun(source: Source, policy: ActorCritic, config: Config) -> Beginning:
    return begin_with(source, policy, Learner(policy, config, torch.device("cpu")), config)


def test_another_number_of_actions_costs_the_policy_head_alone():
    """As from Pong with its six actions to Breakout with its four."""
    config = config_of(init="default")
    pong, breakout = policy_of(config, 6, PICTURES, seed=1), policy_of(config, 4, PICTURES, seed=2)
    before = breakout.policy_head.weight.clone()
    taken = begun(source_of(pong), breakout, config).taken
    assert (taken.taken, taken.anew, taken.unused) == (5, 1, ())
    assert taken.misfits == ("policy_head (6 × 512 there, 4 × 512 here)",)
    assert breakout.policy_head.weight.equal(before)
    assert breakout.value_head.weight.equal(pong.value_head.weight)
    for name, tensor in breakout.actor_trunk.state_dict().items():
        assert tensor.equal(pong.actor_trunk.state_dict()[name])


def test_a_layer_is_taken_whole_or_not_at_all():
    """The bias of a first layer for other observations would fit alone."""
    config = config_of(hidden=[8, 8])
    there, here = policy_of(config, seed=1), policy_of(config, shape=(6,), seed=2)
    before = {name: tensor.clone() for name, tensor in here.actor_trunk.layers[0].state_dict().items()}
    taken = begun(source_of(there), here, config).taken
    assert [misfit.partition(" ")[0] for misfit in taken.misfits] == ["actor_trunk.layers.0", "critic_trunk.layers.0"]
    assert all(tensor.equal(before[name]) for name, tensor in here.actor_trunk.layers[0].state_dict().items())
    assert here.actor_trunk.layers[2].weight.equal(there.actor_trunk.layers[2].weight)


@settings(max_examples=8)
@given(widths=st.tuples(*[st.sampled_from([2, 3])] * 4), actions=st.tuples(st.integers(2, 3), st.integers(2, 3)))
def test_every_tensor_is_the_sources_or_as_it_was(widths: tuple[int, ...], actions: tuple[int, int]):
    configs = config_of(hidden=list(widths[:2])), config_of(hidden=list(widths[2:]))
    there, here = (policy_of(config, count, seed=count) for config, count in zip(configs, actions, strict=True))
    before = {name: tensor.clone() for name, tensor in here.state_dict().items()}
    try:
        taken = begun(source_of(there), here, configs[1]).taken
    except UsageError:
        assert all(tensor.equal(before[name]) for name, tensor in here.state_dict().items())
        return
    theirs, anew = there.state_dict(), {misfit.partition(" ")[0] for misfit in taken.misfits}
    for name, tensor in here.state_dict().items():
        expected = before if name.rpartition(".")[0] in anew else theirs
        assert tensor.equal(expected[name]), name


def test_where_nothing_fits_it_is_an_error_in_words():
    config = config_of()
    with pytest.raises(UsageError, match="no layer of it, step 5 fits this run's network: actor_trunk") as refused:
        begun(source_of(policy_of(config)), policy_of(config_of(init="default"), 4, PICTURES), config)
    assert "4 × 512 here" in str(refused.value) or "it has none" in str(refused.value)


def test_weights_that_are_not_finite_are_refused_and_change_nothing():
    config = config_of()
    there, here = policy_of(config, seed=1), policy_of(config, seed=2)
    with torch.no_grad():
        there.value_head.bias.fill_(torch.nan)
    before = here.policy_head.weight.clone()
    with pytest.raises(UsageError, match=r"value_head\.bias has numbers that are NaN or infinite"):
        begun(source_of(there), here, config)
    assert here.policy_head.weight.equal(before)


@pytest.mark.parametrize("there_shared", [False, True])
def test_values_stay_the_same_under_another_normalisation_and_another_sharing_of_trunks(there_shared: bool):
    there_config = config_of(hidden=[8], shared=there_shared, normalize_values=True)
    here_config = config_of(hidden=[8], shared=False)
    there, here = policy_of(there_config, seed=1), policy_of(here_config, seed=2)
    assert there.value_normalizer is not None
    there.value_normalizer.merge(torch.tensor([100.0, 300.0]))
    assert begun(source_of(there), here, here_config).taken.anew == 0
    observations = torch.linspace(-1, 1, 12).view(3, 4)
    assert there.value(observations).mean() > 100
    torch.testing.assert_close(here.value(observations), there.value(observations), rtol=1e-5, atol=1e-3)


def test_a_value_head_is_left_where_it_read_a_network_of_its_own():
    there_config, here_config = config_of(hidden=[8], shared=False), config_of(hidden=[8], shared=True)
    taken = begun(source_of(policy_of(there_config)), policy_of(here_config, seed=2), here_config).taken
    assert taken.misfits == ("value_head (it reads a network of its own in it)",)
    assert taken.unused == ("critic_trunk.layers.0",)


@pytest.mark.parametrize(("env", "count"), [("CartPole-v1", 7.0), ("Acrobot-v1", 0.0)])
def test_statistics_of_rewards_are_those_of_the_same_environment(env: str, count: float):
    config = config_of(normalize_rewards=True)
    policy = policy_of(config, seed=2)
    learner = Learner(policy, config, torch.device("cpu"))
    source = source_of(policy_of(config), env=env, rewards={"count": 7.0, "mean": 2.0, "variance": 4.0})
    taken = begin_with(source, policy, learner, config).taken
    assert learner.state_dict()[f"{REWARDS}count"] == count
    assert taken.misfits == (() if count else ("reward statistics (those are of Acrobot-v1)",))


def test_settings_that_give_the_same_weights_another_meaning_are_a_warning():
    config = config_of(activation="relu", normalize_observations=True)
    source = source_of(
        policy_of(config_of()), computing={"policy.activation": "tanh", "policy.normalize_images": "auto"}
    )
    (warning,) = begun(source, policy_of(config, seed=2), config).warnings
    assert "policy.activation is 'relu' here and was 'tanh' in it" in warning
    assert "--set policy.activation='tanh'" in warning


def test_a_trainer_without_the_weights_that_its_configuration_names_refuses():
    config = build_config({"env": {"id": "CartPole-v1"}, "run": {"total_steps": 2048, "init_from": "it"}})
    with pytest.raises(UsageError, match="was not given its weights"):
        Trainer(config)
