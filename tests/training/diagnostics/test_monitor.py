"""Diagnostics raise one alarm for ill runs, none for healthy ones."""

from __future__ import annotations

import contextlib
import os
import signal
import threading

import pytest
import torch

from ppo_tui import Trainer, load_preset
from ppo_tui.config import to_tables
from ppo_tui.config.live import parse_live_value, typed_value
from ppo_tui.protocol import (
    Alarm,
    Event,
    Level,
    Recovered,
    Rewound,
    RunStarted,
    SettingChanged,
    Stop,
    SuggestedEdit,
    UpdateFinished,
    WorkersStatus,
    decode_event,
    encode,
)
from ppo_tui.sinks import describe
from ppo_tui.training.diagnostics.monitor import Diagnostics, GradientMonitor
from tests.training.test_trainer import Recorder

LIVELY = (
    "ppo.epochs=4",
    "optim.learning_rate_schedule=constant",
    "ppo.clip_range_schedule=constant",
    "run.torch_threads=1",
    "workers.count=2",
)
"""Settings of runs that are ill on purpose: short ones, whose learning rate would be annealed away at once."""


def alarms_of(*overrides: str, updates: int, preset: str = "cartpole", react=lambda trainer, event: None):
    """Train for so many updates; (update, alarm) of each alarm."""
    config = load_preset(preset, overrides=[*overrides, "run.total_steps=1"])
    steps = updates * config.batch_size
    config = load_preset(preset, overrides=[*overrides, f"run.total_steps={steps}"])
    recorder = Recorder(lambda event: react(trainer, event))
    trainer = Trainer(config, sinks=[recorder])
    result = trainer.run()
    assert result.exit_code == 0, result.reason
    update, found = 0, []
    for event in recorder.events:
        update = event.update if isinstance(event, UpdateFinished) else update
        if isinstance(event, Alarm):
            found.append((update, event))
    return found


ILL = "tests.training.diagnostics.ill:"

ILL_RUNS = {
    "a learning rate 100 times too high": (["optim.learning_rate=0.1"], "kl-spike", 2),
    "dropout": ([f"policy.network={ILL}Dropout", "policy.shared=true"], "ratio-not-one", 1),
    "a clip range far too small": (
        ["ppo.clip_range=0.01", "optim.learning_rate=0.01", "ppo.epochs=10"],
        "clip-fraction-high",
        10,
    ),
    "a learning rate 1,000 times too low": (["optim.learning_rate=1e-6"], "clip-fraction-low", 20),
    "observations far from zero": ([f"env.id={ILL}Biased-v0", "policy.hidden=[64]"], "dead-units", 15),
    "bait, without an entropy bonus": (
        [f"env.id={ILL}Bait-v0", "ppo.gamma=0", "ppo.entropy_coef=0", "ppo.minibatches=4", "optim.learning_rate=3e-3"],
        "entropy-collapse",
        20,
    ),
    "a frozen critic": (["ppo.value_coef=0"], "explained-variance", 40),
    "a constant reward": ([f"env.id={ILL}Constant-v0"], "stalled-return", 10),
    "slow environments": (
        [f"env.id={ILL}Slow-v0", "rollout.num_envs=2", "rollout.steps=16", "ppo.epochs=1"],
        "starved-learner",
        15,
    ),
}


@pytest.mark.parametrize(("overrides", "name", "within"), ILL_RUNS.values(), ids=ILL_RUNS)
def test_an_ill_run_raises_its_alarm_once_and_no_other(overrides: list[str], name: str, within: int):
    found = alarms_of(*LIVELY, *overrides, updates=within)
    assert [alarm.name for _, alarm in found] == [name]
    _check_suggestion(found[0][1])


def _check_suggestion(alarm: Alarm) -> None:
    """It can be typed as it stands."""
    if alarm.suggestion:
        verb, key, value = alarm.suggestion.split()
        assert verb == "set"
        assert parse_live_value(key, typed_value(value)) > 0
        assert key in alarm.message, "the message has the present value too"


def test_a_worker_that_is_stopped_again_and_again_is_named():
    """SIGSTOP and SIGCONT make a worker slow, as a shared core does."""
    over, hobbled = threading.Event(), []

    def hobble(pid: int) -> None:
        with contextlib.suppress(ProcessLookupError):  # the run is over
            while not over.is_set():
                os.kill(pid, signal.SIGSTOP)
                over.wait(0.04)
                os.kill(pid, signal.SIGCONT)
                over.wait(0.005)

    def react(trainer: Trainer, event: Event) -> None:
        if isinstance(event, WorkersStatus) and not hobbled:
            hobbled.append(event.workers[1].pid)
            thread.start()
        if isinstance(event, Alarm):
            trainer.send(Stop(save=False))

    thread = threading.Thread(target=lambda: hobble(hobbled[0]))
    try:
        settings = ("workers.count=3", "rollout.num_envs=6", "rollout.steps=16", "ppo.epochs=2")
        ((_, alarm),) = alarms_of(*LIVELY, *settings, updates=400, react=react)
    finally:
        over.set()
        thread.join()
    assert alarm.name == "slow-worker"
    assert f"worker 1 (pid {hobbled[0]})" in alarm.message


HEALTHY = {
    "cartpole": ("cartpole", [], 391),
    "acrobot": ("acrobot", [], 60),
    "breakout": ("breakout", [], 40),
    "pendulum": ("pendulum", [], 25),
    "a2c": ("a2c-cartpole", [], 1500),
}


@pytest.mark.slow
@pytest.mark.parametrize(("preset", "overrides", "updates"), HEALTHY.values(), ids=HEALTHY)
def test_a_healthy_preset_raises_none(preset: str, overrides: list[str], updates: int):
    assert alarms_of(*overrides, updates=updates, preset=preset) == []


@pytest.mark.parametrize(
    ("preset", "overrides", "updates"),
    [
        ("cartpole", ["ppo.epochs=10"], 40),
        ("acrobot", ["ppo.minibatches=16"], 2),
        ("breakout", ["rollout.num_envs=4", "rollout.steps=32", "ppo.epochs=2"], 2),
    ],
    ids=["cartpole", "acrobot", "breakout"],
)
def test_healthy_beginnings_raise_none(preset: str, overrides: list[str], updates: int):
    assert alarms_of(*overrides, updates=updates, preset=preset) == []


def test_watching_changes_no_bit():
    runs = []
    for watched in ("true", "false"):
        recorder = Recorder()
        config = load_preset("cartpole", overrides=[*LIVELY, f"run.diagnostics={watched}", "run.total_steps=1536"])
        trainer = Trainer(config, sinks=[recorder])
        trainer.run()
        runs.append((recorder.metrics, trainer.policy.state_dict()))
    (metrics, weights), (unwatched_metrics, unwatched_weights) = runs
    assert metrics == unwatched_metrics
    assert all(torch.equal(weights[name], unwatched_weights[name]) for name in weights)


def test_diagnostics_can_be_turned_off():
    assert alarms_of(*LIVELY, "optim.learning_rate=0.1", "run.diagnostics=false", updates=3) == []


# ── A record instead of a run ───────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def alarms_after():
    """A function: the alarms after updates of these KLs and other events."""
    follow = followed_by_diagnostics()
    return lambda *kls: [event for event in follow(*kls) if isinstance(event, Alarm)]


@pytest.fixture
def news_after():
    """The same with recoveries."""
    return followed_by_diagnostics()


def followed_by_diagnostics():
    config = load_preset("cartpole")
    news: list[Event] = []
    diagnostics = Diagnostics(news.append)
    diagnostics.emit(
        RunStarted(
            run="r", config=to_tables(config), seed=1, total_steps=1, num_envs=8, num_workers=1, rollout_steps=32,
            env_slices=((0, 8),), device="cpu", parameters=1, versions={},
        )
    )  # fmt: skip

    def follow(*kls: float | Event) -> list[Event]:
        news.clear()
        for kl in kls:
            metrics = {"train/approx_kl": kl, "train/learning_rate": 1e-3, "train/clip_fraction": 0.9}
            event = kl if isinstance(kl, Event) else UpdateFinished(update=1, step=1, metrics=metrics)
            diagnostics.emit(event)
        return list(news)

    return follow


def test_an_alarm_is_raised_once_and_again_only_after_the_run_was_healthy(alarms_after):
    (alarm,) = alarms_after(0.01, 0.5, 0.6, 0.15, 0.7)
    assert (alarm.name, alarm.level) == ("kl-spike", Level.WARNING)
    assert alarms_after(0.05, 0.3) != [], "0.05 is healthy, and the next spike is news"


def test_an_alarm_carries_its_number_and_edit_and_ends_with_a_recovery(news_after):
    alarm, recovered = news_after(0.01, 0.5, 0.6, 0.15, 0.05, 0.01)
    assert alarm.value == 0.5
    assert alarm.edit == SuggestedEdit(key="optim.learning_rate", value=2e-4)
    assert alarm.suggestion == alarm.edit.command == "set optim.learning_rate 0.0002"
    assert isinstance(recovered, Recovered)
    assert recovered.name == "kl-spike"
    assert describe(recovered) == "no longer true: the policy moved too far in one update"
    assert [decode_event(encode(event)) for event in (alarm, recovered)] == [alarm, recovered]
    one_pass = SettingChanged(key="ppo.epochs", old=4, new=1, by="user", step=1, update=1)
    assert [event.name for event in news_after(*[0.05] * 3, one_pass, 0.05)] == ["clip-fraction-high"] * 2


def test_skipped_minibatches_are_over_after_an_update_without_any():
    news: list[Event] = []
    monitor = GradientMonitor(news.append)
    for bad in (1.0, 0.0, 0.0):
        monitor.check({"train/nonfinite": bad, "train/loss": 1.0, "train/learning_rate": 1e-3}, 1, 1)
    alarm, recovered = news
    assert isinstance(alarm, Alarm)
    assert alarm.edit == SuggestedEdit(key="optim.learning_rate", value=1e-4)
    assert isinstance(recovered, Recovered)
    assert recovered.name == alarm.name == "non-finite"


def test_numbers_that_are_not_finite_raise_nothing(alarms_after):
    assert alarms_after(float("nan"), float("inf")) == []


def test_after_a_rewind_an_alarm_is_raised_again(alarms_after):
    assert [alarm.name for alarm in alarms_after(0.5)] == ["kl-spike"]
    assert [alarm.name for alarm in alarms_after(Rewound(path="c", step=0, update=0), 0.5)] == ["kl-spike"]


def test_an_alarm_that_another_explains_is_not_raised(alarms_after):
    """Nine samples of ten are clipped in all of these updates."""
    assert [alarm.name for alarm in alarms_after(*[0.5] * 5)] == ["kl-spike"]
    assert [alarm.name for alarm in alarms_after(*[0.05] * 5)] == ["clip-fraction-high"]


def test_the_suggestion_is_of_the_setting_as_it_is_now(alarms_after):
    change = SettingChanged(key="ppo.clip_range", old=0.2, new=0.03, by="user", step=1, update=1)
    (alarm,) = alarms_after(change, *[0.05] * 3)
    assert "ppo.clip_range 0.03" in alarm.message
    assert alarm.suggestion == "set optim.learning_rate 0.0005"
    assert str(describe(alarm)).endswith("; try: set optim.learning_rate 0.0005")


def test_alarms_of_older_records_are_read():
    alarm = decode_event(b'{"event":"alarm","level":"warning","message":"disk full"}')
    assert isinstance(alarm, Alarm)
    assert (alarm.name, alarm.suggestion, alarm.text) == ("", "", "disk full")
    assert decode_event(encode(alarm)) == alarm
