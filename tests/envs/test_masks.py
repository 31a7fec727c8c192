"""Action masks in both conventions, and invalid ones."""

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete

from ppo_tui.config.schema import EnvConfig
from ppo_tui.envs import probe_env
from ppo_tui.envs.spaces import read_mask
from ppo_tui.envs.tolerance import BadValueError, TolerantEnv
from ppo_tui.errors import ConfigError


class Masked(gymnasium.Env):
    """Provides `mask` in its info, or by a method."""

    metadata = {"render_modes": []}  # noqa: RUF012
    observation_space = Discrete(2)

    def __init__(self, mask, action_space=None, *, by_method=False):
        self.action_space = action_space or Discrete(3)
        self._info = {} if by_method or mask is None else {"action_mask": mask}
        if by_method:
            self.action_masks = lambda: mask

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return 0, self._info


TWO = MultiDiscrete([2, 3])


@pytest.mark.parametrize("by_method", [False, True])
@pytest.mark.parametrize(
    ("space", "mask", "expected"),
    [
        (Discrete(3), np.array([1, 0, 1], np.int8), [True, False, True]),
        (Discrete(3), [True, False, False], [True, False, False]),
        (TWO, [1, 0, 0, 1, 1], [True, False, False, True, True]),
        (TWO, (np.array([1, 0]), np.array([0, 1, 1])), [True, False, False, True, True]),
    ],
)
def test_masks_are_read_from_the_info_and_from_the_method(by_method, space, mask, expected):
    env = Masked(mask, space, by_method=by_method)
    assert read_mask(env, env.reset()[1]).tolist() == expected


@pytest.mark.parametrize(
    ("space", "mask", "words"),
    [
        (Discrete(3), [1, 1], "2 entries for 3 actions"),
        (Discrete(3), [0.0, -1e9, 0.0], "made of True and False.*a list of 3"),
        (Discrete(3), [0.0, np.nan, 1.0], "made of True and False"),
        (Discrete(3), ["yes", "no", "no"], "made of True and False"),
        (Discrete(1), np.array(None), "made of True and False"),
        (Discrete(3), [0, 0, 0], "no action possible"),
        (TWO, [0, 0, 1, 1, 1], "no action possible"),
    ],
)
def test_what_is_no_mask_is_refused(register, space, mask, words):
    env = Masked(mask, space)
    with pytest.raises(BadValueError, match=words):
        read_mask(env, env.reset()[1])
    with pytest.raises(ConfigError, match=words) as refusal:
        probe_env(EnvConfig(id=register(entry_point=lambda: Masked(mask, space))))
    assert "env.action_masks = false" in refusal.value.hint


@pytest.mark.parametrize(("wanted", "found"), [("auto", 3), (True, 3), (False, 0)])
def test_masks_are_found_where_there_are_some(register, wanted, found):
    env_id = register(entry_point=lambda: Masked([1, 1, 0]))
    assert probe_env(EnvConfig(id=env_id, action_masks=wanted)).num_masked == found


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1"])
def test_others_have_none(env_id):
    assert probe_env(EnvConfig(id=env_id)).num_masked == 0


@pytest.mark.parametrize(
    ("actions", "words"),
    [(None, "provides no masks"), (Box(-1, 1, (2,)), "can be masked"), (MultiBinary(2), "can be masked")],
)
def test_masks_that_are_asked_for_and_not_there_are_missed(register, actions, words):
    with pytest.raises(ConfigError, match=words) as refusal:
        probe_env(EnvConfig(id=register(None, actions), action_masks=True))
    assert "env.action_masks = false" in refusal.value.hint


def test_a_mask_as_a_property_is_named(register):
    class Property(Masked):
        action_masks = property(lambda self: np.ones(3, bool))

    with pytest.raises(ConfigError, match=r"must be a method, def action_masks\(self\).*an array of shape \(3,\)"):
        probe_env(EnvConfig(id=register(entry_point=lambda: Property(None))))


class Flaky(Masked):
    """Raises, or allows nothing, at the calls of `action_masks` in `failing`."""

    def __init__(self, failing, what):
        super().__init__(None)
        self._info, self._calls, self._failing, self._what = {}, 0, failing, what

    def step(self, action):
        return 0, 1.0, False, False, {}

    def action_masks(self):
        self._calls += 1
        if self._calls not in self._failing:
            return [True, False, True]
        if self._what == "raise":
            raise IndexError("list index out of range")
        return [False, False, False]


@pytest.mark.parametrize(
    ("what", "words"), [("raise", "IndexError: list index out of range"), ("nothing", "leaves no action possible")]
)
def test_a_mask_that_fails_drops_its_episode_as_a_step_does(what, words):
    made = []

    def make():
        made.append(Flaky({3} if not made else {1} if len(made) < 3 else (), what))
        return made[-1]

    env = TolerantEnv(make, read_mask=read_mask)
    assert env.reset(seed=1)[1]["action_mask"].tolist() == [True, False, True]
    assert env.step(0)[4]["action_mask"].tolist() == [True, False, True]
    assert env.step(0) == (None, 0.0, False, True, {})
    (failure,) = env.take_failures()
    assert (failure.episode_step, words in failure.error) == (2, True)
    made[0]._failing = {4}
    assert env.reset()[1]["action_mask"].tolist() == [True, False, True]
    assert [failure.episode_step for failure in env.take_failures()] == [0, 0, 0]
    assert len(made) == 4


def test_a_mask_that_always_fails_at_reset_ends_the_run():
    env = TolerantEnv(lambda: Flaky(range(99), "raise"), read_mask=read_mask)
    with pytest.raises(IndexError):
        env.reset(seed=1)
    assert len(env.take_failures()) == 5


def test_a_bad_mask_stops_a_run_that_asks_for_it():
    env = TolerantEnv(lambda: Flaky({2}, "nothing"), "stop", read_mask)
    env.reset(seed=1)
    with pytest.raises(
        BadValueError, match=r"no action possible.*at step 1 of its episode \(env.on_bad_value = 'stop'\)"
    ):
        env.step(0)
