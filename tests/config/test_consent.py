"""Files may name code, commands and addresses only with the user's consent."""

from __future__ import annotations

import contextlib
import shlex
import tomllib
import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ppo_tui.config import all_settings, apply_overrides, build_config, load_preset, names_outsiders, refuse_outsiders
from ppo_tui.errors import ConfigError

OUTSIDE = {
    "env.id": "antigravity:Env-v0",
    "policy.network": "antigravity:Net",
    "tracking.mlflow": "http://tracker.example:5000",
    "tracking.wandb": "online",
    "notify.webhook": "https://hooks.example/a?b=c#d",
    "notify.command": "tell me 'twice'",
}
OWN_WORDS = "[env]\nid = 'CartPole-v1'\n"


def tables(*overrides: str) -> dict:
    return apply_overrides(tomllib.loads(OWN_WORDS), overrides)


def as_toml(key: str, value: str) -> dict:
    section, name = key.split(".")
    found = tables()
    found.setdefault(section, {})[name] = value
    return found


@pytest.mark.parametrize("key", OUTSIDE)
def test_what_a_file_names_is_refused_with_setting_value_and_file_and_the_hint_can_be_typed(key: str):
    value = OUTSIDE[key]
    with pytest.raises(ConfigError) as caught:
        refuse_outsiders(as_toml(key, value), "the preset x.toml")
    assert "the preset x.toml names " in caught.value.message
    assert f"{key} = {value!r}" in caught.value.message
    hint = caught.value.hint or ""
    assert "--allow-import" in hint
    words = shlex.split(hint.splitlines()[0].partition("yourself: ")[2])
    assert words[0] == "--set"
    refuse_outsiders(as_toml(key, value), "the preset x.toml", overrides=[words[1]])
    set_by_hint = apply_overrides(as_toml(key, "other"), [words[1]])
    assert set_by_hint[key.split(".")[0]][key.split(".")[1]] == value


@pytest.mark.parametrize("key", ["tracking.mlflow", "tracking.wandb", "notify.webhook", "notify.command"])
def test_the_hint_also_says_how_to_go_without(key: str):
    with pytest.raises(ConfigError) as caught:
        refuse_outsiders(as_toml(key, OUTSIDE[key]), "x")
    last = (caught.value.hint or "").splitlines()[-1]
    _, override = shlex.split(last.partition("without: ")[2])
    refuse_outsiders(as_toml(key, OUTSIDE[key]), "x", overrides=[override])
    config = build_config(apply_overrides(as_toml(key, OUTSIDE[key]), [override]))
    assert not names_outsiders(config)


def test_all_of_them_are_named_at_once_and_naming_one_does_not_allow_another():
    found: dict = {}
    for key, value in OUTSIDE.items():
        section, name = key.split(".")
        found.setdefault(section, {})[name] = value
    with pytest.raises(ConfigError) as caught:
        refuse_outsiders(found, "x")
    for value in OUTSIDE.values():
        assert repr(value) in caught.value.message
    with pytest.raises(ConfigError) as caught:
        refuse_outsiders(found, "x", overrides=["env.id=mine:Env-v0", "notify.webhook=http://mine.example"])
    assert "env.id" not in caught.value.message
    assert "notify.webhook" not in caught.value.message
    assert "notify.command" in caught.value.message


@pytest.mark.parametrize("value", ["http://x", "file:///etc", "sqlite:///x.db", "../elsewhere", "mlruns", "databricks"])
def test_every_place_of_mlflow_counts_directories_too(value: str):
    with pytest.raises(ConfigError, match="tracking.mlflow"):
        refuse_outsiders(as_toml("tracking.mlflow", value), "x")


def test_what_talks_to_nobody_needs_no_consent():
    refuse_outsiders(tables("tracking.wandb=offline", "tracking.mlflow=off", "tracking.tensorboard=true"), "x")
    # Only code matters where a policy is merely played.
    refuse_outsiders(as_toml("notify.webhook", "https://hooks.example"), "x", parties=("code",))


def test_settings_of_free_text_name_nobody_or_declare_that_they_do():
    """A new one is to be declared, or to be added here after some thought."""
    # A source of weights is read only, through the doors of checkpoints and models: nothing of it is run or unpickled.
    harmless = {"run.device", "run.init_from", "stop.metric", "tracking.project", "env.kwargs"}
    for key, one in all_settings().items():
        if str in _parts(one.type) or one.type is dict:
            assert (one.outside is None) == (key in harmless), key


def _parts(kind: typing.Any) -> list[typing.Any]:
    """The plain types in a type."""
    if hasattr(kind, "__metadata__"):
        return _parts(kind.__origin__)
    return [kind, *(part for one in typing.get_args(kind) for part in _parts(one))]


def test_a_preset_file_is_asked_after_and_shipped_ones_name_nobody(tmp_path):
    path = tmp_path / "x.toml"
    path.write_text(OWN_WORDS + "[notify]\nwebhook = 'https://hooks.example/secret'\n")
    with pytest.raises(ConfigError, match=r"the preset x\.toml names an address .*https://hooks\.example/secret"):
        load_preset(str(path))
    assert load_preset(str(path), allow_import=True).notify.webhook == "https://hooks.example/secret"
    mine = load_preset(str(path), overrides=["notify.webhook=https://mine.example"])
    assert mine.notify.webhook == "https://mine.example"
    assert load_preset(str(path), overrides=["notify={}"]).notify.webhook is None


@given(
    st.recursive(
        st.text() | st.integers() | st.booleans(),
        lambda more: st.lists(more) | st.dictionaries(st.text(), more),
        max_leaves=8,
    )
)
def test_tables_of_any_shape_are_refused_or_passed_on_and_nothing_else(value):
    for section in ("env", "notify"):
        for content in (value, {"id": value, "command": value}):
            with contextlib.suppress(ConfigError):
                refuse_outsiders({section: content}, "x")
