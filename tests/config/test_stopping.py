"""The settings of stop rules, and ``--until``."""

from __future__ import annotations

import gymnasium
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ppo_tui.config import (
    build_config,
    list_presets,
    load_preset,
    parse_live_value,
    preset_path,
    read_preset,
    until_overrides,
)
from ppo_tui.config.stopping import read_duration
from ppo_tui.errors import ConfigError, UsageError


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["475"], {"at": 475.0}),
        (["-110"], {"at": -110.0}),
        (["solved"], {"at": "solved"}),
        (["2h"], {"after": 7200.0}),
        (["475", "1h30min"], {"at": 475.0, "after": 5400.0}),
        (["env/reward dist=-1.5"], {"metric": "env/reward dist", "at": -1.5}),
        (["off"], {"at": None, "plateau": None, "after": None}),
    ],
)
def test_until_is_short_for_the_settings(texts, expected):
    stop = load_preset("cartpole", overrides=["stop.plateau=512", *until_overrides(texts)]).stop
    assert {name: getattr(stop, name) for name in expected} == expected


@pytest.mark.parametrize(
    "text", ["", "soon", "2 parsecs", "2h1d", "475=", "metric=1", "eval/x=high", "nan", "1e400", "eval/x=-inf"]
)
def test_what_is_no_goal_is_refused_with_examples(text):
    with pytest.raises(UsageError, match="expected a return such as 475, KEY=VALUE, solved, a time such as 2h, or off"):
        until_overrides([text])


@pytest.mark.parametrize("texts", [["475", "480"], ["2h", "3h"], ["475", "solved"], ["off", "475"], ["2h", "off"]])
def test_goals_that_contradict_each_other_are_refused(texts):
    with pytest.raises(UsageError, match="exclude each other"):
        until_overrides(texts)


@given(st.integers(0, 400), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59))
def test_times_are_read_as_written(days, hours, minutes, seconds):
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (seconds, "s")]
    text = "".join(f"{number}{unit}" for number, unit in parts if number)
    expected = days * 86_400 + hours * 3_600 + minutes * 60 + seconds
    assert read_duration(text) == (expected or None)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["stop.at=1", "stop.metric=eval/ep_rew_mean"], "there are no evaluations"),
        (["stop.at=1", "stop.metric=eval/ep_rew_mean", "eval.every=999", "stop.window=7"], "eval.episodes"),
        (["stop.plateau=100"], "256 steps between two updates"),
        (["stop.plateau=500", "stop.metric=eval/ep_rew_mean", "eval.every=999"], "999 steps between two evaluations"),
        (["stop.at=inf"], "stop.at = inf: expected a finite number"),
        (["stop.at=nan"], "stop.at = nan: expected a finite number"),
        (["stop.at=-1e13"], "of at least -1e12"),
        (["stop.at=good"], "expected a number or 'solved'"),
        (["stop.held=0"], "at least 1"),
        (["stop.window=101"], "at most 100"),
        (["stop.after=soon"], "expected seconds, or a time such as 90min"),
        (["stop.after=0"], "above 0"),
        (["stop.metric=return"], "key of the metric"),
        (["stop.metrc=rollout/x"], "did you mean 'stop.metric'"),
    ],
)
def test_values_without_a_meaning_are_refused(overrides, message):
    with pytest.raises(ConfigError, match=message):
        load_preset("cartpole", overrides=overrides)


def test_times_and_goals_may_change_while_a_run_trains():
    assert parse_live_value("stop.after", "3h") == 10_800
    assert parse_live_value("stop.at", None) is None
    with pytest.raises(ConfigError, match="expected seconds"):
        parse_live_value("stop.after", "later")


def test_none_takes_any_optional_setting_away():
    config = load_preset("cartpole", overrides=["run.max_episodes=5", "ppo.target_kl=0.1"])
    assert (config.run.max_episodes, config.ppo.target_kl) == (5, 0.1)
    gone = load_preset("cartpole", overrides=["run.max_episodes=none", "ppo.target_kl=off"])
    assert (gone.run.max_episodes, gone.ppo.target_kl) == (None, None)


@pytest.mark.parametrize("preset", sorted(list_presets()))
def test_presets_name_the_threshold_of_their_environment_without_using_it(preset: str):
    tables = read_preset(preset_path(preset))
    threshold = None
    if not tables["env"]["id"].startswith("ALE/"):
        threshold = gymnasium.spec(tables["env"]["id"]).reward_threshold
    text = preset_path(preset).read_text()
    assert "stop" not in tables
    assert ("# [stop]\n# at = " in text) == (threshold is not None)
    if threshold is not None:
        named = text.partition("# [stop]\n# at = ")[2].split()[0]
        assert float(named) == threshold
        assert build_config({**tables, "stop": {"at": float(named)}}).stop.at == threshold
