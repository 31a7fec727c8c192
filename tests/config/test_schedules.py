"""Schedules as settings: names and tables, refusals, and their course."""

from __future__ import annotations

import tomllib

import pytest

from ppo_tui.config import (
    LIVE_FIELDS,
    SCHEDULED,
    SCHEDULES,
    Config,
    ScheduleConfig,
    all_settings,
    build_config,
    course_of,
    flat_settings,
    load_preset,
    read_schedule,
    schedule_of,
    to_tables,
    to_toml,
)
from ppo_tui.errors import ConfigError, UsageError
from ppo_tui.protocol import Course
from ppo_tui.sweeps.space import read_search
from ppo_tui.training.checkpoint.resume import changed_settings, follows_the_run

LR = "optim.learning_rate_schedule"


def cartpole(*overrides: str) -> Config:
    """CartPole, with learning rate and clip range annealed linearly to 0."""
    return load_preset("cartpole", overrides=overrides)


def test_every_setting_with_a_schedule_is_known():
    own = {key for key in all_settings() if f"{key}_schedule" in all_settings()}
    assert own | {"ppo.clip_range_upper"} == set(SCHEDULED), "both clip ranges have one schedule"
    assert set(SCHEDULES) <= set(all_settings())
    assert set(SCHEDULED) <= set(LIVE_FIELDS)


@pytest.mark.parametrize("key", SCHEDULES)
@pytest.mark.parametrize("kind", ["constant", "linear", "cosine"])
def test_a_name_stands_for_its_table(key, kind):
    named = cartpole(f"{key}={kind}")
    assert named == cartpole(f"{key}.kind={kind}") == cartpole(f'{key}={{kind="{kind}"}}')
    assert f'{key.partition(".")[2]} = "{kind}"' in to_toml(named), "as files of before have it"


def test_a_table_survives_a_round_trip_through_toml():
    config = cartpole(f'{LR}={{kind="cosine", final=1e-5, warmup_steps=1000, steps=50_000}}')
    table = ScheduleConfig(kind="cosine", final=1e-5, warmup_steps=1000, steps=50_000)
    assert config.optim.learning_rate_schedule == schedule_of(config, "optim.learning_rate") == table
    assert build_config(tomllib.loads(to_toml(config))) == build_config(to_tables(config)) == config


def test_parts_are_added_to_a_name_and_to_the_default():
    assert schedule_of(cartpole(f"{LR}.final=1e-5"), "optim.learning_rate") == ScheduleConfig(kind="linear", final=1e-5)
    tables = {"env": {"id": "CartPole-v1"}, "optim": {"learning_rate_schedule": {"final": 1e-5}}}
    assert build_config(tables).optim.learning_rate_schedule == ScheduleConfig(kind="linear", final=1e-5)
    both = cartpole(f"{LR}=exponential", f"{LR}.final=1e-5", f"{LR}.steps=9000")
    assert both.optim.learning_rate_schedule == ScheduleConfig(kind="exponential", final=1e-5, steps=9000)
    assert cartpole(f"{LR}.final=1e-5", f"{LR}=cosine") == cartpole(f"{LR}=cosine"), "a name replaces the table"


def test_a_warm_up_alone_leaves_a_constant_value():
    schedule = schedule_of(cartpole("ppo.entropy_coef_schedule.warmup_steps=500"), "ppo.entropy_coef")
    assert schedule == ScheduleConfig(kind="constant", warmup_steps=500)


@pytest.mark.parametrize(
    ("override", "refusal"),
    [
        (f"{LR}=lineer", f"{LR} = 'lineer': expected 'constant' or 'linear' or .*\n.*'linear'"),
        (f"{LR}=3", f"{LR} = 3: expected a name or a table"),
        (f"{LR}.fnal=3", f"'{LR}.fnal'\n.*'{LR}.final'"),
        (f"{LR}.final=-1", f"{LR}.final = -1: expected a number of at least 0"),
        (f"{LR}.final=2", f"{LR}.final = 2.0: expected a number of at most 1, as for optim.learning_rate"),
        (f"{LR}=exponential", f"{LR}.final = 0: an exponential schedule .*\n.*set {LR}.final above 0"),
        (f'{LR}={{kind="constant", final=1e-5}}', f"{LR}.final = 1e-05: a constant value"),
        ("ppo.entropy_coef_schedule.steps=9", "ppo.entropy_coef_schedule.steps = 9: a constant value"),
        (f"{LR}={{steps=9, warmup_steps=9}}", f"{LR}.warmup_steps = 9: the whole schedule has 9 steps"),
        ("ppo.clip_range_schedule=kl-adaptive", "ppo.clip_range_schedule = 'kl-adaptive': expected 'constant' or"),
        (f'{LR}={{kind="kl-adaptive", final=1e-5}}', f"{LR}.kind = 'kl-adaptive': expected 'constant' or"),
    ],
)
def test_an_impossible_schedule_is_refused_in_words(override, refusal):
    with pytest.raises(UsageError, match=refusal):
        cartpole(override)


def test_an_exponential_schedule_cannot_begin_at_zero():
    schedule = 'ppo.entropy_coef_schedule={kind="exponential", final=1e-4}'
    with pytest.raises(ConfigError, match="ppo.entropy_coef = 0: an exponential schedule"):
        cartpole(schedule, "ppo.entropy_coef=0.0")
    cartpole(schedule, "ppo.entropy_coef=0.01")


@pytest.mark.parametrize(
    "schedule", ["cosine", '{kind="exponential", final=1e-5}', '{kind="constant", warmup_steps=1000}']
)
def test_a3c_has_every_schedule_but_the_adaptive_one(schedule):
    assert load_preset("a3c-cartpole", overrides=[f"{LR}={schedule}", "ppo.entropy_coef_schedule=cosine"])
    with pytest.raises(ConfigError, match="'kl-adaptive': with run.algorithm = 'a3c' it must be 'constant'"):
        load_preset("a3c-cartpole", overrides=[f"{LR}=kl-adaptive"])


def test_a_difference_of_schedules_is_one_difference_in_words():
    config = cartpole(f'{LR}={{kind="cosine", final=1e-5, warmup_steps=1000}}')
    assert changed_settings(cartpole(), config) == {LR: ("linear", "cosine to 1e-05, warmup_steps 1000")}
    assert dict(flat_settings(to_tables(config)))[LR] == "cosine to 1e-05, warmup_steps 1000"


def test_sweeps_search_in_the_parts_of_a_schedule():
    (kind, final) = read_search("cartpole", [], [f"{LR}.kind=linear,cosine", f"{LR}.final=log:1e-6..1e-4"])
    assert (kind.key, final.examples) == (f"{LR}.kind", ("1e-06", "0.0001"))
    (wide,) = read_search("cartpole", ["ppo.value_coef_schedule=linear"], ["ppo.value_coef_schedule.final=0..1"])
    assert wide.examples == ("0.0", "1.0"), "no whole numbers"
    with pytest.raises(UsageError, match=rf"{LR}.kind"):
        read_search("cartpole", [], [f"{LR}.final=log:1e-6..1e-4", f"{LR}=linear,cosine"])


def test_who_follows_the_length_of_the_run():
    assert follows_the_run(cartpole(), "optim.learning_rate")
    for schedule in ("constant", "kl-adaptive", "{steps=9000}", '{kind="constant", warmup_steps=100}'):
        assert not follows_the_run(cartpole(f"{LR}={schedule}"), "optim.learning_rate")


@pytest.mark.parametrize(
    ("schedule", "step", "edited", "text"),
    [
        ("constant", 0, False, ""),
        ("linear", 500, False, "linear to 0 at step 1,000"),
        ("linear", 1000, False, ""),
        ({"kind": "cosine", "final": 1e-5, "steps": 600}, 599, True, "cosine to 1e-05 at step 600"),
        ({"kind": "cosine", "final": 1e-5, "steps": 600}, 600, True, ""),
        ({"kind": "linear", "warmup_steps": 100}, 99, False, "warm-up until step 100, then linear to 0 at step 1,000"),
        ({"kind": "linear", "warmup_steps": 100}, 99, True, "linear to 0 at step 1,000"),
        ({"kind": "constant", "warmup_steps": 100}, 99, False, "warm-up until step 100"),
        ({"kind": "linear", "warmup_steps": 2000}, 99, False, "warm-up until step 2,000"),
        ({"kind": "of the future", "warmup_steps": 100}, 99, False, ""),
        ("kl-adaptive", 0, False, ""),
        (None, 0, False, ""),
    ],
)
def test_the_course_from_a_step_on_in_words(schedule, step, edited, text):
    course = course_of(read_schedule(schedule), 1000, step, edited=edited)
    assert (course.text if course else "") == text
    assert course is None or isinstance(course, Course)


def test_spo_keeps_a_clip_range_above_zero():
    spo = ["ppo.surrogate=spo", "ppo.clip_range_schedule.steps=1000"]
    with pytest.raises(ConfigError, match=r"clip_range_schedule.final = 0: .* from step 1000 on"):
        cartpole(*spo)
    assert cartpole(*spo, "ppo.clip_range_schedule.final=0.05").ppo.surrogate == "spo"
    assert cartpole("ppo.surrogate=spo").ppo.surrogate == "spo", "over the run"
