"""Commands on their way into the training loop."""

from __future__ import annotations

import threading

import pytest

from ppo_tui import load_preset
from ppo_tui.distributed.ranks import ALONE
from ppo_tui.errors import ConfigError
from ppo_tui.protocol import (
    Cause,
    CommandRefused,
    Event,
    Pause,
    Resume,
    Rewind,
    RunState,
    SaveCheckpoint,
    SetValue,
    Stop,
    WatchGame,
    WithdrawValue,
)
from ppo_tui.training.controls import Controls, Inbox, Requests, StopTraining
from ppo_tui.training.hub import EventHub, FunctionSink, RunContext, TrainingClock

GAMMA = "ppo.gamma"


class Engine:
    """Keeps the commands that an engine obeys by itself."""

    def __init__(self) -> None:
        self.paused: list[bool] = []
        self.watched: list[WatchGame] = []

    def pause(self, paused: bool) -> None:
        self.paused.append(paused)

    def watch(self, command: WatchGame) -> None:
        self.watched.append(command)


@pytest.fixture
def published() -> list[Event]:
    return []


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def controls(published: list[Event], inbox: Inbox, engine: Engine) -> Controls:
    clock = TrainingClock()
    context = RunContext(load_preset("cartpole"), clock, EventHub([FunctionSink(published.append)], clock), ALONE)
    return Controls(context, inbox, engine)


def test_the_last_value_asked_for_wins_and_keeps_who_and_why(controls, inbox):
    inbox.send(SetValue(key=GAMMA, value=0.9))
    inbox.send(SetValue(key=GAMMA, value=0.8, by="ctl", cause=Cause.UNDO))
    controls.check()
    assert controls.at_boundary() == Requests((SetValue(key=GAMMA, value=0.8, by="ctl", cause=Cause.UNDO),))
    assert controls.at_boundary() == Requests()


def test_an_upper_bound_is_refused_where_the_surrogate_has_none(published, inbox, engine):
    """And so it is in a configuration; to switch it off is always right."""
    key = "ppo.clip_range_upper"
    for surrogate in ("spo", "kl", "none"):
        with pytest.raises(ConfigError, match=f"the surrogate '{surrogate}' has no upper bound"):
            load_preset("cartpole", overrides=[f"ppo.surrogate={surrogate}", f"{key}=0.3"])
    clock = TrainingClock()
    config = load_preset("cartpole", overrides=["ppo.surrogate=spo"])
    controls = Controls(
        RunContext(config, clock, EventHub([FunctionSink(published.append)], clock), ALONE), inbox, engine
    )
    inbox.send(SetValue(key=key, value=0.3, by="ada"))
    inbox.send(SetValue(key=key, value=None))
    controls.check()
    (refusal,) = published
    assert isinstance(refusal, CommandRefused)
    assert refusal.by == "ada"
    assert refusal.message.startswith(f"{key} = 0.3: the surrogate 'spo' has no upper bound")
    assert controls.at_boundary() == Requests((SetValue(key=key, value=None),))


def test_a_value_withdrawn_before_the_boundary_never_comes_into_force(controls, inbox, published):
    inbox.send(SetValue(key=GAMMA, value=0.9))
    inbox.send(WithdrawValue(key=GAMMA))
    controls.check()
    assert controls.at_boundary() == Requests()
    assert published == []


def test_withdrawing_a_value_in_force_is_refused(controls, inbox, published):
    inbox.send(WithdrawValue(key=GAMMA))
    controls.check()
    (refused,) = published
    assert isinstance(refused, CommandRefused)
    assert "ppo.gamma" in refused.message
    assert "undo it" in refused.message


def test_a_pause_ends_with_the_command_to_resume_and_functions_are_called_meanwhile(controls, inbox, engine):
    called = threading.Event()
    inbox.send(Pause())
    inbox.call_soon(called.set)
    inbox.send(Resume())
    inbox.send(Pause())  # obeyed before the first check ends, like all that has arrived
    inbox.send(Resume())
    controls.check()
    assert engine.paused == [], "the last command was to resume"
    inbox.send(Pause())
    threading.Timer(0.05, lambda: inbox.send(Resume())).start()
    controls.check()
    assert engine.paused == [True, False]
    assert called.is_set()


def test_a_paused_run_ends_its_update_to_save_and_pauses_again(controls, inbox, engine, published):
    inbox.send(Pause())
    inbox.send(SaveCheckpoint())
    controls.check()
    assert [event.state for event in published] == [RunState.PAUSED, RunState.TRAINING]
    assert controls.at_boundary() == Requests(save=True)
    inbox.send(Rewind(path="best"))
    assert controls.check_between_updates(), "there it is obeyed without a step"
    assert controls.take_requests() == Requests(rewind="best")
    inbox.send(Resume())
    assert not controls.check_between_updates()
    assert engine.paused == [True, False, True, False]


def test_a_stop_that_saves_lets_the_update_finish(controls, inbox):
    inbox.send(Stop(save=True))
    assert inbox.stop_requested
    controls.check(mid_update=True)
    with pytest.raises(StopTraining):
        controls.check()


@pytest.mark.parametrize(("env", "fps"), [(-1, 15.0), (8, 15.0), (0, 0.0), (0, 61.0)])
def test_an_environment_that_is_not_there_is_not_watched(controls, inbox, engine, published, env, fps):
    inbox.send(WatchGame(env=env, fps=fps, by="ctl"))
    inbox.send(WatchGame(env=7, fps=60.0))
    controls.check()
    assert [command.env for command in engine.watched] == [7]
    (refused,) = published
    assert f"watch env {env} at {fps:g} fps: envs are 0 to 7" in refused.message
