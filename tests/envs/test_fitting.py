"""Observations and actions between the environment's own spaces and the learner's."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Space, Tuple, flatten
from hypothesis import given, settings
from hypothesis import strategies as st

from ppo_tui.envs import EnvInfo
from ppo_tui.envs.fitting import FittedActions, FittedObservations
from ppo_tui.envs.tolerance import BadValueError
from ppo_tui.training.a3c.own_envs import OwnEnvs

SHAPES = st.lists(st.integers(1, 3), max_size=3).map(tuple)
FLOATS = st.sampled_from([np.float32, np.float64])
INTEGERS = st.sampled_from([np.int8, np.int16, np.int32, np.int64])


@st.composite
def discrete(draw) -> Discrete:
    return Discrete(draw(st.integers(1, 5)), start=draw(st.integers(-9, 9)))


@st.composite
def multi_discrete(draw) -> MultiDiscrete:
    shape = draw(SHAPES.filter(bool))
    dtype = draw(INTEGERS)
    start = np.full(shape, draw(st.integers(-9, 9)), dtype)
    return MultiDiscrete(np.full(shape, draw(st.integers(1, 4)), dtype), dtype=dtype, start=start)


def boxes(dtypes) -> st.SearchStrategy[Box]:
    return st.builds(lambda shape, dtype: Box(-2, 5, shape, dtype), SHAPES, dtypes)


ENTRIES = st.one_of(
    boxes(FLOATS),
    boxes(INTEGERS),
    discrete(),
    multi_discrete(),
    st.builds(MultiBinary, st.integers(1, 4)),
    st.builds(lambda shape: Box(0, 1, shape, np.uint8), SHAPES),
)
OBSERVATIONS = st.one_of(
    ENTRIES,
    st.builds(lambda a, b, c: Dict(a=a, b=Tuple([b, c])), ENTRIES, ENTRIES, ENTRIES),
    st.builds(lambda shape: Box(0, 255, shape, np.uint8), st.sampled_from([(4, 5), (6, 5, 2), (2, 5, 6)])),
)
ACTIONS = st.one_of(discrete(), multi_discrete(), st.builds(MultiBinary, st.integers(1, 4)), boxes(FLOATS))


@settings(max_examples=80)
@given(space=OBSERVATIONS, seed=st.integers(0, 99))
def test_what_a_space_holds_is_learnt_unchanged_and_can_be_told_back(space: Space, seed: int):
    space.seed(seed)
    fit, sample = FittedObservations(space), space.sample()
    fitted = fit(sample)
    assert fitted in fit.space
    assert not fit.remarks
    if fitted.dtype == np.float32:
        np.testing.assert_array_equal(fitted, np.asarray(flatten(space, sample), np.float32))
    for entry, back in zip(fit.entries, fit.restore(fitted), strict=True):
        np.testing.assert_allclose(back, entry.pick(sample), rtol=1e-6)  # of float64, what float32 holds
        assert back.dtype == np.asarray(entry.pick(sample)).dtype


BYTES, BOARD = Box(0, 255, (4, 4), np.uint8), Box(0, 1, (4, 4), np.uint8)


@pytest.mark.parametrize(
    ("space", "observation", "words"),
    [
        (BYTES, np.full((4, 4), 0.37, np.float32), r"expected uint8, got float32: observation\[0, 0\] is 0.37"),
        (BYTES, np.full((4, 4), 256), r"expected uint8, got int64: observation\[0, 0\] is 256"),
        (BYTES, np.full((4, 4), -1, np.int8), "expected uint8, got int8: .* is -1"),
        (BYTES, np.full((4, 4), np.nan), "expected uint8, got float64: .* is nan"),
        (BOARD, np.full((4, 4), 0.5), "expected uint8, got float64: .* is 0.5"),
        (BYTES, np.zeros((1, 4), np.uint8), r"shape \(1, 4\) instead of \(4, 4\)"),
        (BYTES, "a picture", "expected uint8, got str 'a picture'"),
        (BYTES, None, "expected uint8, got NoneType None"),
        (Box(-1, 1, (2,)), np.array([0.0, 1e300]), r"observation\[1\] is 1e\+300, too large for float32"),
        (Box(-1, 1, (2,)), np.zeros(2, complex), "expected float32, got complex128"),
        (Box(-1, 1, (2,)), np.zeros(3), r"shape \(3,\) instead of \(2,\)"),
        (Discrete(3), 3, "observation is 3: expected a whole number from 0 to 2"),
        (Discrete(3), -1, "observation is -1: expected"),
        (Discrete(3, start=1), 0, "observation is 0: expected a whole number from 1 to 3"),
        (Discrete(3), 0.5, "observation is 0.5: expected"),
        (MultiDiscrete([2, 3]), [1, 3], r"observation\[1\] is 3: expected a whole number from 0 to 2"),
        (MultiDiscrete([2, 3]), [2, 0], r"observation\[0\] is 2: expected"),
        (Dict(a=Discrete(2), b=BOARD), {"a": 2, "b": BOARD.sample()}, r"observation\['a'\] is 2: expected"),
        (Dict(a=Discrete(2), b=Discrete(2)), {"a": 1}, r"observation\['b'\] is missing"),
        (Dict(a=Discrete(2), b=Discrete(2)), np.zeros(2), r"observation\['a'\] is missing"),
    ],
)
def test_what_would_become_another_number_is_refused_with_the_value(space, observation, words):
    with pytest.raises(BadValueError, match=words):
        FittedObservations(space)(observation)


@pytest.mark.parametrize(
    ("space", "observation", "fitted"),
    [
        (BYTES, np.full((4, 4), 7, np.int64), np.full((4, 4), 7, np.uint8)),
        (BOARD, np.eye(4), np.eye(4, dtype=np.uint8)),
        (BOARD, np.eye(4, dtype=bool), np.eye(4, dtype=np.uint8)),
        (Box(-1, 1, (2,)), [0, 1], np.float32([0, 1])),
        (Box(-1, 1, (2,)), np.float64([0.1, 1]), np.float32([0.1, 1])),
        (Box(0, 9, (2,), np.int64), np.array([0, 1], object), np.float32([0, 1])),
        (Discrete(3), np.array([2]), np.float32([0, 0, 1])),
        (Discrete(3), np.float32(2), np.float32([0, 0, 1])),
    ],
)
def test_a_cast_that_changes_nothing_is_made(space, observation, fitted):
    fit = FittedObservations(space)
    np.testing.assert_array_equal(fit(observation), fitted)
    assert fit(observation).dtype == fitted.dtype
    assert not fit.remarks


@pytest.mark.parametrize(
    ("space", "observation", "words"),
    [
        (BOARD, np.full((4, 4), 2, np.uint8), "observation[0, 0] is 2, outside its bounds of 0 to 1; it is learnt as"),
        (Box(-1, 1, (2,)), np.float32([0, 3]), "observation[1] is 3.0, outside its bounds of -1 to 1"),
        (MultiBinary(2), [0, 2], "observation[1] is 2, outside its bounds of 0 to 1"),
        (Box(0, 9, (2,), np.int8), np.float32([1, 0.5]), "expected int8, got float32: observation[1] is 0.5"),
        (Dict(a=Box(0, 1, (1,))), {"a": np.float32([7])}, "observation['a'][0] is 7.0, outside"),
    ],
)
def test_what_is_learnt_as_it_is_outside_its_space_is_said_once(space, observation, words):
    fit = FittedObservations(space)
    first, second = fit(observation), fit(observation)
    np.testing.assert_array_equal(first, second)
    assert len(fit.remarks) == 1
    assert words in fit.remarks[0].text


class Judge(gymnasium.Env):
    """Fails an action that is no member of its space, and overwrites the others."""

    observation_space = Box(0, 1, (1,))

    def __init__(self, action_space: Space) -> None:
        self.action_space = action_space

    def reset(self, *, seed=None, options=None):
        return np.zeros(1, np.float32), {}

    def step(self, action):
        assert self.action_space.contains(action), repr(action)
        assert type(action) is type(self.action_space.sample())
        if isinstance(action, np.ndarray):
            assert action.flags.c_contiguous
            action[...] = 0
        else:
            action.item()
        return np.zeros(1, np.float32), 0.0, False, False, {}


@settings(max_examples=60)
@given(space=ACTIONS, seed=st.integers(0, 99))
def test_actions_reach_step_as_members_of_their_space_and_copies_of_its_own(space: Space, seed: int):
    from ppo_tui.config.collecting import EnvConfig
    from ppo_tui.envs.spaces import adapt_spaces

    learner = FittedActions(space).space
    info = EnvInfo(Judge.observation_space, learner, None, None, 0, Judge.observation_space, space)
    envs = OwnEnvs(lambda: adapt_spaces(Judge(space), EnvConfig(id="Judge-v0")), info, slots=2, seed=1)
    envs.reset_into(0, [0])
    learner.seed(seed)
    for _ in range(3):
        action = np.asarray(learner.sample())
        envs.send_step(0, action[None], 1)
        np.testing.assert_array_equal(envs.shared.actions[0], action)
    envs.close()


class Itemizing(gymnasium.Env):
    """Needs NumPy's scalars: its observation counts the actions."""

    observation_space, action_space = Box(0, 1000, (1,)), Discrete(3, start=1)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._sum = 0
        return np.float32([0]), {}

    def step(self, action):
        self._sum += action.item()
        return np.float32([self._sum]), 0.0, False, False, {}


def test_a_replayed_episode_gets_its_actions_as_they_were():
    from ppo_tui.envs.replay import RecordedEpisode

    env, other = RecordedEpisode(Itemizing), RecordedEpisode(Itemizing)
    env.reset(seed=1)
    for action in (1, 3, 2):
        env.step(np.int64(action))
    other.restore_state(env.save_state())
    assert other.step(np.int64(1))[0] == [7.0]


def test_keys_of_any_kind_are_short_and_printable_in_messages():
    hostile = "[red]\x1b[31m\u202e" + "x" * 10_000
    spaces = {key: Box(-1, 1, (1,)) for key in ("", "/", "..", "a/b", "[/]", "\ud800", hostile)}
    fit = FittedObservations(Dict(spaces))
    whole = {key: np.zeros(1, np.float32) for key in spaces}
    assert fit(whole).shape == (7,)
    with pytest.raises(BadValueError) as missing:
        fit({key: part for key, part in whole.items() if key != hostile})
    with pytest.raises(BadValueError) as odd:
        fit({**whole, hostile: "x"})
    for message in map(str, (missing.value, odd.value)):
        assert len(message) < 300
        assert message.isprintable()
