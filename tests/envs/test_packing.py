"""Observations with images among other parts, packed into one array."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Sequence, Text, Tuple
from hypothesis import given, settings
from hypothesis import strategies as st

from ppo_tui.config.collecting import EnvConfig
from ppo_tui.envs import make_env, probe_env
from ppo_tui.envs.fitting import FittedObservations
from ppo_tui.envs.packing import PackedBox
from ppo_tui.envs.plain import plain_space, space_of
from ppo_tui.envs.tolerance import BadValueError
from ppo_tui.errors import ConfigError

IMAGES = st.sampled_from([(36, 36), (40, 36), (36, 40, 3), (3, 36, 40), (37, 39, 1)]).map(
    lambda shape: Box(0, 255, shape, np.uint8)
)
OTHERS = st.one_of(
    st.builds(lambda n, start: Discrete(n, start=start), st.integers(1, 5), st.integers(-3, 3)),
    st.lists(st.integers(1, 3), min_size=1, max_size=3).map(MultiDiscrete),
    st.integers(1, 4).map(MultiBinary),
    st.lists(st.integers(1, 3), max_size=2).map(lambda shape: Box(-2, 2, tuple(shape), np.float32)),
    st.just(Box(0, 255, (7, 7, 3), np.uint8)),
)
SPACES = st.recursive(
    st.one_of(IMAGES, OTHERS),
    lambda parts: st.one_of(
        st.dictionaries(st.sampled_from("abcd"), parts, min_size=1, max_size=3).map(Dict),
        st.lists(parts, min_size=1, max_size=3).map(Tuple),
    ),
    max_leaves=5,
)


def parts_of(space, observation):
    """The leaves of an observation, in the order of its space."""
    if isinstance(space, Dict | Tuple):
        entries = space.spaces.items() if isinstance(space, Dict) else enumerate(space.spaces)
        return [leaf for key, entry in entries for leaf in parts_of(entry, observation[key])]
    return [observation]


@settings(max_examples=40, deadline=None)
@given(image=IMAGES, other=SPACES, seed=st.integers(0, 99))
def test_every_part_comes_back_as_the_environment_gave_it(image, other, seed):
    space = Dict({"a": image, "b": other})
    space.seed(seed)
    observations = [space.sample() for _ in range(3)]
    fit = FittedObservations(space)
    fitted = np.stack([fit(each) for each in observations])
    assert isinstance(fit.space, PackedBox)
    assert (fitted.dtype, fitted.shape[1:], fitted.shape[1] % 4) == (np.uint8, fit.space.shape, 0)
    expected = zip(*(parts_of(space, each) for each in observations), strict=True)
    for part, given_parts in zip(fit.restore(fitted), expected, strict=True):
        np.testing.assert_array_equal(part, np.stack(given_parts))


def test_numbers_come_as_those_of_a_vector_and_images_with_their_channels_first():
    image, others = Box(0, 255, (40, 36, 3), np.uint8), {"a": Discrete(3, start=-1), "z": Box(-2, 2, (2,))}
    space, vector = Dict({"m": image, **others}), FittedObservations(Dict(others))
    space.seed(0)
    observation, fit = space.sample(), FittedObservations(space)
    numbers, (picture,) = fit.space.unpack(fit(observation))
    np.testing.assert_array_equal(numbers, vector({"a": observation["a"], "z": observation["z"]}))
    np.testing.assert_array_equal(picture, observation["m"].transpose(2, 0, 1))
    assert [(part.place, part.size, part.is_vector) for part in fit.space.numbers] == [
        ("observation['a']", 3, False),
        ("observation['z']", 2, True),
    ]


def test_the_space_leaves_its_process_as_plain_numbers_and_text():
    space = FittedObservations(Dict({"a": Tuple([Box(0, 255, (36, 40), np.uint8)]), "b": Discrete(2)})).space
    other = space_of(msgspec.msgpack.decode(msgspec.msgpack.encode(plain_space(space))))
    assert isinstance(other, PackedBox)
    assert (other, other.numbers, other.pictures) == (space, space.numbers, space.pictures)


@pytest.mark.parametrize(
    ("part", "value", "words"),
    [
        ("camera", np.zeros((36, 35, 1), np.uint8), r"observation\['camera'\] has the shape"),
        ("camera", np.full((36, 36, 1), 0.5, np.float32), r"expected uint8, got float32: observation\['camera'\]"),
        ("speed", [0.0, np.inf], r"observation\['speed'\]\[1\] is inf"),
        ("mode", 3, r"observation\['mode'\] is 3: expected a whole number from 1 to 2"),
        ("mode", None, r"observation\['mode'\]: expected int64"),
    ],
)
def test_a_wrong_part_is_named(part, value, words):
    env = make_env(EnvConfig(id="tests.training.parts:Parts-v0"))
    fit = FittedObservations(env.unwrapped.observation_space)
    env.unwrapped.reset(seed=0)
    observation = env.unwrapped.step(0)[0]
    with pytest.raises(BadValueError, match=words):
        fit({**observation, part: value})
    del observation[part]
    with pytest.raises(BadValueError, match=rf"\['{part}'\] is missing"):
        fit(observation)


# ── Texts ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_texts_are_left_out_and_named_once():
    info = probe_env(EnvConfig(id="tests.training.parts:Parts-v0"))
    assert info.notes == ("not part of what the policy sees, because it is text: observation['hint']",)
    assert "hint" not in info.given_observation_space.spaces


def test_a_text_changes_nothing_of_the_other_parts(register):
    others = {"b": Box(-1, 1, (2,)), "a": Dict({"n": Discrete(3)})}
    texts = {"m": Text(4), "a": Dict({"n": Discrete(3), "t": Text(2), "u": Dict({"v": Text(1)})})}
    env, plain = make_env(EnvConfig(id=register(Dict({**others, **texts})))), FittedObservations(Dict(others))
    assert env.observation_space == plain.space
    observation, _ = env.reset(seed=0)
    np.testing.assert_array_equal(observation, plain(env.unwrapped.given))


@pytest.mark.parametrize(
    ("space", "words"),
    [
        (Dict({"a": Tuple([Discrete(2), Text(3)])}), r"of which \['a'\]\[1\] is Text"),
        (Dict({"m": Box(0, 255, (40, 40), np.uint8), "s": Sequence(Discrete(2))}), r"of which \['s'\] is Sequence"),
        (Dict({"t": Text(2), "u": Text(2)}), "nothing is left without its texts"),
    ],
)
def test_a_part_that_cannot_be_encoded_is_named(register, space, words):
    with pytest.raises(ConfigError, match=words) as refusal:
        make_env(EnvConfig(id=register(space)))
    assert "supported are Box" in refusal.value.hint


def test_parts_with_images_have_no_numbers_to_hide():
    with pytest.raises(ConfigError, match=r"env\.hide = \[0\].*images among other parts"):
        make_env(EnvConfig(id="tests.training.parts:Parts-v0", hide=(0,)))
