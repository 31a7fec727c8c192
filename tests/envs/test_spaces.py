"""Environments from `make_env`: observations, actions, and a score for each episode."""

import functools
import pickle
import subprocess
import sys

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Sequence, Space, Text, Tuple
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ppo_tui.config.collecting import AtariConfig, EnvConfig
from ppo_tui.envs import make_env
from ppo_tui.envs.spaces import check_spaces, describe_texts
from ppo_tui.errors import ConfigError

with_fixture = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def play_randomly(env: gymnasium.Env, steps: int) -> list[np.ndarray]:
    """Observations of `steps` steps and of the resets between them."""
    env.action_space.seed(0)
    observations = [env.reset(seed=0)[0]]
    for _ in range(steps):
        observation, _, terminated, truncated, _ = env.step(env.action_space.sample())
        observations.append(observation)
        if terminated or truncated:
            observations.append(env.reset()[0])
    return observations


@pytest.mark.parametrize(
    ("env_id", "shape"),
    [("CartPole-v1", (4,)), ("Pendulum-v1", (3,)), ("FrozenLake-v1", (16,)), ("Taxi-v4", (500,))],
)
def test_observations_are_float32_vectors_of_the_declared_space(env_id, shape):
    env = make_env(EnvConfig(id=env_id))
    assert isinstance(env.observation_space, Box)
    assert env.observation_space.shape == shape
    for observation in play_randomly(env, 100):
        assert observation.dtype == np.float32
        assert observation in env.observation_space


def test_discrete_observations_are_one_hot():
    env, plain = make_env(EnvConfig(id="FrozenLake-v1")), gymnasium.make("FrozenLake-v1")
    observation, _ = env.reset(seed=1)
    state, _ = plain.reset(seed=1)
    for action in [2, 1, 2, 1]:
        np.testing.assert_array_equal(observation, np.eye(16, dtype=np.float32)[state])
        observation, *_ = env.step(action)
        state, *_ = plain.step(action)


@with_fixture
@given(n=st.integers(1, 9), start=st.integers(-20, 20))
def test_discrete_spaces_may_start_anywhere(register, n, start):
    env = make_env(EnvConfig(id=register(Discrete(n, start=start), Discrete(n, start=start))))
    assert env.action_space == Discrete(n)
    observation, _ = env.reset(seed=0)
    assert observation.argmax() == env.unwrapped.given - start
    assert observation.sum() == 1
    for action in range(n):
        env.step(action)
    assert env.unwrapped.actions == list(range(start, start + n))


@pytest.mark.parametrize(
    ("given_shape", "shape"),
    [
        ((96, 64, 3), (3, 96, 64)),
        ((40, 50, 1), (1, 40, 50)),
        ((3, 96, 64), (3, 96, 64)),
        ((4, 84, 84), (4, 84, 84)),
        ((84, 84), (84, 84)),
    ],
)
def test_images_stay_uint8_and_come_channel_first(register, given_shape, shape):
    env = make_env(EnvConfig(id=register(Box(0, 255, given_shape, np.uint8))))
    image, _ = env.reset(seed=0)
    assert env.observation_space == Box(0, 255, shape, np.uint8)
    assert image.shape == shape
    assert image.dtype == np.uint8
    original = env.unwrapped.given
    np.testing.assert_array_equal(image, original if given_shape == shape else original.transpose(2, 0, 1))


@with_fixture
@given(
    shape=st.lists(st.integers(1, 4), max_size=4).map(tuple),
    dtype=st.sampled_from([np.float16, np.float32, np.float64, np.int8, np.int64]),
)
def test_every_other_box_is_a_float32_vector(register, shape, dtype):
    env = make_env(EnvConfig(id=register(Box(-3, 3, shape, dtype))))
    size = int(np.prod(shape))
    assert env.observation_space == Box(-3, 3, (size,), np.float32)
    vector, _ = env.reset(seed=0)
    assert vector.dtype == np.float32
    np.testing.assert_array_equal(vector, np.ravel(env.unwrapped.given).astype(np.float32))


@pytest.mark.filterwarnings("error")
def test_bounds_beyond_float32_are_infinite(register):
    env = make_env(EnvConfig(id=register(Box(-1e300, 1e300, (2,), np.float64))))
    assert not env.observation_space.is_bounded()


def test_an_environment_that_returns_other_than_it_declares_is_still_float32(register):
    env_id = register(Box(-1, 1, (2,), np.float32))
    env = make_env(EnvConfig(id=env_id))
    env.unwrapped.observation_space = Box(-1, 1, (2,), np.float64)
    assert env.reset()[0].dtype == np.float32


def test_continuous_actions_are_clipped_to_the_environments_bounds(register):
    env = make_env(EnvConfig(id=register(Discrete(2), Box(np.float32([-1, 0]), np.float32([1, 5])), length=9)))
    assert env.action_space.shape == (2,)
    assert env.action_space == env.unwrapped.action_space
    env.reset()
    for action in ([7, 7], [-7, -7], [0.5, 2]):
        env.step(np.float32(action))
    np.testing.assert_array_equal(env.unwrapped.actions, [[1, 5], [-1, 0], [0.5, 2]])


@pytest.mark.parametrize(
    "space",
    [Dict({"a": Text(2)}), Tuple([Discrete(2), Sequence(Discrete(2))]), Dict({"b": Dict({"a": Text(2)})}), Text(4)],
    ids=lambda space: type(space).__name__,
)
def test_unsupported_spaces_are_refused_with_those_that_are_supported(register, space):
    with pytest.raises(ConfigError, match="its observations are") as refusal:
        make_env(EnvConfig(id=register(space)))
    assert type(space).__name__ in refusal.value.message
    assert "supported are Box" in refusal.value.hint
    with pytest.raises(ConfigError, match="its actions are") as refusal:
        make_env(EnvConfig(id=register(None, space)))
    assert "supported are Discrete" in refusal.value.hint


@pytest.mark.parametrize("space", [Box(-1, 1, (0,)), Box(0, 9, (2,), np.int64)])
def test_actions_that_are_no_real_numbers_are_refused(register, space):
    with pytest.raises(ConfigError, match="have the shape"):
        make_env(EnvConfig(id=register(None, space)))


@pytest.mark.parametrize("space", [Box(0, 255, (2, 8, 8, 3), np.uint8), Box(-1, 1, (0,))])
def test_observations_that_no_network_takes_are_refused(register, space):
    with pytest.raises(ConfigError, match="its observations"):
        make_env(EnvConfig(id=register(space)))


def test_what_a_dict_holds_becomes_one_vector_with_what_is_discrete_one_hot(register):
    space = Dict(
        position=Box(-1, 1, (2,)), door=Discrete(3, start=1), lamps=MultiBinary(2), dials=MultiDiscrete([2, 3]),
        deep=Dict(x=Box(0, 255, (2, 2), np.uint8)),
    )  # fmt: skip
    env = make_env(EnvConfig(id=register(space)))
    vector, _ = env.reset(seed=0)
    assert env.observation_space.shape == vector.shape == (2 + 3 + 2 + 5 + 4,)
    assert vector.dtype == np.float32
    given, parts = env.unwrapped.given, {}
    for key, size in (("position", 2), ("door", 3), ("lamps", 2), ("dials", 5), ("deep", 4)):
        parts[key], vector = vector[:size], vector[size:]
    np.testing.assert_array_equal(parts["position"], given["position"])
    np.testing.assert_array_equal(parts["door"], np.eye(3)[given["door"] - 1])
    np.testing.assert_array_equal(parts["lamps"], given["lamps"])
    np.testing.assert_array_equal(parts["dials"], [*np.eye(2)[given["dials"][0]], *np.eye(3)[given["dials"][1]]])
    np.testing.assert_array_equal(parts["deep"], given["deep"]["x"].ravel())


def test_choices_may_start_anywhere_too(register):
    env = make_env(EnvConfig(id=register(Discrete(2), MultiDiscrete([2, 3], start=[5, -1]))))
    assert env.action_space == MultiDiscrete([2, 3])
    env.reset()
    env.step(np.array([1, 2]))
    np.testing.assert_array_equal(env.unwrapped.actions, [[6, 1]])


def test_hidden_numbers_are_left_out_and_nothing_else():
    whole, masked = (make_env(EnvConfig(id="CartPole-v1", hide=hide)) for hide in ((), (1, 3)))
    assert masked.observation_space == Box(whole.observation_space.low[[0, 2]], whole.observation_space.high[[0, 2]])
    for seen, shown in zip(play_randomly(whole, 60), play_randomly(masked, 60), strict=True):
        np.testing.assert_array_equal(seen[[0, 2]], shown)


@pytest.mark.parametrize("hide", [(4,), (1, 99), (0, 1, 2, 3)])
def test_hiding_what_is_not_there_or_everything_is_refused(hide):
    with pytest.raises(ConfigError, match=r"env\.hide = .*'CartPole-v1' have the numbers 0 to 3"):
        make_env(EnvConfig(id="CartPole-v1", hide=hide))


def test_images_have_no_numbers_to_hide(register):
    env_id = register(Box(0, 255, (40, 40), np.uint8))
    with pytest.raises(ConfigError, match=r"env\.hide = \[0\].*images or boards of shape \[40, 40\]"):
        make_env(EnvConfig(id=env_id, hide=(0,)))


def test_a_refused_environment_is_closed(register):
    closed = []

    class Unlearnable(gymnasium.Env):
        observation_space = Text(3)
        action_space = Discrete(2)
        metadata = {"render_modes": []}  # noqa: RUF012

        def close(self):
            closed.append(True)

    with pytest.raises(ConfigError):
        make_env(EnvConfig(id=register(entry_point=Unlearnable)))
    assert closed == [True]


# ── Scores ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_step_that_ends_an_episode_reports_it_and_no_other_does(register):
    env = make_env(EnvConfig(id=register(length=4)))
    for _ in range(2):
        env.reset()
        infos = [env.step(0)[-1] for _ in range(4)]
        assert [info.get("episode") for info in infos] == [None, None, None, {"r": 2.0, "l": 4}]


def test_a_truncated_episode_is_reported_too():
    env = make_env(EnvConfig(id="CartPole-v1", kwargs={"max_episode_steps": 5}))
    env.reset(seed=0)
    *_, truncated, info = [env.step(step % 2) for step in range(5)][-1]
    assert truncated
    assert info["episode"] == {"r": 5.0, "l": 5}


def test_an_abandoned_episode_leaves_nothing_behind(register):
    env = make_env(EnvConfig(id=register(length=2)))
    env.reset()
    env.step(0)
    env.reset()
    env.step(0)
    assert env.step(0)[-1]["episode"] == {"r": 1.0, "l": 2}


# ── Processes ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("config", [EnvConfig(id="CartPole-v1"), EnvConfig(id="ALE/Pong-v5", atari=AtariConfig())])
def test_a_factory_survives_pickling(config):
    factory = pickle.loads(pickle.dumps(functools.partial(make_env, config)))
    env = factory()
    assert env.reset(seed=0)[0] in env.observation_space


def test_other_environments_load_neither_torch_nor_the_emulator():
    code = (
        "import sys; from ppo_tui.config.collecting import EnvConfig; from ppo_tui.envs import make_env;"
        "make_env(EnvConfig(id='CartPole-v1')).reset();"
        "print({'torch', 'textual', 'ale_py', 'cv2'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"
    assert result.stderr == ""


def test_an_atari_game_prints_nothing_when_it_starts():
    code = (
        "from ppo_tui.config.collecting import EnvConfig; from ppo_tui.envs import make_env;"
        "make_env(EnvConfig(id='ALE/Pong-v5')).reset(seed=1)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (result.stdout, result.stderr) == ("", "")


def test_pictures_are_made_where_they_are_asked_for():
    env = make_env(EnvConfig(id="CartPole-v1"), render_mode="rgb_array")
    env.reset(seed=0)
    assert env.render().shape[2] == 3


@pytest.mark.parametrize(
    ("space", "words"),
    [
        (Dict(a=Box(0, 1, (0,))), "are empty"),
        (Tuple([Box(0, 1, (2, 0)), Dict(b=Box(0, 1, (0,)))]), "are empty"),
        (Dict(a=Discrete(10**9), b=Box(0, 1, (2,))), "1,000,000,002 numbers"),
        (Discrete(10**12), "1,000,000,000,000 numbers"),
        (MultiDiscrete([2**30, 2**30]), "2,147,483,648 numbers"),
    ],
    ids=str,
)
def test_observations_without_numbers_or_of_too_many_are_refused(space: Space, words: str):
    with pytest.raises(ConfigError, match=words):
        check_spaces(EnvConfig(id="Odd-v0"), space, Discrete(2))


def test_thousands_of_texts_are_named_in_a_short_remark(register):
    space = Dict({f"text {number}": Text(3) for number in range(5_000)} | {"x": Box(-1, 1, (1,))})
    remark = describe_texts(make_env(EnvConfig(id=register(space))))
    assert remark is not None
    assert len(remark) < 400
    assert remark.endswith("and 4,992 more")
