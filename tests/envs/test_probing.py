"""`probe_env`: facts of an environment, and one message for any fault."""

import contextlib
import itertools
import subprocess
import sys

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from ppo_tui.config.collecting import AtariConfig, EnvConfig
from ppo_tui.envs import EnvInfo, make_env, probe_env
from ppo_tui.envs.probing import action_names
from ppo_tui.errors import ConfigError


def refusal(env_id: str, **settings) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        probe_env(EnvConfig(id=env_id, **settings))
    return caught.value


def test_reads_the_facts_of_an_environment():
    info = probe_env(EnvConfig(id="CartPole-v1"))
    space = make_env(EnvConfig(id="CartPole-v1")).observation_space
    assert info == EnvInfo(
        observation_space=space,
        action_space=Discrete(2),
        reward_threshold=475.0,
        action_meanings=None,
        num_masked=0,
        given_observation_space=space,
        given_action_space=Discrete(2),
    )


def test_reads_the_facts_of_an_atari_game():
    info = probe_env(EnvConfig(id="ALE/Breakout-v5", frame_stack=4, atari=AtariConfig()))
    assert info.observation_space == Box(0, 255, (84, 84), np.uint8)
    assert info.action_space == Discrete(4)
    assert info.reward_threshold is None
    assert info.action_meanings == ("NOOP", "FIRE", "RIGHT", "LEFT")


class Named(gymnasium.Env):
    """A bandit with three actions, 1 to 3, and whatever names."""

    def __init__(self, names: object) -> None:
        self.observation_space, self.action_space, self.names = Box(-1, 1, (2,)), Discrete(3, start=1), names

    def get_action_meanings(self) -> object:
        if isinstance(self.names, BaseException):
            raise self.names
        return self.names


@pytest.mark.parametrize(
    ("names", "read"),
    [
        (["LEFT", "STAY", "RIGHT"], ("LEFT", "STAY", "RIGHT")),
        ({1: "LEFT", 3: "RIGHT"}, ("LEFT", "2", "RIGHT")),
        ([0, 1.5, None], ("0", "1.5", "None")),
        (np.array(["a", "b", "c"]), ("a", "b", "c")),
        (["LEFT"], ("LEFT", "action 1", "action 2")),
        (itertools.count(), ("0", "1", "2")),
        (["\x1b[31m", "x" * 1000, ""], ("�[31m", "x" * 40, "")),
        (None, None),
        (7, None),
        ("LEFT", None),
        (ValueError("no names"), None),
        (SystemExit(1), None),
    ],
    ids=str,
)
def test_actions_may_have_any_names(names, read):
    assert action_names(Named(names)) == read


def test_environments_without_names_have_none():
    assert action_names(gymnasium.make("CartPole-v1")) is None
    assert action_names(gymnasium.make("Pendulum-v1")) is None


@pytest.mark.parametrize("env_id", ["ALE/UpNDown-v5", "ALE/TicTacToe3D-v5", "ALE/Pitfall2-v5", "ALE/SpaceInvaders-v5"])
def test_finds_the_rom_of_games_with_unusual_names(env_id):
    assert probe_env(EnvConfig(id=env_id)).observation_space.shape == (84, 84)


# ── Ids ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("env_id", "meant"),
    [
        ("LunarLander-v2", "LunarLander-v3"),
        ("Taxi-v9", "Taxi-v4"),
        ("CartPole", "CartPole-v1"),
        ("cartpole-v1", "CartPole-v1"),
        ("Cartpol-v1", "CartPole-v1"),
        ("breakout", "ALE/Breakout-v5"),
        ("Brekout-v5", "ALE/Breakout-v5"),
        ("ALE/Breakout-v4", "ALE/Breakout-v5"),
        ("ALE/Breakout-ram-v5", "ALE/Breakout-v5"),
        ("SpaceInvader", "ALE/SpaceInvaders-v5"),
    ],
)
def test_an_unknown_id_gets_the_nearest_one(env_id, meant):
    error = refusal(env_id)
    assert repr(env_id) in error.message
    assert error.hint == f"did you mean {meant!r}?"
    probe_env(EnvConfig(id=meant))


@pytest.mark.parametrize(
    "env_id",
    ["Breakout-v0", "Breakout-v4", "BreakoutDeterministic-v4", "Breakout-ram-v4", "Breakout-ramDeterministic-v0"],
)
def test_old_atari_ids_that_skip_frames_are_refused_with_the_one_to_use(env_id):
    error = refusal(env_id)
    assert "skips frames" in error.message
    assert "'ALE/Breakout-v5'" in error.hint


def test_an_environment_that_only_shares_its_name_with_a_game_is_no_old_atari_id(register):
    assert probe_env(EnvConfig(id=register(Box(-1, 1, (2,)), id="Tetris-v0"))).observation_space.shape == (2,)


def test_a_name_like_nothing_known_gets_the_way_to_list_them():
    assert "pprint_registry" in refusal("zzzzqqqq").hint


@pytest.mark.parametrize(
    "env_id", ["no_such_module:Env-v0", "a:b:c", ":", "json:NoSuchEnvironmentAtAll-v0", "🙂", "-v1"]
)
def test_malformed_ids_and_missing_modules_are_refused(env_id):
    assert repr(env_id) in refusal(env_id).message


def test_the_module_of_an_id_is_imported(tmp_path, monkeypatch):
    (tmp_path / "my_cart.py").write_text(
        "import gymnasium\ngymnasium.register('MyCart-v0', 'gymnasium.envs.classic_control:CartPoleEnv')\n"
    )
    (tmp_path / "my_broken_cart.py").write_text("raise SystemExit('out of order')\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert probe_env(EnvConfig(id="my_cart:MyCart-v0")).action_space == Discrete(2)
    del gymnasium.registry["MyCart-v0"]
    assert "SystemExit: out of order" in refusal("my_broken_cart:MyCart-v0").message


# ── Constructors ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("env_id", "package", "command"),
    [
        ("LunarLander-v3", "Box2D", "pip install 'ppo-tui[box2d]'"),
        ("Ant-v5", "mujoco", "pip install 'ppo-tui[mujoco]'"),
        ("Ant-v4", "mujoco", "pip install 'ppo-tui[mujoco]'"),
    ],
)
def test_a_missing_package_gets_the_command_that_installs_it(env_id, package, command):
    code = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "from ppo_tui.config.collecting import EnvConfig; from ppo_tui.envs import probe_env\n"
        "from ppo_tui.errors import ConfigError\n"
        f"try: probe_env(EnvConfig(id={env_id!r}))\n"
        "except ConfigError as error: print(error.message); print(error.hint)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    message, hint = result.stdout.splitlines()
    assert "a package that it needs is not installed" in message
    assert hint == command
    assert result.stderr == ""


def test_an_outdated_version_that_cannot_be_made_gets_the_newest():
    assert "'Ant-v5'" in refusal("Ant-v3").hint


def test_arguments_that_the_environment_does_not_take_are_refused():
    error = refusal("CartPole-v1", kwargs={"sutton_barto": True})
    assert "env.kwargs.sutton_barto" in error.message
    assert error.hint == "did you mean 'sutton_barto_reward'?"
    assert "sutton_barto_reward, max_episode_steps" in refusal("CartPole-v1", kwargs={"xyz": 1}).hint
    assert refusal("ALE/Pong-v5", kwargs={"xyz": 1}).hint == "it takes mode, difficulty"
    assert "render_mode" in refusal("CartPole-v1", kwargs={"render_mode": "human"}).message


def test_arguments_that_the_environment_takes_reach_it():
    config = EnvConfig(id="LunarLander-v3", kwargs={"continuous": True, "max_episode_steps": 9})
    assert probe_env(config).action_space.shape == (2,)
    with contextlib.closing(make_env(config)) as env:
        assert env.spec is not None
        assert env.spec.max_episode_steps == 9


def test_an_argument_of_a_wrong_value_shows_what_the_environment_says():
    error = refusal("FrozenLake-v1", kwargs={"map_name": "9x9"})
    assert "cannot be created" in error.message
    assert "9x9" in error.hint


@pytest.mark.parametrize("raised", [RuntimeError("no display\nand a long story"), SystemExit(3), KeyError()])
def test_a_constructor_that_raises_is_one_line(register, raised):
    def broken():
        raise raised

    error = refusal(register(entry_point=broken))
    assert type(raised).__name__ in error.message
    assert "\n" not in error.message
    assert error.__cause__ is raised


def test_a_class_that_is_no_environment_is_refused(register):
    assert "gymnasium.Env" in refusal(register(entry_point=dict)).message


def test_discrete_observations_have_nothing_to_stack():
    error = refusal("Taxi-v4", frame_stack=4)
    assert "env.frame_stack = 4" in error.message
    assert error.hint == "set env.frame_stack = 1"
    probe_env(EnvConfig(id="CartPole-v1", frame_stack=4))


# ── Gymnasium's API ─────────────────────────────────────────────────────────────────────────────────────────


class Breach(gymnasium.Env):
    """Breaks one rule: attributes and results of methods are given by name."""

    def __init__(self, **breach):
        self.observation_space, self.action_space = Box(-1, 1, (2,)), Discrete(2)
        self.__dict__.update({name: value for name, value in breach.items() if name not in ("reset", "step")})
        for name in breach.get("without", ()):
            delattr(self, name)
        self._breach = breach

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self._breach.get("reset", (np.zeros(2, np.float32), {}))

    def step(self, action):
        result = (np.zeros(2, np.float32), 1.0, False, False, {})
        return self._breach["step"](*result) if "step" in self._breach else result


def stepping(**changes):
    """The result of a step with other values at these places."""
    names = ("observation", "reward", "terminated", "truncated", "info")
    return lambda *result: tuple(changes.get(name, value) for name, value in zip(names, result, strict=True))


ZEROS = np.zeros(2, np.float32)


@pytest.mark.parametrize(
    ("breach", "words"),
    [
        ({"reset": ZEROS}, "reset() must return (observation, info), info being a dict; it returned an array"),
        ({"reset": (0.5, 0.5)}, "reset() must return (observation, info)"),
        ({"reset": None}, "it returned None"),
        ({"reset": (ZEROS, None)}, "reset() must return (observation, info), info being a dict"),
        (
            {"step": lambda o, r, te, tr, i: (o, r, te, i)},
            "truncated, info), info being a dict; it returned a tuple of 4",
        ),
        ({"step": stepping(info=None)}, "it returned a tuple of 5 that ends with None"),
        ({"step": stepping(reward=None)}, "one real number as its reward; it was None"),
        ({"step": stepping(reward="1")}, "reward; it was '1'"),
        ({"step": stepping(reward=10**5000)}, "reward; it was an integer of 16,610 bits"),
        ({"step": stepping(reward=1j)}, "reward; it was 1j"),
        ({"step": stepping(reward=np.ones(3))}, "reward; it was an array of shape (3,)"),
        ({"step": stepping(reward=[1.0, 2.0])}, "reward; it was a list of 2"),
        ({"step": stepping(terminated=None)}, "True or False as terminated; it was None"),
        ({"step": stepping(truncated="no")}, "True or False as truncated; it was 'no'"),
        ({"step": stepping(terminated=2)}, "as terminated; it was 2"),
        ({"without": ["observation_space"]}, "observation_space must be a gymnasium.spaces.Space"),
        ({"without": ["action_space"]}, "action_space must be a gymnasium.spaces.Space"),
        ({"action_space": 4}, "set in the constructor; it is 4"),
        ({"observation_space": (84, 84)}, "observation_space must be a gymnasium.spaces.Space"),
    ],
)
@pytest.mark.parametrize("limit", [None, 10])
def test_a_breach_of_the_api_is_named_in_its_words(register, breach, words, limit):
    error = refusal(register(entry_point=lambda: Breach(**breach), max_episode_steps=limit))
    assert words in error.message
    assert "\n" not in error.message


def test_a_reset_without_the_keywords_is_named(register):
    class Old(Breach):
        def reset(self):
            return ZEROS, {}

    class NoOptions(Breach):
        def reset(self, seed=None):
            return ZEROS, {}

    assert "it does not take seed and options" in refusal(register(entry_point=Old)).message
    assert "it does not take options" in refusal(register(entry_point=NoOptions, id="NoOptions-v0")).message


@pytest.mark.parametrize("reward", [1, True, np.float32(1), np.int64(1), np.ones(1), np.ones((1, 1)), np.array(1.0)])
def test_one_number_of_any_kind_is_a_reward(register, reward):
    env = make_env(
        EnvConfig(id=register(entry_point=lambda: Breach(step=stepping(reward=reward, terminated=np.True_))))
    )
    env.reset(seed=1)
    _, got, terminated, _, info = env.step(0)
    assert (float(got), terminated, info["episode"]["r"]) == (1.0, True, 1.0)


@pytest.mark.parametrize("breach", [{"metadata": None}, {"render_mode": "human"}, {"spec": None}])
def test_attributes_that_training_does_not_need_may_be_anything(register, breach):
    env_id = register(entry_point=lambda: Breach(**breach))
    assert probe_env(EnvConfig(id=env_id)).action_space == Discrete(2)
    assert make_env(EnvConfig(id=env_id)).metadata.get("render_modes", []) == []


def test_an_environment_that_mends_an_old_one_by_a_wrapper_is_none_of_these(register):
    class Mended(gymnasium.Wrapper):
        def reset(self, *, seed=None, options=None):
            return self.env.reset(seed=seed), {}

    env_id = register(entry_point=lambda: Mended(Breach(reset=ZEROS)))
    assert probe_env(EnvConfig(id=env_id)).num_masked == 0


@pytest.mark.parametrize("failing", [1, 4, 5])
def test_a_reset_that_fails_now_and_then_is_tried_again(register, failing):
    made = []

    class Flaky(Breach):
        def reset(self, *, seed=None, options=None):
            made.append(self)
            if len(made) <= failing:
                raise ConnectionError("no answer from the simulator")
            return super().reset(seed=seed)

    env_id = register(entry_point=Flaky)
    if failing < 5:
        assert probe_env(EnvConfig(id=env_id)).num_masked == 0
    else:
        message = refusal(env_id).message
        assert "its reset() raised ConnectionError: no answer from the simulator, 5 times in a row" in message


def test_a_first_step_that_raises_is_left_to_the_run(register, capsys):
    def broken(*result):
        raise ValueError("the pole broke")

    assert probe_env(EnvConfig(id=register(entry_point=lambda: Breach(step=broken)))).num_masked == 0
    assert "step() raised ValueError: the pole broke" in capsys.readouterr().err


@pytest.mark.parametrize("raised", [RuntimeError("close twice"), SystemExit(1)])
def test_a_close_that_raises_is_printed_and_no_more(register, capsys, raised):
    class Closing(Breach):
        def close(self):
            raise raised

    assert probe_env(EnvConfig(id=register(entry_point=Closing))).num_masked == 0
    assert f"close() raised {type(raised).__name__}" in capsys.readouterr().err
