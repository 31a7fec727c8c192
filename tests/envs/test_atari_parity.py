"""The Atari pipeline equals Gymnasium's own wrappers, bit for bit."""

import gymnasium
import numpy as np
import pytest
from gymnasium.wrappers import AtariPreprocessing, FrameStackObservation

from ppo_tui.config.collecting import AtariConfig, EnvConfig
from ppo_tui.envs import make_env

STEPS = 2_000


def ours(env_id: str, *, kwargs: dict | None = None, **settings) -> gymnasium.Env:
    plain = {"life_loss": "none", "fire_reset": False, "clip_reward": False}
    return make_env(EnvConfig(id=env_id, kwargs=kwargs or {}, atari=AtariConfig(**{**plain, **settings})))


def gymnasiums(env_id: str, *, make: dict | None = None, screen_size: int = 84, **settings) -> gymnasium.Env:
    import ale_py

    gymnasium.register_envs(ale_py)
    env = gymnasium.make(env_id, frameskip=1, repeat_action_probability=0.0, **(make or {}))
    return AtariPreprocessing(env, screen_size=screen_size, grayscale_obs=True, **settings)


def assert_equal_play(env: gymnasium.Env, reference: gymnasium.Env, *, seed: int, steps: int) -> int:
    """Play both with the same random actions; return the number of resets."""
    actions = np.random.default_rng(seed)
    observation, _ = env.reset(seed=seed)
    expected, _ = reference.reset(seed=seed)
    np.testing.assert_array_equal(observation, expected)
    resets = 0
    for _ in range(steps):
        action = actions.integers(reference.action_space.n)
        observation, *outcome, _ = env.step(action)
        expected, *expected_outcome, _ = reference.step(action)
        np.testing.assert_array_equal(observation, expected)
        assert outcome == expected_outcome
        if outcome[1] or outcome[2]:
            resets += 1
            observation, _ = env.reset()
            expected, _ = reference.reset()
            np.testing.assert_array_equal(observation, expected)
    return resets


@pytest.mark.parametrize(("life_loss", "terminal_on_life_loss"), [("none", False), ("reset", True)])
@pytest.mark.parametrize("game", ["Breakout", "Pong", "SpaceInvaders"])
def test_equals_gymnasiums_wrappers_bit_for_bit(game, life_loss, terminal_on_life_loss):
    env = FrameStackObservation(ours(f"ALE/{game}-v5", life_loss=life_loss), 4)
    reference = FrameStackObservation(
        gymnasiums(f"ALE/{game}-v5", terminal_on_life_loss=terminal_on_life_loss, noop_max=30, frame_skip=4), 4
    )
    assert env.observation_space == reference.observation_space
    assert env.action_space == reference.action_space
    resets = assert_equal_play(env, reference, seed=7, steps=STEPS)
    assert resets >= 1, "the comparison has to see the end of a game"


@pytest.mark.parametrize("frame_skip", [1, 2, 3])
def test_equals_gymnasiums_wrappers_for_other_frame_skips(frame_skip):
    env = ours("ALE/Breakout-v5", life_loss="reset", frame_skip=frame_skip, noop_max=0)
    reference = gymnasiums("ALE/Breakout-v5", terminal_on_life_loss=True, frame_skip=frame_skip, noop_max=0)
    assert assert_equal_play(env, reference, seed=3, steps=600) >= 1


@pytest.mark.parametrize("screen_size", [42, 64, *(pytest.param(n, marks=pytest.mark.slow) for n in (48, 50, 60, 63))])
def test_small_screens_equal_gymnasiums(screen_size):
    """Sizes with and without lines of the screen that can be resized by themselves."""
    env = ours("ALE/Breakout-v5", life_loss="reset", screen_size=screen_size)
    reference = gymnasiums("ALE/Breakout-v5", terminal_on_life_loss=True, screen_size=screen_size, frame_skip=4)
    assert env.observation_space == reference.observation_space
    assert assert_equal_play(env, reference, seed=6, steps=100) >= 1


def test_a_game_truncated_by_max_frames_equals_gymnasiums():
    env = ours("ALE/Breakout-v5", max_frames=402)
    reference = gymnasiums("ALE/Breakout-v5", make={"max_num_frames_per_episode": 402}, noop_max=30, frame_skip=4)
    assert assert_equal_play(env, reference, seed=5, steps=400) >= 3


def test_no_ops_that_outlast_the_game_start_it_again_as_gymnasium_does():
    env = ours("ALE/Breakout-v5", max_frames=10, noop_max=60)
    reference = gymnasiums("ALE/Breakout-v5", make={"max_num_frames_per_episode": 10}, noop_max=60, frame_skip=4)
    assert assert_equal_play(env, reference, seed=2, steps=40) >= 10


def test_mode_and_difficulty_reach_the_emulator():
    switches = {"mode": 12, "difficulty": 1}
    reference = gymnasiums("ALE/Breakout-v5", make=switches, frame_skip=4)
    assert_equal_play(ours("ALE/Breakout-v5", kwargs=switches), reference, seed=1, steps=100)


def test_the_full_action_space_has_the_emulators_18_actions():
    env = ours("ALE/Breakout-v5", full_action_space=True)
    reference = gymnasiums("ALE/Breakout-v5", make={"full_action_space": True}, frame_skip=4)
    assert env.action_space.n == 18
    assert env.get_action_meanings() == reference.unwrapped.get_action_meanings()
    assert_equal_play(env, reference, seed=1, steps=200)


@pytest.mark.parametrize("env_id", ["BreakoutNoFrameskip-v4", "BreakoutNoFrameskip-v0", "ale_py:ALE/Breakout-v5"])
def test_every_id_of_a_game_plays_the_same_game(env_id):
    assert_equal_play(ours(env_id), gymnasiums("ALE/Breakout-v5", frame_skip=4), seed=4, steps=60)
