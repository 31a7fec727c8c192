"""Additions of the Atari pipeline: lives, FIRE, sticky actions, rewards, scores."""

import copy
import itertools

import cv2
import gymnasium
import numpy as np
import pytest

from ppo_tui.config.collecting import AtariConfig, EnvConfig
from ppo_tui.envs import make_env
from ppo_tui.errors import ConfigError

NOOP, FIRE = 0, 1
BREAKOUT = "ALE/Breakout-v5"


def atari(env_id: str = BREAKOUT, **settings) -> gymnasium.Env:
    plain = {"noop_max": 0, "life_loss": "none", "fire_reset": False, "clip_reward": False}
    return make_env(EnvConfig(id=env_id, atari=AtariConfig(**{**plain, **settings})))


def play(env: gymnasium.Env, actions, *, until) -> list[tuple]:
    """The outcomes of steps until ``until(terminated, truncated, info)`` holds."""
    outcomes = []
    for action in actions:
        outcomes.append(env.step(action))
        if until(*outcomes[-1][2:]):
            return outcomes
    raise AssertionError("the actions ran out")


def episode_ends(terminated, truncated, info) -> bool:
    return terminated or truncated


def game_ends(terminated, truncated, info) -> bool:
    return "episode" in info


def random_actions(env: gymnasium.Env, seed: int, limit: int = 5_000):
    rng = np.random.default_rng(seed)
    return itertools.islice(iter(lambda: int(rng.integers(env.action_space.n)), -1), limit)


# ── Lost lives ──────────────────────────────────────────────────────────────────────────────────────────────


def test_terminal_ends_the_episode_at_each_life_and_the_game_after_the_last():
    env = atari(life_loss="terminal", fire_reset=True)
    env.reset(seed=1)
    lives, steps, score = [], 0, 0.0
    for life in range(5):
        outcomes = play(env, itertools.repeat(NOOP, 500), until=episode_ends)
        steps += len(outcomes)
        score += sum(reward for _, reward, *_ in outcomes)
        *_, terminated, truncated, info = outcomes[-1]
        assert (terminated, truncated) == (True, False)
        lives.append(info["lives"])
        assert ("episode" in info) == (life == 4)
        assert all("episode" not in earlier[-1] for earlier in outcomes[:-1])
        _, reset_info = env.reset()
        assert "episode" not in reset_info
    assert lives == [4, 3, 2, 1, 0]
    assert info["episode"] == {"r": score, "l": steps}
    assert reset_info["lives"] == 5


def test_terminal_goes_on_with_one_noop_step_and_one_fire_step():
    env, unbroken = atari(life_loss="terminal", fire_reset=True), atari()
    env.reset(seed=1)
    unbroken.reset(seed=1)
    frame = unbroken.step(FIRE)[0]
    for _ in range(3):
        for action in random_actions(env, seed=8):
            observation, _, terminated, *_ = env.step(action)
            frame = unbroken.step(action)[0]
            np.testing.assert_array_equal(observation, frame)
            if terminated:
                break
        observation, _ = env.reset()
        unbroken.step(NOOP)
        np.testing.assert_array_equal(observation, unbroken.step(FIRE)[0])


def test_a_seeded_reset_starts_a_new_game_between_lives():
    env = atari(life_loss="terminal", fire_reset=True)
    first, _ = env.reset(seed=3)
    play(env, itertools.repeat(NOOP, 500), until=episode_ends)
    again, info = env.reset(seed=3)
    assert info["lives"] == 5
    np.testing.assert_array_equal(again, first)


def test_an_unseeded_reset_in_the_middle_of_a_life_starts_a_new_game():
    env = atari(life_loss="terminal", fire_reset=True)
    env.reset(seed=3)
    play(env, itertools.repeat(NOOP, 500), until=episode_ends)
    env.reset()
    env.step(NOOP)
    assert env.reset()[1]["lives"] == 5


def test_a_second_reset_in_a_row_starts_a_new_game():
    env = atari(life_loss="terminal", fire_reset=True)
    env.reset(seed=3)
    play(env, itertools.repeat(NOOP, 500), until=episode_ends)
    assert env.reset()[1]["lives"] == 4
    assert env.reset()[1]["lives"] == 5


def test_a_game_that_ends_before_the_agent_acts_is_none_to_report():
    env = atari(fire_reset=True, max_frames=2)
    _, info = env.reset(seed=1)
    assert "episode" not in info


@pytest.mark.parametrize("frames_left", [2, 6])
def test_a_game_that_ends_within_reset_is_reported_by_reset(frames_left):
    """The frame limit falls into the step after a lost life."""
    settings = {"life_loss": "terminal", "fire_reset": True}
    env = atari(**settings)
    env.reset(seed=1)
    steps = len(play(env, itertools.repeat(NOOP, 500), until=episode_ends))

    fire_frames = 4
    env = atari(**settings, max_frames=fire_frames + 4 * steps + frames_left)
    env.reset(seed=1)
    *_, info = play(env, itertools.repeat(NOOP, 500), until=episode_ends)[-1]
    assert "episode" not in info
    _, info = env.reset()
    assert info["episode"] == {"r": 0.0, "l": steps}
    assert info["lives"] == 5
    assert "episode" not in env.step(NOOP)[-1]


def test_a_zero_on_the_counter_is_no_end_while_the_game_goes_on():
    """Frogger plays its last life with a 0 on the counter."""
    env = atari("ALE/Frogger-v5", life_loss="terminal")
    env.reset(seed=1)
    played_on_with_zero = False
    for action in random_actions(env, seed=0):
        _, _, terminated, _, info = env.step(action)
        if info["lives"] == 0 and "episode" not in info:
            played_on_with_zero = True
            assert not terminated
        if "episode" in info:
            break
        if terminated:
            env.reset()
    assert played_on_with_zero
    assert terminated


def test_reset_plays_one_life_a_game():
    env = atari(life_loss="reset", fire_reset=True)
    first, _ = env.reset(seed=1)
    outcomes = play(env, itertools.repeat(NOOP, 500), until=episode_ends)
    *_, terminated, _, info = outcomes[-1]
    assert terminated
    assert info["lives"] == 4
    assert info["episode"] == {"r": 0.0, "l": len(outcomes)}
    again, info = env.reset()
    assert info["lives"] == 5
    np.testing.assert_array_equal(again, first)


def test_none_plays_all_lives_as_one_episode():
    env = atari(life_loss="none", fire_reset=True)
    env.reset(seed=1)
    outcomes = play(env, itertools.repeat(NOOP, 2_000), until=episode_ends)
    assert [info["lives"] for *_, info in outcomes][-1] == 0
    assert outcomes[-1][-1]["episode"]["l"] == len(outcomes)


# ── FIRE ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("fire_reset", "lives_left"), [(True, 0), (False, 5)])
def test_breakout_stands_still_unless_fire_is_pressed_after_each_life(fire_reset, lives_left):
    env = atari(life_loss="none", fire_reset=fire_reset)
    env.reset(seed=1)
    for _ in range(400):
        *_, terminated, _, info = env.step(NOOP)
        if terminated:
            break
    assert info["lives"] == lives_left


def test_with_none_fire_replaces_the_action_after_a_lost_life():
    env, unaided = atari(fire_reset=True), atari()
    env.reset(seed=1)
    unaided.reset(seed=1)
    unaided.step(FIRE)
    lives = 5
    due = False
    for action in itertools.islice(random_actions(env, seed=2), 300):
        observation, *_, info = env.step(action)
        np.testing.assert_array_equal(observation, unaided.step(FIRE if due else action)[0])
        due, lives = info["lives"] < lives, info["lives"]
        if "episode" in info:
            break
    assert lives < 5


def stable_baselines3s(env_id: str) -> gymnasium.Env:
    """Stable-Baselines3's wrappers around the game in grey."""
    wrappers = pytest.importorskip("stable_baselines3.common.atari_wrappers")
    env = gymnasium.make(env_id, obs_type="grayscale", frameskip=1, repeat_action_probability=0.0)
    env = wrappers.MaxAndSkipEnv(wrappers.NoopResetEnv(env, noop_max=1), skip=4)
    return wrappers.FireResetEnv(wrappers.EpisodicLifeEnv(env))


@pytest.mark.parametrize("game", ["Breakout", "MontezumaRevenge", "Tennis"])
def test_fire_then_the_second_action_plays_as_stable_baselines3_does(game: str):
    theirs = stable_baselines3s(f"ALE/{game}-v5")
    env = atari(f"ALE/{game}-v5", noop_max=1, life_loss="terminal", fire_reset=True, fire_then_second=True)
    frames = [env.reset(seed=3)[0], cv2.resize(theirs.reset(seed=3)[0], (84, 84), interpolation=cv2.INTER_AREA)]
    resets = 0
    for action in random_actions(env, seed=5, limit=600):
        assert np.array_equal(*frames)
        frame, reward, terminated, truncated, _ = env.step(action)
        their_frame, their_reward, their_terminated, their_truncated, _ = theirs.step(action)
        assert (reward, terminated, truncated) == (their_reward, their_terminated, their_truncated)
        if terminated or truncated:
            frame, their_frame = env.reset()[0], theirs.reset()[0]
            resets += 1
        frames = [frame, cv2.resize(their_frame, (84, 84), interpolation=cv2.INTER_AREA)]
    assert resets > 0 or game == "Tennis"  # a match of Tennis is long


@pytest.mark.parametrize("full_action_space", [False, True])
def test_games_without_fire_are_left_alone(full_action_space):
    env = atari("ALE/Freeway-v5", fire_reset=True, full_action_space=full_action_space)
    unaided = atari("ALE/Freeway-v5", fire_reset=False)
    np.testing.assert_array_equal(env.reset(seed=1)[0], unaided.reset(seed=1)[0])


# ── Sticky actions ──────────────────────────────────────────────────────────────────────────────────────────


def test_with_certain_stickiness_nothing_but_noop_is_ever_executed():
    env, idle = atari(sticky_actions=1.0), atari()
    env.reset(seed=1)
    idle.reset(seed=1)
    for action in itertools.islice(random_actions(env, seed=1), 100):
        np.testing.assert_array_equal(env.step(action)[0], idle.step(NOOP)[0])


def test_sticky_actions_repeat_the_action_executed_the_frame_before():
    """Machado et al. (2018), section 5.2, frame by frame on an emulator."""
    env, one_frame = atari(sticky_actions=0.25), atari(frame_skip=1)
    env.reset(seed=1)
    one_frame.reset(seed=1)
    draws = copy.deepcopy(env.np_random)
    executed, repeated, frames = NOOP, 0, 0
    for action in itertools.islice(random_actions(env, seed=6), 500):
        for _ in range(4):
            repeats = draws.random() < 0.25
            executed = executed if repeats else action
            repeated, frames = repeated + repeats, frames + 1
            *_, done, _, _ = one_frame.step(executed)
            if done:
                break
        env.step(action)
        np.testing.assert_array_equal(env.render(), one_frame.render())
        if done:
            break
    assert frames > 400
    assert 0.15 < repeated / frames < 0.35


def test_the_previous_action_is_forgotten_when_a_game_starts():
    env, idle = atari(sticky_actions=1.0), atari()
    env.reset(seed=1)
    env.unwrapped._executed = env.unwrapped._actions[3]
    env.reset()
    idle.reset(seed=1)
    idle.reset()
    for _ in range(10):
        np.testing.assert_array_equal(env.step(3)[0], idle.step(NOOP)[0])


# ── Rewards, ends and actions ───────────────────────────────────────────────────────────────────────────────


def test_clipped_rewards_are_signs_and_the_reported_return_stays_raw():
    clipped, raw = atari("ALE/SpaceInvaders-v5", clip_reward=True), atari("ALE/SpaceInvaders-v5")
    for env in (clipped, raw):
        env.reset(seed=1)
    raw_outcomes = play(raw, random_actions(raw, seed=1), until=game_ends)
    outcomes = play(clipped, random_actions(clipped, seed=1), until=game_ends)
    raw_rewards = [reward for _, reward, *_ in raw_outcomes]
    assert [reward for _, reward, *_ in outcomes] == [float(np.sign(reward)) for reward in raw_rewards]
    assert max(raw_rewards) > 1
    assert outcomes[-1][-1]["episode"] == {"r": sum(raw_rewards), "l": len(raw_rewards)}


def test_negative_rewards_are_clipped_to_minus_one():
    env = atari("ALE/Pong-v5", clip_reward=True)
    env.reset(seed=1)
    rewards = {env.step(NOOP)[1] for _ in range(400)}
    assert -1.0 in rewards
    assert rewards <= {-1.0, 0.0, 1.0}


def test_max_frames_truncates_and_does_not_terminate():
    env = atari(max_frames=100)
    env.reset(seed=1)
    outcomes = play(env, itertools.repeat(NOOP, 100), until=episode_ends)
    *_, terminated, truncated, info = outcomes[-1]
    assert (terminated, truncated) == (False, True)
    assert len(outcomes) == 25
    assert info["episode"] == {"r": 0.0, "l": 25}
    env.reset()
    assert len(play(env, itertools.repeat(NOOP, 100), until=episode_ends)) == 25


def test_a_game_truncated_as_it_loses_a_life_starts_anew():
    """The frame limit falls into the step with the first lost life."""
    env = atari(life_loss="terminal", fire_reset=True)
    env.reset(seed=1)
    steps = len(play(env, itertools.repeat(NOOP, 500), until=episode_ends))
    env = atari(life_loss="terminal", fire_reset=True, max_frames=4 + 4 * steps)
    env.reset(seed=1)
    *_, truncated, info = play(env, itertools.repeat(NOOP, 500), until=episode_ends)[-1]
    assert truncated
    assert info["episode"]["l"] == steps
    assert env.reset()[1] == {"lives": 5}


@pytest.mark.parametrize("action", [-1, 4, 18])
def test_actions_out_of_range_are_refused(action):
    env = atari()
    env.reset(seed=1)
    with pytest.raises(gymnasium.error.InvalidAction, match="expected 0 to 3"):
        env.step(action)


def test_fractional_actions_are_refused():
    env = atari()
    env.reset(seed=1)
    with pytest.raises(TypeError):
        env.step(1.5)


def test_a_frame_once_returned_never_changes():
    env = atari()
    frame, _ = env.reset(seed=1)
    kept = frame.copy()
    for action in itertools.islice(random_actions(env, seed=1), 20):
        env.step(action)
    np.testing.assert_array_equal(frame, kept)


def test_the_screen_can_be_seen_in_every_render_mode():
    env = atari()
    env.reset(seed=1)
    screen = env.render()
    assert screen.shape == (210, 160, 3)
    assert screen.dtype == np.uint8
    assert screen.any()


def test_a_mode_that_the_game_lacks_is_refused_with_those_it_has():
    with pytest.raises(ConfigError, match=r"env\.kwargs\.mode = 7: this game has 0, 4, 8"):
        make_env(EnvConfig(id=BREAKOUT, kwargs={"mode": 7}, atari=AtariConfig()))
