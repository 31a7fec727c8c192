"""`policy.predict` and `policy.act`: NumPy in and out, for the environment itself."""

from __future__ import annotations

import functools

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array

from ppo_tui import make_env
from ppo_tui.config import build_config, load_preset
from ppo_tui.envs import EnvInfo, probe_env
from ppo_tui.envs.fitting import FittedActions
from ppo_tui.envs.spaces import read_mask
from ppo_tui.errors import UsageError
from ppo_tui.ppo import ActorCritic, Interface, build_policy
from tests.exchange.envs import SPACES


def built(config, info: EnvInfo) -> ActorCritic:
    """A policy whose actions differ, with an interface to its environment."""
    policy = build_policy(
        info.observation_space, info.action_space, config.policy, frame_stack=config.env.frame_stack, seed=1
    ).eval()
    policy.interface = Interface(info, config.env)
    with torch.no_grad():
        policy.policy_head.weight.mul_(100.0)
    return policy


@functools.cache
def of_spaces(name: str):
    config = build_config({"env": {"id": "tests.exchange.envs:Spaces-v0", "kwargs": {"name": name}}})
    info = probe_env(config.env)
    return config, info, built(config, info)


def of_box(space: spaces.Box, actions: spaces.Space | None = None, *, masked: int = 0, **tables) -> ActorCritic:
    """A policy for an environment of these spaces, which is never made."""
    config = build_config({"env": {"id": "CartPole-v1", **tables.pop("env", {})}, **tables})
    actions = actions or spaces.Discrete(3)
    return built(config, EnvInfo(space, actions, None, None, masked, space, actions))


def batch_of(space: spaces.Space, observations: list):
    return concatenate(space, observations, create_empty_array(space, len(observations)))


@pytest.mark.parametrize("name", SPACES)
def test_predict_takes_and_gives_what_the_environment_gives_and_takes(name):
    """Whatever the kinds of space; one observation, a batch of them, or as `make_env` gives it."""
    config, info, policy = of_spaces(name)
    env, (given_space, space) = make_env(config.env), SPACES[name]
    given_space.seed(1)
    given, expected = [], []
    for _ in range(4):
        fitted, facts = env.reset()
        masks = read_mask(env, facts) if info.num_masked else None
        tensor = torch.from_numpy(fitted[None, None] if fitted.ndim == 2 and fitted.dtype == np.uint8 else fitted[None])
        decision = policy.decide(tensor, noise=None, masks=None if masks is None else torch.from_numpy(masks)[None])
        action = FittedActions(space)(policy.env_actions(decision.actions)[0])
        predicted, state = policy.predict(env.unwrapped.observed)
        assert state is None
        assert predicted in space
        np.testing.assert_allclose(predicted, action, rtol=1e-5)
        np.testing.assert_array_equal(policy.act(fitted, action_masks=masks), predicted)
        env.unwrapped.step(predicted)
        given.append(env.unwrapped.observed)
        expected.append(policy.act(env.unwrapped.observed))
    batch = batch_of(given_space, given)
    assert batch_space(given_space, 4).contains(batch)
    actions, _ = policy.predict(batch)
    assert batch_space(space, 4).contains(actions)
    np.testing.assert_allclose(actions, np.stack(expected), rtol=1e-5)


def test_a_discrete_action_is_a_scalar_and_a_key():
    """Toy environments look actions up in a table."""
    policy = of_box(spaces.Box(-1, 1, (2,)))
    action = policy.act([0.5, -0.5])
    assert type(action) is np.int64
    assert {action: "found"}[int(action)] == "found"


def test_sampled_actions_follow_the_distribution_and_the_seed():
    policy = of_box(spaces.Box(-1, 1, (2,)))
    with torch.no_grad():
        policy.policy_head.weight.mul_(0.001)
    batch = np.zeros((300, 2), np.float32)
    drawn = []
    for _ in range(2):
        torch.manual_seed(4)
        drawn.append(policy.predict(batch, deterministic=False)[0])
    np.testing.assert_array_equal(*drawn)
    assert set(drawn[0].tolist()) == {0, 1, 2}
    assert len(set(policy.predict(batch)[0].tolist())) == 1


def test_masked_actions_are_never_taken():
    policy = of_box(spaces.Box(-1, 1, (2,)), spaces.MultiDiscrete([2, 3]), masked=5)
    batch = np.random.default_rng(1).uniform(-1, 1, (50, 2))
    choice = [np.array([False, True]), np.array([1, 0, 0], np.int8)]
    assert policy.act(batch[0], action_masks=choice).tolist() == [1, 0]
    both = np.tile(np.concatenate(choice).astype(bool), (50, 1))
    for deterministic in (True, False):
        actions, _ = policy.predict(batch, deterministic=deterministic, action_masks=both)
        assert np.unique(actions, axis=0).tolist() == [[1, 0]]


def recurrent() -> ActorCritic:
    return of_box(
        spaces.Box(-1, 1, (2,)), policy={"recurrent": "lstm", "recurrent_size": 8, "normalize_observations": True}
    )


def test_the_recurrent_state_goes_from_step_to_step_and_is_forgotten_where_an_episode_starts():
    policy = recurrent()
    observations = np.random.default_rng(1).uniform(-1, 1, (5, 3, 2)).astype(np.float32)
    states, state = policy.initial_states(3), None
    for batch in observations:
        decision = policy.decide(torch.from_numpy(batch), noise=None, states=states)
        states = decision.states
        actions, state = policy.predict(batch, state)
        np.testing.assert_array_equal(actions, decision.actions)
        np.testing.assert_array_equal(state, states)
    starts = np.array([False, True, False])
    kept, fresh, mixed = (
        policy.predict(observations[0], *arguments)[1] for arguments in ((state,), (None,), (state, starts))
    )
    np.testing.assert_array_equal(mixed, np.where(starts[:, None], fresh, kept))
    _, alone = policy.predict(observations[0, 0], state[:1], episode_start=np.ones(1, bool))
    np.testing.assert_allclose(alone, fresh[:1], rtol=1e-5)


def test_stacked_observations_are_those_of_gymnasiums_wrapper():
    config = load_preset("breakout")
    env = gymnasium.wrappers.FrameStackObservation(make_env(config.env), config.env.frame_stack)
    policy = built(config, probe_env(config.env))
    observation, _ = env.reset(seed=1)
    seen = [observation]
    for _ in range(8):
        action = policy.act(observation)
        decision = policy.decide(torch.from_numpy(observation)[None], noise=None)
        assert action == policy.env_actions(decision.actions)[0]
        observation, *_ = env.step(action)
        seen.append(observation)
    assert policy.act(np.stack(seen)).shape == (9,)
    with pytest.raises(UsageError, match=r"FrameStackObservation\(env, 4\)"):
        policy.act(observation[0])


def test_stable_baselines3_scores_the_policy_by_its_own_function():
    evaluation = pytest.importorskip("stable_baselines3.common.evaluation")
    config = load_preset("cartpole")
    policy = built(config, probe_env(config.env))
    env = gymnasium.make("CartPole-v1")
    returns, _ = evaluation.evaluate_policy(policy, env, 3, return_episode_rewards=True, warn=False)
    assert len(returns) == 3


CASES = {
    "reset": (lambda p: p.act((np.zeros(2), {})), r"a tuple of 2.*\n.*observation, info = env.reset\(\)"),
    "shape": (lambda p: p.act(np.zeros(3)), r"the shape \[3\]: expected is one of CartPole-v1, Box"),
    "axes": (lambda p: p.act(np.zeros((2, 2, 2))), "a batch of them along a first axis"),
    "empty": (lambda p: p.act(np.zeros((0, 2))), "a batch of them"),
    "text": (lambda p: p.act("hello"), "expected is one of"),
    "none": (lambda p: p.act(None), "expected is one of"),
    "large": (lambda p: p.act([0.0, 1e300]), "too large"),
    "nan": (lambda p: p.act([0.0, np.nan]), "NaN or infinite"),
    "mask size": (lambda p: p.act(np.zeros(2), action_masks=[1, 0]), "expected are 3 numbers"),
    "mask value": (lambda p: p.act(np.zeros(2), action_masks=[1, 0, 7]), "True or 1"),
    "mask of nothing": (lambda p: p.act(np.zeros(2), action_masks=[0, 0, 0]), "no action possible"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_misfit_is_refused_with_the_value_and_the_rule(case):
    call, words = CASES[case]
    with pytest.raises(UsageError, match=words):
        call(of_box(spaces.Box(-1, 1, (2,))))


def test_what_the_kind_of_policy_needs_is_asked_for():
    box = spaces.Box(-1, 1, (2,))
    with pytest.raises(UsageError, match=r"info\['action_mask'\]"):
        of_box(box, masked=3).act(np.zeros(2))
    with pytest.raises(UsageError, match="no masks"):
        of_box(box, box).act(np.zeros(2), action_masks=[1, 1])
    with pytest.raises(UsageError, match=r"action, state = policy.predict"):
        recurrent().act(np.zeros(2))
    with pytest.raises(UsageError, match=r"state is .*\[4\]: expected is \[1, 32\]"):
        recurrent().predict(np.zeros(2), np.zeros(4))
    with pytest.raises(UsageError, match="episode_start has 3"):
        recurrent().predict(np.zeros(2), None, [1, 0, 0])
    config = load_preset("cartpole")
    with pytest.raises(UsageError, match="load_policy"):
        build_policy(box, spaces.Discrete(2), config.policy, frame_stack=1).act(np.zeros(2))
