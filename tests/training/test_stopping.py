"""Stop rules: the run ends where they hold, the same after a resume, and says why."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ppo_tui import Trainer, load_preset
from ppo_tui.config import StopConfig
from ppo_tui.errors import ConfigError, UsageError
from ppo_tui.protocol import (
    Alarm,
    CheckpointSaved,
    CommandRefused,
    Evaluated,
    Rewind,
    Rewound,
    RunFinished,
    RunState,
    SaveCheckpoint,
    SettingChanged,
    SetValue,
    UpdateFinished,
)
from ppo_tui.training import examine
from ppo_tui.training.checkpoint.files import OpenedCheckpoint, SavedSchedule
from ppo_tui.training.checkpoint.resume import ResumePoint
from ppo_tui.training.stopping import Limits, StopState, settle_stop
from tests.training.test_trainer import Recorder

QUICK = ["ppo.epochs=1", "workers.count=1", "run.torch_threads=1", "run.checkpoint_seconds=1000"]
HELD = ["stop.at=5", "stop.window=5", "stop.held=4"]
"""Reached by any policy: updates 1 to 4 count."""
PLATEAU = ["stop.plateau=1024", "stop.gain=1e6"]
"""The first value, of update 1 at step 256, stays the best: ends at step 1,280."""


def cartpole(*overrides: str, steps: int = 4096):
    return load_preset("cartpole", overrides=[f"run.total_steps={steps}", *QUICK, *overrides])


def run(config, react=lambda trainer, event: None, **arguments):
    recorder = Recorder(lambda event: react(trainer, event))
    trainer = Trainer(config, sinks=[recorder], **arguments)
    return trainer.run(), recorder


# ── The fold ────────────────────────────────────────────────────────────────────────────────────────────────

values = st.lists(
    st.one_of(st.none(), st.just(math.nan), st.just(math.inf), st.integers(-9, 9).map(float)), max_size=30
)


@given(
    values,
    st.integers(-9, 9),
    st.integers(1, 4),
    st.integers(1, 40),
    st.integers(0, 5),
    st.sampled_from(["higher", "lower"]),
    st.integers(0, 30),
)
def test_the_rules_hold_where_a_look_at_all_values_says_so_even_after_a_resume(
    values, goal, held, plateau, gain, better, resumed_at
):
    rules = StopConfig(held=held, gain=float(gain), better=better)
    limits = Limits(rules=rules, goal=float(goal), plateau=plateau)
    sign = 1 if better == "higher" else -1
    state, streak, best, best_step = StopState(), 0, None, 0
    for number, value in enumerate(values, start=1):
        step = 10 * number
        state = limits.checked(state, step, value)
        if number == resumed_at:
            state = msgspec.json.decode(msgspec.json.encode(state), type=StopState)
        finite = value is not None and math.isfinite(value)
        streak = streak + 1 if finite and sign * value >= sign * goal else 0
        if finite and (
            best is None or sign * value > sign * best + gain or (gain and sign * value == sign * best + gain)
        ):
            best, best_step = value, step
        reason = limits.reason(state, 0.0)
        assert ("reached" in reason or "held" in reason) == (streak >= held)
        assert bool(reason) == (streak >= held or (best is not None and step - best_step >= plateau))


def test_another_goal_or_metric_starts_the_count_anew_and_the_same_does_not():
    first = Limits(rules=StopConfig(held=3), goal=5.0, plateau=100)
    state = first.checked(first.checked(StopState(), 10, 7.0), 20, 7.0)
    assert (first.current(state).held, first.current(state).best_step) == (2, 10)
    raised = msgspec.structs.replace(first, goal=6.0)
    assert (raised.current(state).held, raised.current(state).best_step) == (0, 10)
    other = msgspec.structs.replace(first, rules=StopConfig(held=3, metric="env/x"))
    assert (other.current(state).held, other.current(state).best) == (0, None)


def test_the_reasons_name_the_rule_with_its_numbers():
    held = Limits(rules=StopConfig(held=2), goal=475.0)
    state = held.checked(held.checked(StopState(), 1, 480.0), 2, 490.25)
    assert held.reason(state, 0.0) == "return 475 held for 2 checks (490.25 over 100 episodes)"
    once = Limits(rules=StopConfig(metric="eval/ep_rew_mean"), goal=475.0)
    assert once.reason(once.checked(StopState(), 1, 475.0), 0.0) == "return in evaluation 475 reached (475.00)"
    flat = Limits(rules=StopConfig(gain=5.0), plateau=1000)
    state = flat.checked(flat.checked(StopState(), 0, 312.5), 1000, 317.0)
    assert flat.reason(state, 0.0) == "return no better than 312.50 by 5 in 1,000 steps"
    assert Limits(rules=StopConfig(), after=7200.0).reason(StopState(), 7200.0) == "2h 0m of training"
    assert not Limits(rules=StopConfig(), after=7200.0).reason(StopState(), 7199.0)


# ── Runs ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def held(tmp_path_factory):
    """A run with both rules that ends by the first, saved after update 2."""

    def save(trainer, event):
        if isinstance(event, UpdateFinished) and event.update == 1:
            trainer.send(SaveCheckpoint())  # obeyed after the next update

    directory = tmp_path_factory.mktemp("held")
    result, recorder = run(cartpole(*HELD, *PLATEAU), save, checkpoint_dir=directory)
    return result, recorder, directory


def after_two(directory: Path) -> Path:
    return directory / "step-000000000512"


def test_a_run_that_is_good_ends_as_finished_with_a_checkpoint_and_says_why(held):
    result, recorder, directory = held
    assert (result.state, result.exit_code, result.update) == (RunState.FINISHED, 0, 4)
    assert result.reason.startswith("stopped by rule: return 5 held for 4 checks (")
    finished = recorder.events[-1]
    assert isinstance(finished, RunFinished)
    assert (finished.by, finished.reason) == ("rule", result.reason)
    last = recorder.of(CheckpointSaved)[-1]
    assert (last.step, last.reason) == (1024, "final")
    assert (directory / "latest").resolve().name == "step-000000001024"
    distances = [event.stop for event in recorder.of(UpdateFinished)]
    assert [distance.held for distance in distances] == [1, 2, 3, 4]
    assert [distance.plateau for distance in distances] == [1024, 768, 512, 256]
    assert {(distance.left, distance.checks, distance.goal) for distance in distances} == {(0.0, 4, 5.0)}


def test_a_resumed_run_stops_at_the_same_update_as_an_undisturbed_one(held):
    result, recorder, directory = held
    again = Recorder()
    resumed = Trainer.from_checkpoint(after_two(directory), sinks=[again]).run()
    assert (resumed.update, resumed.reason) == (result.update, result.reason)
    assert again.metrics == recorder.metrics[2:]
    assert [event.stop for event in again.of(UpdateFinished)] == [
        event.stop for event in recorder.of(UpdateFinished)[2:]
    ]


def test_a_plateau_is_counted_over_a_resume(held):
    *_, directory = held
    config = cartpole(*HELD, *PLATEAU, "stop.held=1000")
    result = Trainer.from_checkpoint(after_two(directory), config=config).run()
    assert (result.state, result.step) == (RunState.FINISHED, 1280)
    assert "in 1,024 steps" in result.reason


def test_a_run_that_has_ended_by_a_rule_is_not_resumed_without_another_goal(held):
    *_, directory = held
    with pytest.raises(UsageError, match="ended by its stop rule: return 5 held for 4 checks") as refused:
        Trainer.from_checkpoint(directory / "latest")
    assert "--until off" in str(refused.value)
    config = cartpole(*HELD, "stop.at=none", steps=1280)
    result = Trainer.from_checkpoint(directory / "latest", config=config).run()
    assert (result.step, result.reason) == (1280, "1,280 steps done")


def test_a_live_edit_of_a_rule_outlives_the_process_and_another_goal_replaces_it(held):
    *_, directory = held
    saved = OpenedCheckpoint.open(after_two(directory))
    settings = saved.state.settings | {"stop.at": SavedSchedule(value=9.0, since=0.1)}
    state = msgspec.structs.replace(saved.state, settings=settings)
    point = ResumePoint(dataclasses.replace(saved, state=state))
    assert point.config().stop.at == 9.0
    assert point.config(overrides=["stop.at=8"]).stop.at == 8.0
    assert point.config(overrides=["stop.at=none"]).stop.at is None
    changed = {**state.config, "stop": {**state.config["stop"], "at": 7.0}}  # by a resume since
    assert point.config(changed).stop.at == 7.0


def test_edits_and_rewinds_take_the_count_along(tmp_path):
    """Update 2 is saved at 2 of 3, then the goal raised in time; going back brings the old goal with its count.

    A command is obeyed after the update that follows.
    """

    def react(trainer, event):
        if recorder.of(Rewound):
            return
        match event:
            case UpdateFinished(update=1):
                trainer.send(SaveCheckpoint())
            case UpdateFinished(update=2):
                trainer.send(SetValue(key="stop.at", value=1e6))
            case UpdateFinished(update=4):
                trainer.send(SetValue(key="stop.at", value="solved"))
            case UpdateFinished(update=6):
                trainer.send(Rewind(path=str(after_two(tmp_path))))

    config = cartpole(*HELD, "stop.held=3")
    recorder = Recorder(lambda event: react(trainer, event))
    trainer = Trainer(config, sinks=[recorder], checkpoint_dir=tmp_path)
    result = trainer.run()
    assert [edit.new for edit in recorder.of(SettingChanged)] == [1e6, 475.0]
    (rewound,) = recorder.of(Rewound)
    assert rewound.update == 2
    raised = [event.stop for event in recorder.of(UpdateFinished) if event.stop.goal != 5]
    assert raised
    assert not any(distance.held for distance in raised)
    assert recorder.of(UpdateFinished)[-1].stop.held == 3
    assert (result.update, result.reason[:40]) == (3, "stopped by rule: return 5 held for 3 che")


def test_with_overlap_the_rollout_ahead_is_dropped_and_the_resumed_run_goes_on(tmp_path):
    config = cartpole("run.overlap=true", *HELD, "stop.held=2")
    result, recorder = run(config, checkpoint_dir=tmp_path)
    assert (result.state, result.update) == (RunState.FINISHED, 2)
    assert recorder.of(CheckpointSaved)[-1].step == 512
    further = cartpole("run.overlap=true", "stop.held=2", steps=768)
    assert Trainer.from_checkpoint(tmp_path / "latest", config=further).run().step == 768


def test_time_ends_a_run_and_a_rule_on_an_unknown_metric_is_reported_once():
    config = cartpole("stop.after=1e-3", "stop.metric=env/sucess", "stop.at=1", "stop.window=1")
    result, recorder = run(config)
    assert (result.state, result.update) == (RunState.FINISHED, 1)
    assert result.reason == "stopped by rule: 0.00s of training"
    assert recorder.of(UpdateFinished)[0].stop.seconds == 0
    (alarm,) = [each for each in recorder.of(Alarm) if "stop.metric" in each.message]
    assert "'env/sucess': this update has no such metric" in alarm.message


def test_without_rules_nothing_is_said_of_them():
    _, recorder = run(cartpole(steps=256))
    assert [event.stop for event in recorder.of(UpdateFinished)] == [None]
    assert not recorder.of(CommandRefused)


@pytest.mark.slow
def test_a3c_stops_too():
    config = load_preset("a3c-cartpole", overrides=["rollout.num_envs=2", "run.total_steps=100000", *HELD])
    result, _ = run(config)
    assert (result.state, result.exit_code) == (RunState.FINISHED, 0)
    assert "return 5 held for 4 checks" in result.reason


@pytest.mark.slow
def test_scores_of_evaluations_count_and_the_last_policy_is_evaluated_too(tmp_path):
    rules = ["stop.metric=eval/ep_rew_mean", "stop.at=1", "stop.held=2", "eval.every=512", "eval.episodes=2"]
    result, recorder = run(cartpole(*rules, steps=1_000_000), checkpoint_dir=tmp_path)
    assert result.state is RunState.FINISHED
    assert result.reason.startswith("stopped by rule: return in evaluation 1 held for 2 checks (")
    last = recorder.of(Evaluated)[-1]
    assert last.step == result.step


# ── Settings ────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_environments_own_threshold_becomes_a_number():
    config = cartpole("stop.at=solved")
    assert settle_stop(config, examine(config)).stop.at == 475
    pendulum = load_preset("pendulum", overrides=["stop.at=solved"])
    with pytest.raises(ConfigError, match=r"stop.at = 'solved': Pendulum-v1 has no threshold"):
        settle_stop(pendulum, examine(pendulum))


def test_a_metric_that_no_run_has_is_refused_with_the_nearest():
    config = cartpole("stop.at=1", "stop.metric=rollout/ep_rew_maen")
    with pytest.raises(ConfigError, match="did you mean 'rollout/ep_rew_mean'"):
        settle_stop(config, examine(config))
