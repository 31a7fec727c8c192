"""A configuration is strict: bad settings are refused with a remedy."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ppo_tui.config import (
    LIVE_FIELDS,
    Config,
    OnResume,
    all_settings,
    apply_overrides,
    build_config,
    complete_older,
    full_name,
    get_value,
    list_presets,
    load_preset,
    parse_live_value,
    replace_value,
    short_names,
    to_tables,
    to_toml,
)
from ppo_tui.errors import ConfigError, UsageError
from ppo_tui.protocol import SetValue
from ppo_tui.runs.client import command_from
from ppo_tui.sweeps.space import read_search


@pytest.mark.parametrize("name", list_presets())
def test_every_preset_loads_and_survives_a_round_trip_through_toml(name: str):
    config = load_preset(name)
    assert build_config(tomllib.loads(to_toml(config))) == config
    assert config.batch_size % config.ppo.minibatches == 0


def test_breakout_is_the_canonical_protocol():
    """PPO on Atari as in OpenAI's baselines and CleanRL."""
    config = load_preset("breakout")
    assert (config.rollout.num_envs, config.rollout.steps, config.minibatch_size) == (8, 128, 256)
    assert (config.ppo.epochs, config.ppo.clip_range, config.ppo.gamma, config.ppo.gae_lambda) == (4, 0.1, 0.99, 0.95)
    assert (config.ppo.value_coef, config.ppo.entropy_coef) == (0.5, 0.01)
    assert (config.optim.learning_rate, config.optim.learning_rate_schedule) == (2.5e-4, "linear")
    assert (config.optim.adam_eps, config.optim.max_grad_norm) == (1e-5, 0.5)
    atari = config.env.atari
    assert (atari.frame_skip, atari.noop_max, atari.life_loss, atari.fire_reset) == (4, 30, "terminal", True)
    assert (atari.clip_reward, atari.sticky_actions, config.env.frame_stack) == (True, 0.0, 4)
    assert config.run.total_steps == 10_000_000


def test_labml_differs_where_the_annotated_experiment_does():
    config = load_preset("breakout-labml")
    assert (config.ppo.epochs, config.optim.learning_rate, config.num_updates) == (8, 1e-3, 10_000)
    atari = config.env.atari
    assert (atari.life_loss, atari.noop_max, atari.fire_reset, atari.clip_reward) == ("reset", 0, False, False)


def test_derived_sizes():
    config = load_preset("cartpole", overrides=["run.total_steps=100_000"])
    assert (config.batch_size, config.minibatch_size, config.num_updates, config.planned_steps) == (
        256,
        256,
        391,
        100_096,
    )


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("optim.learning_rte=1", ["optim.learning_rte", "did you mean 'optim.learning_rate'"]),
        ("optim.clip_range=1", ["optim.clip_range", "did you mean 'ppo.clip_range'"]),
        ("optim.lr=1", ["optim.lr", "did you mean 'optim.learning_rate'"]),
        ("gama=1", ["unknown setting 'gama'", "did you mean 'ppo.gamma'"]),
        ("learning_rte=1", ["unknown setting", "did you mean 'optim.learning_rate'"]),
        ("xyzzy=1", ["unknown setting 'xyzzy'", "sections env, workers"]),
        ("lr=fast", ["optim.learning_rate = 'fast'", "a number"]),
        ("pp.gamma=1", ["unknown section 'pp'", "did you mean 'ppo'"]),
        ("optim.learning_rate=fast", ["optim.learning_rate = 'fast'", "a number"]),
        ("optim.learning_rate=-1", ["optim.learning_rate = -1", "at least 0"]),
        ("optim.learning_rate=nan", ["optim.learning_rate = nan", "number"]),
        ("ppo.epochs=2.5", ["ppo.epochs = 2.5", "a whole number"]),
        ("ppo.epochs=true", ["ppo.epochs = true", "a whole number"]),
        ("ppo.gamma=1.01", ["ppo.gamma = 1.01", "at most 1"]),
        ("ppo.minibatches=3", ["ppo.minibatches = 3", "8 × 128 = 1024", "2, 4"]),
        ("ppo.minibatches=1024", ["minibatches of one step", "fewer"]),
        ("workers.count=0", ["workers.count = 0", "at least one", "auto"]),
        ("workers.count=9", ["workers.count = 9", "only 8 environments", "--envs 9"]),
        ("workers.count=many", ["workers.count = 'many'", "'auto'"]),
        ("env.atari.life_loss=rest", ["env.atari.life_loss = 'rest'", "did you mean 'reset'"]),
        ("env.kwargs.frameskip=4", ["double frame skip", "4 × 4", "env.atari.frame_skip"]),
        ("env.kwargs.repeat_action_probability=0.25", ["env.atari.sticky_actions"]),
        ("env.kwargs.mod=1", ["env.kwargs.mod", "did you mean 'mode'"]),
        ("run.device=gpu", ["run.device = 'gpu'", "cuda"]),
        ("run.seed=99999999999999999999999", ["run.seed", "at most"]),
        ("policy.hidden=[64, 0]", ["policy.hidden = [64, 0]", "at least 1"]),
        ("ppo=3", ["ppo = 3", "table"]),
        ("env.id=''", ["env.id = ''", "length"]),
    ],
)
def test_bad_settings_are_refused_with_value_rule_and_remedy(override: str, words: list[str]):
    with pytest.raises(ConfigError) as caught:
        load_preset("breakout", overrides=[override])
    for word in words:
        assert word in str(caught.value)


def test_atari_settings_do_not_go_with_other_environments():
    with pytest.raises(ConfigError, match="'CartPole-v1' is not an Atari game"):
        load_preset("cartpole", overrides=["env.atari.noop_max=3"])


@pytest.mark.parametrize("override", ["optim.learning_rate", "=3", "a..b=3", ".=3", "run.seed=1\nx=2", "run.seed="])
def test_overrides_that_are_none_are_refused(override: str):
    with pytest.raises(UsageError, match="--set"):
        load_preset("breakout", overrides=[override])


def test_short_names_stand_for_settings_wherever_one_is_named():
    """In overrides of any command, `ctl set` and a sweep's search."""
    config = load_preset(
        "cartpole", overrides=["lr=1e-4", "gamma = 0.9", "learning-rate-schedule.final=1e-5", "seed=3"]
    )
    assert (config.optim.learning_rate, config.ppo.gamma, config.run.seed) == (1e-4, 0.9, 3)
    assert get_value(config, "optim.learning_rate_schedule.final") == 1e-5
    assert command_from("set", ["lr", "5e-4"]) == SetValue(key="optim.learning_rate", value=5e-4)
    assert [one.key for one in read_search("cartpole", ["lr=1e-4"], ["clip=0.1..0.3", "epochs=2,4"])] == [
        "ppo.clip_range", "ppo.epochs",
    ]  # fmt: skip
    assert all(full_name(name) == key for name, key in short_names().items())
    assert len({key.rpartition(".")[2] for key in all_settings()}) == len(all_settings()), "each name is one setting's"


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("seed", "run.seed cannot be changed while a run trains"),
        ("optim.lr", "no live setting is called 'optim.lr'.*did you mean 'optim.learning_rate'"),
        ("gama", "did you mean 'ppo.gamma'"),
    ],
)
def test_a_live_setting_is_refused_for_its_true_reason(key, words):
    for refused in (lambda: command_from("set", [key, "1"]), lambda: parse_live_value(full_name(key) or key, 1)):
        with pytest.raises(ConfigError, match=re.compile(words, re.DOTALL)):
            refused()


@pytest.mark.parametrize("value", ["nan", "inf", "-1e400", "words"])
def test_what_is_no_value_never_leaves_for_the_run(value):
    """In JSON, NaN and infinities are null, which takes a stop rule away."""
    with pytest.raises(ConfigError, match="expected a"):
        command_from("set", ["until", value])


def test_a_single_override_needs_no_list():
    for allow in (False, True):
        assert load_preset("cartpole", overrides="run.seed=7", allow_import=allow).run.seed == 7


def test_overrides_take_toml_values_and_bare_words():
    data = apply_overrides(
        {"a": {"b": 1}},
        ["a.b=2", "a.c=[1, 2]", "d.e.f=word", 'a.s="two words"', "a.x=1e-4", "a.t=true", "env.id=ALE/X-v5"],
    )
    assert data == {
        "a": {"b": 2, "c": [1, 2], "s": "two words", "x": 1e-4, "t": True},
        "d": {"e": {"f": "word"}},
        "env": {"id": "ALE/X-v5"},
    }


PRESET_FILES = {
    "empty": (b"", ["is empty", "[env]"]),
    "blank": (b" \n\n", ["is empty"]),
    "binary": (b"\x7fELF\0\0\1", ["binary"]),
    "latin-1": ("# año\n".encode("latin-1"), ["line 1", "0xf1", "UTF-8"]),
    "broken": (b"[env\nid = 3", ["not valid TOML", "line 1"]),
    "nested": (b"x = " + b"[" * 5000, ["not valid TOML"]),
    "no-env": (b"[run]\nseed = 1\n", ["env.id is missing"]),
    "env-is-text": (b"env = 'CartPole-v1'\n", ["env = 'CartPole-v1'", "table"]),
    "huge": (b"#" * 1_000_001, ["larger than"]),
    "huge-integer": (b"[env]\nid='CartPole-v1'\n[run]\nseed = " + b"9" * 5000, ["not valid TOML"]),
    "network": (
        b"[env]\nid = 'CartPole-v1'\n[policy]\nnetwork = 'antigravity:Net'\n",
        ["'antigravity'", "--allow-import"],
    ),
    "code": (b"[env]\nid = 'antigravity:Env-v0'\n", ["'antigravity'", "--allow-import"]),
}


@pytest.mark.parametrize("name", PRESET_FILES)
def test_preset_files_that_are_none_are_refused_by_name(name: str, tmp_path):
    content, words = PRESET_FILES[name]
    path = tmp_path / f"{name}.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_preset(str(path))
    for word in words:
        assert word in str(caught.value)


def test_a_directory_a_device_and_a_missing_file_are_no_presets(tmp_path):
    with pytest.raises(ConfigError, match="is a directory"):
        load_preset(str(tmp_path))
    with pytest.raises(ConfigError, match="not a regular file"):
        load_preset("/dev/zero")
    with pytest.raises(UsageError, match="no preset file"):
        load_preset(str(tmp_path / "gone.toml"))
    with pytest.raises(UsageError, match="did you mean 'breakout'"):
        load_preset("brekout")
    with pytest.raises(UsageError, match="unknown preset"):
        load_preset("x" * 5000)
    with pytest.raises(UsageError, match="unknown preset"):
        load_preset("nul\0byte")
    with pytest.raises(UsageError, match="unknown preset ''"):
        load_preset("")


def test_a_byte_order_mark_and_windows_lines_are_fine(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xef\xbb\xbf[env]\r\nid = 'CartPole-v1'\r\n")
    assert load_preset(str(path)).env.id == "CartPole-v1"


toml_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.dates()
    | st.sampled_from(["auto", "linear", "CartPole-v1", "ALE/Pong-v5", 0, -1, 1e308]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
sections = {
    section.name: [field.name for field in msgspec.structs.fields(section.type)]
    for section in msgspec.structs.fields(Config)
}
random_presets = st.fixed_dictionaries(
    {},
    optional={
        name: st.dictionaries(st.sampled_from(fields) | st.text(max_size=5), toml_values, max_size=4) | toml_values
        for name, fields in sections.items()
    },
)


@given(random_presets, st.booleans())
def test_any_table_builds_a_config_or_is_refused_as_one(data: dict, with_env: bool):
    if with_env:
        data = {**data, "env": {"id": "CartPole-v1"}}
    try:
        config = build_config(data)
    except ConfigError:
        return  # any other exception fails the test
    assert build_config(tomllib.loads(to_toml(config))) == config


def test_live_fields_are_those_that_labml_changes_and_more():
    assert {
        "optim.learning_rate",
        "ppo.epochs",
        "ppo.clip_range",
        "ppo.value_coef",
        "ppo.entropy_coef",
    } <= set(LIVE_FIELDS)
    for key, field in LIVE_FIELDS.items():
        assert field.description
        assert field.live.low < field.live.high
        parse_live_value(key, field.live.low)
        parse_live_value(key, field.live.high)


def test_nudges_stay_round_and_in_range():
    clip, rate, epochs = (LIVE_FIELDS[key] for key in ("ppo.clip_range", "optim.learning_rate", "ppo.epochs"))
    value = 0.1
    for _ in range(10):
        value = clip.nudged(value, 1)
    assert value == 0.2
    assert rate.nudged(4e-4, 1) == 5e-4
    assert rate.nudged(5e-4, -1) == 4e-4
    assert rate.nudged(0.1, 1) == 0.1
    assert epochs.nudged(1, -1) == 1
    assert isinstance(epochs.nudged(4, 1), int)


def test_live_values_are_checked_like_presets():
    assert parse_live_value("ppo.epochs", 3) == 3
    assert parse_live_value("ppo.target_kl", None) is None
    with pytest.raises(ConfigError, match="did you mean 'ppo.clip_range'"):
        parse_live_value("ppo.clip_rnge", 0.1)
    with pytest.raises(ConfigError, match="rollout.num_envs cannot be changed"):
        parse_live_value("rollout.num_envs", 4)
    with pytest.raises(ConfigError, match="ppo.clip_range = 0"):
        parse_live_value("ppo.clip_range", 0)


def test_replacing_a_value_leaves_the_rest():
    config = load_preset("cartpole")
    changed = replace_value(config, "ppo.gamma", 0.5)
    assert get_value(changed, "ppo.gamma") == 0.5
    assert replace_value(changed, "ppo.gamma", config.ppo.gamma) == config


FIXED = {
    *("env.id", "env.frame_stack", "env.hide", "env.action_masks", "env.atari.screen_size"),
    *("env.atari.full_action_space", "rollout.num_envs", "optim.name", "run.algorithm", "run.init_from", "run.seed"),
    *("policy.network", "policy.hidden", "policy.activation", "policy.shared", "policy.recurrent"),
    *("policy.recurrent_size", "policy.init", "policy.log_std_init", "policy.squash_actions"),
    "policy.normalize_images",
    "policy.normalize_observations",
    "policy.layer_norm",
    "ppo.normalize_values",
}
HARMLESS = {
    *("env.on_bad_value", "eval.every", "eval.episodes", "eval.max_steps", "eval.greedy", "run.max_episodes"),
    *("stop.metric", "stop.at", "stop.better", "stop.window", "stop.held", "stop.plateau", "stop.gain", "stop.after"),
    "run.checkpoint_seconds",
    *("run.keep_checkpoints", "run.diagnostics", "run.device", "run.torch_threads", "workers.count", "workers.groups"),
    *("workers.max_restarts", "workers.step_timeout", "workers.start_timeout"),
    *("tracking.tensorboard", "tracking.wandb", "tracking.mlflow", "tracking.project"),
    *("notify.webhook", "notify.command", "notify.on", "notify.stall_seconds"),
}


def declared_names(section: type[msgspec.Struct] = Config, prefix: str = "") -> Iterator[str]:
    for field in msgspec.structs.fields(section):
        inner = [part for part in (field.type, *get_args(field.type)) if isinstance(part, type)]
        nested = next((part for part in inner if issubclass(part, msgspec.Struct)), None)
        if nested:
            yield from declared_names(nested, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name


def test_every_setting_declares_whether_a_resume_may_change_it():
    settings = all_settings()
    assert list(settings) == list(declared_names())
    assert {key for key, setting in settings.items() if setting.on_resume == "fixed"} == FIXED
    assert {key for key, setting in settings.items() if setting.on_resume == "harmless"} == HARMLESS
    assert {setting.on_resume for setting in settings.values()} == set(get_args(OnResume))


def test_what_may_change_while_a_run_trains_may_change_when_it_is_resumed():
    assert not [key for key in LIVE_FIELDS if all_settings()[key].on_resume == "fixed"]


def test_former_names_of_settings_are_understood():
    tables = {"env": {"id": "CartPole-v1"}, "run": {"doctor": False}}
    assert not build_config(tables).run.diagnostics
    assert tables["run"] == {"doctor": False}, "the caller's tables stay as they are"
    assert build_config(apply_overrides(tables, ["run.diagnostics=true"])).run.diagnostics
    assert not load_preset("cartpole", overrides=["run.doctor=false"]).run.diagnostics
    assert load_preset("cartpole", overrides=["run.doctor=false", "run.diagnostics=true"]).run.diagnostics
    assert "doctor" not in to_toml(build_config(tables))


def test_a_setting_by_both_its_names_is_refused():
    tables = {"env": {"id": "CartPole-v1"}, "run": {"doctor": False, "diagnostics": True}}
    with pytest.raises(ConfigError, match=r"run\.doctor is called run\.diagnostics"):
        build_config(tables)


@pytest.mark.parametrize(("masks", "kept"), [("auto", "info"), (True, True), (False, False)])
def test_a_run_of_an_older_version_keeps_its_numbers(masks, kept):
    """All uint8 was divided by 255, and a mask within the observations was a feature."""
    env = {"id": "CartPole-v1", "action_masks": masks}
    tables = to_tables(build_config({"env": env, "run": {"total_steps": 2048}}))
    assert complete_older(tables) == tables
    del tables["policy"]["normalize_images"]
    config = build_config(complete_older(tables))
    assert config.policy.normalize_images is True
    assert config.env.action_masks == kept


@pytest.mark.parametrize("tables", [{}, {"env": 1, "policy": {}}, {"env": {}, "policy": []}])
def test_tables_of_no_run_stay_as_they_are(tables):
    assert complete_older(tables) == tables
