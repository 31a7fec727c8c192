"""Action masks in both conventions, and invalid ones."""

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete

from ppo_tui.config.collecting import EnvConfig
from ppo_tui.envs import make_env, probe_env
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


# ── Within the observation ──────────────────────────────────────────────────────────────────────────────────

MASK = MultiBinary(3)
VECTOR = Box(-1, 1, (2,))
PICTURE = Box(0, 255, (40, 40, 3), np.uint8)


class MaskWithin(gymnasium.Env):
    """Observes a Dict of samples and `mask`."""

    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(self, observation_space, action_space=None, mask=(0, 0, 1)):
        self.observation_space, self.action_space = observation_space, action_space or Discrete(3)
        self._mask = mask

    def _observe(self):
        return {**self.observation_space.sample(), "action_mask": np.resize(self._mask, self._shape)}

    @property
    def _shape(self):
        return self.observation_space["action_mask"].shape

    def reset(self, *, seed=None, options=None):
        return self._observe(), {}

    def step(self, action):
        return self._observe(), 0.0, False, False, {}


@pytest.mark.parametrize(
    ("space", "seen"),
    [
        (Dict(observation=VECTOR, action_mask=MASK), (2,)),
        (Dict(observations=VECTOR, action_mask=Box(0, 1, (3,), np.int8)), (2,)),
        (Dict(observations=VECTOR, action_mask=Box(0.0, 1.0, (3,))), (2,)),
        (Dict(observation=PICTURE, action_mask=MASK), (3, 40, 40)),
        (Dict(position=VECTOR, goal=VECTOR, action_mask=MASK), (4,)),
        (Dict(observation=VECTOR, goal=VECTOR, action_mask=MultiDiscrete([2, 2, 2])), (4,)),
        (Dict(observation=Dict(a=VECTOR, b=Discrete(3)), action_mask=MASK), (5,)),
    ],
)
def test_a_mask_within_the_observation_masks_and_is_no_feature(register, space, seen):
    config = EnvConfig(id=register(entry_point=lambda: MaskWithin(space)))
    info = probe_env(config)
    assert info.num_masked == 3
    assert info.observation_space.shape == seen
    assert "masks the actions" in info.notes[0]
    env = make_env(config)
    for observation, state in (env.reset(), env.step(2)[::4]):
        assert observation in info.observation_space
        assert read_mask(env, state).tolist() == [False, False, True]


def test_the_masks_of_several_choices_may_be_within_the_observation_too(register):
    space = Dict(observation=VECTOR, action_mask=MultiBinary(3))
    config = EnvConfig(id=register(entry_point=lambda: MaskWithin(space, MultiDiscrete([1, 2]), (1, 0, 1))))
    assert probe_env(config).num_masked == 3


@pytest.mark.parametrize(
    ("space", "actions"),
    [
        (Dict(observation=VECTOR, action_mask=MultiBinary(4)), None),
        (Dict(observation=VECTOR, action_mask=Box(-1, 1, (3,))), None),
        (Dict(action_mask=MASK), None),
        (Dict(observation=VECTOR, action_mask=MASK), Box(-1, 1, (3,))),
    ],
)
def test_an_entry_that_is_no_mask_is_a_feature_and_the_run_says_so(register, space, actions):
    info = probe_env(EnvConfig(id=register(entry_point=lambda: MaskWithin(space, actions))))
    assert info.num_masked == 0
    assert info.observation_space.shape == gymnasium.spaces.flatten_space(space).shape
    assert "is a feature, and masks no actions" in info.notes[0]


@pytest.mark.parametrize(("wanted", "noted"), [(False, 0), ("info", 1)])
def test_a_mask_within_the_observation_can_be_left_a_feature(register, wanted, noted):
    space = Dict(observation=VECTOR, action_mask=MASK)
    config = EnvConfig(id=register(entry_point=lambda: MaskWithin(space)), action_masks=wanted)
    info = probe_env(config)
    assert (info.num_masked, info.observation_space.shape, len(info.notes)) == (0, (5,), noted)


def test_observations_of_another_type_are_refused_with_the_value(register):
    class Floats(gymnasium.Env):
        observation_space, action_space = Box(0, 255, (40, 40, 3), np.uint8), Discrete(2)

        def reset(self, *, seed=None, options=None):
            return np.full((40, 40, 3), 0.9, np.float32), {}

    with pytest.raises(ConfigError, match=r"expected uint8, got float32: observation\[0, 0, 0\] is 0.9"):
        probe_env(EnvConfig(id=register(entry_point=Floats)))
