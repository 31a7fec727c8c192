"""An engine in a thread: none of its events or errors is lost."""

from __future__ import annotations

import threading

import pytest

from ppo_tui.errors import DivergedError
from ppo_tui.protocol import (
    Alarm,
    Level,
    Pause,
    Resume,
    RolloutProgress,
    RunFinished,
    RunState,
    SaveCheckpoint,
    Stop,
    UpdateFinished,
    WorkersStatus,
)
from ppo_tui.training.inbox import Inbox
from ppo_tui.tui.session import LocalSession, Mailbox

DEADLINE = 10.0


class Obedient:
    """Runs until a `Stop` arrives, and keeps the commands."""

    def __init__(self, emit, inbox):
        self.emit, self.inbox = emit, inbox
        self.commands = []

    def run(self):
        while not any(isinstance(command, Stop) for command in self.commands):
            self.commands.append(self.inbox.receive(wait=True, timeout=DEADLINE))
        self.emit(
            RunFinished(state=RunState.STOPPED, exit_code=self.commands[-1].exit_code, reason="told", step=0, update=0)
        )


def finished_events(session):
    return [event for event in session.poll() if isinstance(event, RunFinished)]


def obedient(engine=Obedient) -> LocalSession:
    inbox = Inbox()
    return LocalSession(lambda emit: engine(emit, inbox), inbox)


def ended(make_engine) -> LocalSession:
    session = LocalSession(make_engine, Inbox())
    session.start()
    assert session.close(DEADLINE)
    assert not session.live
    return session


class Failing:
    def __init__(self, emit, error):
        self.emit = emit
        self.error = error

    def run(self):
        self.emit(UpdateFinished(update=4, step=4096, metrics={}))
        raise self.error


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (DivergedError("the loss is NaN", hint="lower the learning rate"), 4, "the loss is NaN"),
        (ZeroDivisionError("by nought"), 3, "ZeroDivisionError: by nought"),
        (SystemExit(1), 3, "SystemExit: 1"),
    ],
)
def test_an_exception_becomes_a_failure_with_its_traceback(error, code, reason):
    session = ended(lambda emit: Failing(emit, error))
    (end,) = finished_events(session)
    assert end.state is RunState.FAILED
    assert end.exit_code == session.exit_code == code
    assert end.reason.startswith(reason)
    assert (end.step, end.update) == (4096, 4)
    assert "in run" in end.details
    assert type(error).__name__ in end.details


def test_an_engine_that_cannot_be_built_is_a_failure_too():
    def broken(emit):
        raise ImportError("no module named 'torch'")

    (end,) = finished_events(ended(broken))
    assert "torch" in end.reason


def test_an_engine_that_said_how_it_ended_has_the_last_word():
    class Late(Failing):
        def run(self):
            self.emit(RunFinished(state=RunState.FINISHED, exit_code=0, reason="", step=9, update=1))
            raise self.error

    session = ended(lambda emit: Late(emit, RuntimeError("while closing")))
    (end,) = finished_events(session)
    assert end.state is RunState.FINISHED
    assert session.exit_code == 0


def test_an_engine_that_just_returns_is_a_failure():
    class Silent(Failing):
        def run(self):
            pass

    (end,) = finished_events(ended(lambda emit: Silent(emit, None)))
    assert end.state is RunState.FAILED


def test_commands_sent_before_the_engine_exists_reach_it_in_order():
    may_exist = threading.Event()
    engines = []

    def make(emit):
        may_exist.wait(DEADLINE)
        engines.append(Obedient(emit, inbox))
        return engines[0]

    inbox = Inbox()
    session = LocalSession(make, inbox)
    session.start()
    for command in (Pause(), SaveCheckpoint(), Resume()):
        session.send(command)
    may_exist.set()
    assert session.close(DEADLINE)
    assert engines[0].commands == [Pause(), SaveCheckpoint(), Resume(), Stop()]


def test_closing_does_not_overrule_the_stop_that_was_sent():
    session = obedient()
    session.start()
    session.send(Stop(exit_code=143))
    assert session.close(DEADLINE)
    assert session.exit_code == 143


def test_closing_says_when_the_engine_runs_on():
    let_go = threading.Event()

    class Deaf(Obedient):
        def run(self):
            let_go.wait(DEADLINE)

    session = obedient(Deaf)
    session.start()
    assert not session.close(0.01)
    let_go.set()
    assert session.close(DEADLINE)


def test_a_session_that_never_started_is_closed():
    assert obedient().close(0)


def test_durable_events_keep_their_order_and_transient_ones_only_the_newest():
    mailbox = Mailbox()
    for number in range(3):
        mailbox.post(RolloutProgress(step=number, update=1, t=number, length=3, fps=0.0))
        mailbox.post(Alarm(level=Level.INFO, message=str(number)))
        mailbox.post(WorkersStatus(workers=()))
    *alarms, rollout, _workers = mailbox.drain()
    assert [alarm.message for alarm in alarms] == ["0", "1", "2"]
    assert rollout.t == 2
    assert mailbox.drain() == []


def test_no_durable_event_is_lost_to_a_reader_at_work():
    mailbox = Mailbox()
    count = 20_000

    def post():
        for number in range(count):
            mailbox.post(RolloutProgress(step=number, update=1, t=0, length=1, fps=0.0))
            mailbox.post(UpdateFinished(update=number, step=number, metrics={}))

    writer = threading.Thread(target=post)
    writer.start()
    seen = []
    while writer.is_alive():
        seen += mailbox.drain()
    seen += mailbox.drain()
    assert [e.update for e in seen if isinstance(e, UpdateFinished)] == list(range(count))
