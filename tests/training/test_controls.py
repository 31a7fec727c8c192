"""Commands on their way into the training loop."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from ppo_tui import load_preset
from ppo_tui.distributed.ranks import ALONE
from ppo_tui.errors import ConfigError
from ppo_tui.protocol import (
    WATCH_SECONDS,
    Cause,
    Command,
    CommandRefused,
    Event,
    Pause,
    Resume,
    Rewind,
    RunState,
    SaveCheckpoint,
    SetValue,
    StateChanged,
    StepMinibatches,
    StepUpdates,
    Stop,
    WatchGame,
    WatchUpdate,
    WithdrawValue,
)
from ppo_tui.training.controls import Controls, Requests, StopTraining
from ppo_tui.training.hub import EventHub, FunctionSink, RunContext, TrainingClock
from ppo_tui.training.inbox import Inbox

GAMMA = "ppo.gamma"


class Engine:
    """Keeps the commands that an engine obeys by itself."""

    def __init__(self) -> None:
        self.paused: list[bool] = []
        self.meanwhile: Callable[[], None] = lambda: None
        self.allowed: list[int | None] = []
        self.watched: list[WatchGame] = []

    def pause(self, paused: bool) -> None:
        self.paused.append(paused)
        if paused:
            self.meanwhile()

    def allow(self, minibatches: int | None) -> None:
        self.allowed.append(minibatches)

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
def now() -> list[float]:
    return [0.0]


@pytest.fixture
def controls(published: list[Event], inbox: Inbox, engine: Engine, now: list[float]) -> Controls:
    clock = TrainingClock()
    context = RunContext(load_preset("cartpole"), clock, EventHub([FunctionSink(published.append)], clock), ALONE)
    return Controls(context, inbox, engine, clock=lambda: now[0])


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


# ── Between two minibatches ─────────────────────────────────────────────────────────────────────────────────


def step_to_a_pause(controls: Controls, inbox: Inbox, engine: Engine, command: Command) -> None:
    """A minibatch is asked for and done; the command comes while the run waits after it."""
    inbox.send(StepMinibatches(minibatches=1, by="screen (pid 1)"))
    controls.check(mid_update=True)
    controls.pause_between_minibatches()
    engine.meanwhile = lambda: inbox.send(command)
    controls.check(mid_update=True)


def states(published: list[Event]) -> list[str]:
    return [event.state for event in published if isinstance(event, StateChanged)]


def test_steps_within_an_update_stay_paused_for_those_who_see_it(controls, inbox, engine, published):
    for _ in range(3):
        step_to_a_pause(controls, inbox, engine, StepMinibatches(minibatches=2))
    assert engine.allowed == [1, 2, 1, 2, 1, 2]
    assert states(published) == ["paused"], "no line of the log a minibatch"
    controls.check()
    assert states(published) == ["paused", "training"], "the next rollout is collected"


@pytest.mark.parametrize("command", [Resume(), Stop(save=True)])
def test_going_on_and_stopping_free_the_learner(controls, inbox, engine, command):
    step_to_a_pause(controls, inbox, engine, command)
    assert engine.allowed == [1, None]
    assert engine.paused == [True, False]
    assert controls.watchers.present


@pytest.mark.parametrize(
    "command",
    [SaveCheckpoint(), Rewind(path="best"), StepUpdates(updates=1), WatchUpdate(open=False, by="screen (pid 1)")],
    ids=["save", "rewind", "step", "close"],
)
def test_what_waits_for_the_end_of_the_update_brings_it_about_and_pauses_there(controls, inbox, engine, command):
    step_to_a_pause(controls, inbox, engine, command)
    assert engine.allowed == [1, None]
    assert engine.paused == [True, False]
    controls.at_boundary()
    engine.meanwhile = lambda: inbox.send(Resume())
    controls.check()
    assert engine.paused == [True, False, True, False], "it pauses after the update"
    inbox.send(command)
    controls.check(mid_update=True)
    assert len(engine.paused) == 4, "a run that learns is not paused by it"


def test_the_run_waits_for_no_one_who_is_gone(controls, inbox, engine, published, now):
    inbox.send(WatchUpdate(by="another"))
    inbox.send(StepMinibatches(by="screen"))
    controls.check(mid_update=True)
    now[0] = WATCH_SECONDS
    controls.pause_between_minibatches()
    controls.check(mid_update=True)
    assert engine.allowed == [1, None]
    assert published[-1].reason == "nobody looks at the update any more"
    assert not controls.watchers.present


def test_an_ordinary_pause_does_wait_for_everybody(controls, inbox, engine, now):
    inbox.send(StepMinibatches())
    controls.check(mid_update=True)
    controls.pause_between_minibatches()
    inbox.send(Pause(by="ctl"))
    now[0] = 10 * WATCH_SECONDS
    engine.meanwhile = lambda: inbox.send(StepUpdates())
    controls.check(mid_update=True)
    assert engine.allowed == [1, None], "by the step, and not before"


def test_one_of_two_who_look_may_leave(controls, inbox, now):
    for name in ("one", "other"):
        inbox.send(WatchUpdate(by=name))
    inbox.send(WatchUpdate(open=False, by="one"))
    controls.check()
    assert controls.watchers.present
    now[0] = WATCH_SECONDS - 1
    inbox.send(WatchUpdate(by="other"))
    controls.check()
    now[0] = 2 * WATCH_SECONDS - 2
    assert controls.watchers.present
    inbox.send(WatchUpdate(open=False, by="other"))
    controls.check()
    assert not controls.watchers.present


def test_there_is_nothing_to_step_through_in_a3c(published, inbox, engine):
    clock = TrainingClock()
    context = RunContext(load_preset("a3c-cartpole"), clock, EventHub([FunctionSink(published.append)], clock), ALONE)
    inbox.send(StepMinibatches(by="ada"))
    Controls(context, inbox, engine).check()
    assert [(event.by, event.message.partition(":")[0]) for event in published] == [
        ("ada", "A3C has no minibatches to step through")
    ]
    assert engine.allowed == []
