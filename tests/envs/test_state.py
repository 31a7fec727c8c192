"""A restored environment continues bit for bit, or is refused."""

from __future__ import annotations

import copy
import functools

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from hypothesis import given
from hypothesis import strategies as st

from ppo_tui.config import build_config
from ppo_tui.envs import make_env, replay
from ppo_tui.envs.state import CannotRestoreError, pack, restore_env, save_env, unpack, unsaved_reason


def maker(env_id: str, **atari):
    tables = {"env": {"id": env_id, **({"atari": atari} if atari else {})}}
    return functools.partial(make_env, build_config(tables).env)


def play(env: gymnasium.Env, actions: list) -> list[tuple]:
    """The results of these actions, with a reset after each episode."""
    told = []
    for action in actions:
        observation, reward, terminated, truncated, info = env.step(action)
        told.append((np.asarray(observation).tobytes(), reward, terminated, truncated, info.get("episode")))
        if terminated or truncated:
            observation, info = env.reset()
            told.append((np.asarray(observation).tobytes(), info.get("episode")))
    return told


def random_actions(env: gymnasium.Env, count: int, seed: int = 0) -> list:
    space = copy.deepcopy(env.action_space)  # that of the environment is part of its state
    space.seed(seed)
    return [space.sample() for _ in range(count)]


def check_exact(make, *, before: int, after: int) -> None:
    """A restored episode continues in another instance as in the saved one."""
    env = make()
    env.reset(seed=3)
    play(env, random_actions(env, before))
    saved = save_env(env)
    assert unsaved_reason(saved) is None
    later = random_actions(env, after, seed=1)
    expected = play(env, later)
    other = make()
    assert restore_env(other, saved) is False
    assert play(other, later) == expected
    restore_env(env, saved)
    assert play(env, later) == expected, "the same instance can go back, too"


@pytest.mark.parametrize("sticky", [0.0, 0.25, 0.95])
@pytest.mark.parametrize("game", ["Breakout", "Pong", "Qbert", "Tetris", "MontezumaRevenge"])
def test_an_atari_game_goes_on(game: str, sticky: float):
    check_exact(maker(f"ALE/{game}-v5", sticky_actions=sticky), before=150, after=250)


@pytest.mark.slow
@pytest.mark.parametrize(("noop_max", "sticky", "before"), [(0, 0.25, 0), (30, 0.0, 150), (30, 0.25, 400)])
def test_every_atari_game_goes_on(noop_max: int, sticky: float, before: int):
    """A game without a single frame played (`noop_max` 0) included."""
    games = [name for name in gymnasium.registry if name.startswith("ALE/") and name.endswith("-v5")]
    assert len(games) > 100
    for game in games:
        check_exact(maker(game, noop_max=noop_max, sticky_actions=sticky), before=before, after=60)


@pytest.mark.parametrize("life_loss", ["terminal", "reset", "none"])
def test_an_atari_game_saved_right_after_a_lost_life_goes_on(life_loss: str):
    make = maker("ALE/Breakout-v5", life_loss=life_loss, sticky_actions=0.25)
    env = make()
    _, info = env.reset(seed=5)
    lives = info["lives"]
    while info["lives"] == lives:
        _, _, ended, _, info = env.step(0)
    other = make()
    assert restore_env(other, save_env(env, ended=ended)) is ended
    if ended:
        assert np.array_equal(env.reset()[0], other.reset()[0])
    later = random_actions(env, 300)
    assert play(other, later) == play(env, later)


@pytest.mark.parametrize("before", [0, 1, 37, 250])
@pytest.mark.parametrize(
    "env_id",
    ["CartPole-v1", "Acrobot-v1", "MountainCar-v0", "MountainCarContinuous-v0", "Pendulum-v1", "LunarLander-v3"],
)
def test_an_environment_that_cannot_save_itself_plays_its_episode_again(env_id: str, before: int):
    check_exact(maker(env_id), before=before, after=120)


class Random(gymnasium.Env):
    """Observations drawn from a hidden generator."""

    observation_space = Box(0, 1, (1,), np.float64)
    action_space = Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.random.default_rng().random(1), {}

    def step(self, action):
        return np.random.default_rng().random(1), 0.0, False, False, {}


class Adder(gymnasium.Env):
    """Adds up its actions and some noise, and can save itself."""

    observation_space = Box(-np.inf, np.inf, (1,), np.float64)
    action_space = Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.total = self.np_random.normal()
        return np.array([self.total]), {}

    def step(self, action):
        self.total += float(action[0]) + self.np_random.normal()
        return np.array([self.total]), 1.0, False, False, {}

    def save_state(self) -> bytes:
        return pack({"total": self.total, "generator": self.np_random.bit_generator.state}, {})

    def restore_state(self, saved: bytes) -> None:
        facts, _ = unpack(saved)
        self.total = facts["total"]
        self.np_random.bit_generator.state = facts["generator"]
        self.restored = True


def test_an_environment_that_saves_itself_is_asked_to_and_its_time_limit_kept(register):
    make = maker(register(entry_point=Adder, max_episode_steps=40))
    check_exact(make, before=33, after=50)
    env = make()
    env.reset(seed=1)
    restore_env(env, save_env(env))
    assert env.unwrapped.restored


def test_without_gymnasiums_private_counter_the_episode_is_saved_as_its_actions(register, monkeypatch):
    monkeypatch.setattr(replay, "_ELAPSED_STEPS", "no such name")
    make = maker(register(entry_point=Adder, max_episode_steps=40))
    check_exact(make, before=33, after=50)
    env = make()
    env.reset(seed=1)
    restore_env(env, save_env(env))
    assert not hasattr(env.unwrapped, "restored")


def test_one_that_is_not_deterministic_is_found_out(register):
    make = maker(register(entry_point=Random))
    env = make()
    env.reset(seed=1)
    play(env, [0, 1, 1])
    other = make()
    with pytest.raises(CannotRestoreError, match="not deterministic"):
        restore_env(other, save_env(env))
    assert play(other, []) == []
    other.reset()
    assert len(play(other, [0])) == 1, "a new episode can begin"


def test_an_episode_too_long_to_keep_says_so_and_stays_bounded(register, monkeypatch):
    monkeypatch.setattr(replay, "MAX_RECORDED_STEPS", 50)
    env = maker("Pendulum-v1")()
    env.reset(seed=1)
    play(env, random_actions(env, 50))
    assert unsaved_reason(save_env(env)) is None
    play(env, random_actions(env, 100))
    saved = save_env(env)
    assert "longer than 50 steps" in unsaved_reason(saved)
    assert len(saved) < 15_000
    with pytest.raises(CannotRestoreError, match="longer than 50 steps"):
        restore_env(env, saved)
    play(env, random_actions(env, 60))  # past the time limit of 200: a new episode is recorded from its start
    assert unsaved_reason(save_env(env)) is None


def test_a_plain_environment_without_a_recorder_says_that_it_cannot_be_saved():
    env = gymnasium.make("CartPole-v1")
    env.reset(seed=1)
    assert "has no save_state" in unsaved_reason(save_env(env))


def test_another_games_state_is_refused():
    pong, breakout = maker("ALE/Pong-v5")(), maker("ALE/Breakout-v5")()
    pong.reset(seed=1)
    with pytest.raises(CannotRestoreError, match="'pong' and not from 'breakout'"):
        restore_env(breakout, save_env(pong))


@given(st.binary(max_size=200))
def test_bytes_that_are_no_state_are_refused(content: bytes):
    with pytest.raises(CannotRestoreError):
        unpack(content)


@given(
    st.dictionaries(st.text(), st.integers() | st.floats(allow_nan=False) | st.text() | st.none()),
    st.dictionaries(st.text(), st.binary()),
)
def test_what_is_packed_is_unpacked(facts: dict, blobs: dict):
    assert unpack(pack(facts, blobs)) == (facts, blobs)
