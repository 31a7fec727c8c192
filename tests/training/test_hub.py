"""Whatever a sink raises, or a thread of its own, detaches it and ends nothing."""

from __future__ import annotations

import asyncio
import gc
import json
import queue
import signal
import sys
import threading
from functools import partial

import pytest

from ppo_tui import Trainer
from ppo_tui.protocol import Alarm, Event, Level, RunState, StateChanged
from ppo_tui.training.hub import EventHub, FunctionSink, SinkBehind, TrainingClock
from tests.training.test_trainer import Recorder, cartpole, trained


class Unspeakable(Exception):
    """An exception without a message."""

    def __str__(self) -> str:
        raise ValueError("no words")


ERRORS = {
    "exit": SystemExit(1),
    "interrupt of a library": KeyboardInterrupt(),
    "generator": GeneratorExit(),
    "cancelled": asyncio.CancelledError(),
    "memory": MemoryError(),
    "pipe": BrokenPipeError(32, "Broken pipe"),
    "iteration": StopIteration(),
    "recursion": RecursionError("too deep"),
    "unspeakable": Unspeakable(),
    "base": BaseException("bare"),
    "group": BaseExceptionGroup("several", [SystemExit(2), ValueError("x")]),
}


class Failing:
    """A sink that raises at every event; equal to any other."""

    def __init__(self, error: BaseException) -> None:
        self.error, self.calls = error, 0

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]

    def emit(self, event: Event) -> None:
        self.calls += 1
        raise self.error


def event() -> Event:
    return StateChanged(state=RunState.TRAINING)


@pytest.mark.parametrize("name", ERRORS)
def test_a_sink_that_raises_anything_is_detached_with_an_alarm(name: str):
    failing, recorder = Failing(ERRORS[name]), Recorder()
    hub = EventHub([failing, recorder], TrainingClock())
    with hub.contained():
        for _ in range(3):
            hub.publish(event())
    assert failing.calls == 1
    (alarm,) = recorder.of(Alarm)
    assert alarm.level is Level.ERROR
    assert "Failing failed and was detached: " in alarm.message
    assert not alarm.message.endswith(": ")
    assert "Traceback" in alarm.details
    assert len(recorder.of(StateChanged)) == 3


def test_sinks_that_fail_at_once_and_even_at_the_alarm_about_another_are_all_detached():
    failing = [Failing(error) for error in ERRORS.values()]
    recorder = Recorder()
    hub = EventHub([*failing[:5], recorder, *failing[5:]], TrainingClock())
    hub.publish(event())
    hub.publish(event())
    assert [sink.calls for sink in failing] == [1] * len(failing)
    assert len(recorder.of(Alarm)) == len(failing)
    assert len(recorder.of(StateChanged)) == 2


def test_a_sink_that_is_always_behind_is_reported_and_kept():
    calls: list[Event] = []

    def emit(one: Event) -> None:
        calls.append(one)
        raise SinkBehind("it is full")

    recorder = Recorder()
    hub = EventHub([FunctionSink(emit), recorder], TrainingClock())
    hub.publish(event())
    hub.publish(event())
    assert [alarm.message for alarm in recorder.of(Alarm)] == ["it is full"] * 2
    assert len([one for one in calls if isinstance(one, StateChanged)]) == 2


def test_ctrl_c_of_a_person_is_not_taken_for_a_failure_of_a_sink():
    """As in a notebook, where nobody handles the signal."""
    recorder = Recorder()
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        hub = EventHub([FunctionSink(lambda _: signal.raise_signal(signal.SIGINT)), recorder], TrainingClock())
        with pytest.raises(KeyboardInterrupt), hub.contained():
            hub.publish(event())
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert recorder.events == []


def _fail_in_a_thread(error: BaseException) -> None:
    raise error


class Threaded:
    """A sink with a thread that dies at its first event."""

    def __init__(self, error: BaseException) -> None:
        self.error, self.calls = error, 0

    def emit(self, event: Event) -> None:
        self.calls += 1
        thread = threading.Thread(target=_fail_in_a_thread, args=(self.error,), name="of a library")
        thread.start()
        thread.join()


@pytest.fixture
def printed(monkeypatch):
    """What would have been printed about threads and finalizers."""
    failures: list = []
    monkeypatch.setattr(threading, "excepthook", failures.append)
    monkeypatch.setattr(sys, "unraisablehook", failures.append)
    return failures


def test_a_sink_whose_thread_dies_is_detached_and_nothing_is_printed(printed):
    threaded, recorder = Threaded(OSError(28, "No space left on device")), Recorder()
    hub = EventHub([threaded, recorder], TrainingClock())
    with hub.contained():
        for _ in range(3):
            hub.publish(event())
    assert threaded.calls == 1
    (alarm,) = recorder.of(Alarm)
    assert "Threaded failed and was detached: [Errno 28] No space left on device" in alarm.message
    assert "_fail_in_a_thread" in alarm.details
    assert printed == []


def test_a_thread_of_a_library_that_a_sink_names_counts_as_its_own_and_others_do_not(printed):
    class Quiet:
        libraries = ("queue",)  # any module in Python that raises will do

        def emit(self, event: Event) -> None:
            pass

    recorder = Recorder()
    hub = EventHub([Quiet(), recorder], TrainingClock())
    with hub.contained():
        for target in (partial(queue.Queue().get, block=False), partial(json.loads, "x"), sys.exit):
            thread = threading.Thread(target=target)
            thread.start()
            thread.join()
        hub.publish(event())
    (alarm,) = recorder.of(Alarm)
    assert "Quiet failed and was detached: Empty" in alarm.message
    assert [failed.exc_type for failed in printed] == [json.JSONDecodeError, SystemExit]


def test_an_object_of_a_sink_that_fails_in_its_finalizer_counts_too(printed):
    class Fragile:
        def __del__(self) -> None:
            raise ValueError("released badly")

    class Careless:
        def emit(self, event: Event) -> None:
            Fragile()
            gc.collect()

    recorder = Recorder()
    hub = EventHub([Careless(), recorder], TrainingClock())
    with hub.contained():
        hub.publish(event())
        hub.publish(event())
    assert "Careless failed and was detached: released badly" in recorder.of(Alarm)[0].message
    assert printed == []


def test_a_run_whose_sinks_all_fail_has_the_numbers_of_one_left_alone():
    sinks = [*(Failing(error) for error in ERRORS.values()), Threaded(ValueError("x")), recorder := Recorder()]
    result = Trainer(cartpole(steps=512), sinks=sinks).run()
    assert (result.state, result.exit_code) == (RunState.FINISHED, 0)
    assert len(recorder.of(Alarm)) == len(ERRORS) + 1
    assert recorder.metrics == trained(steps=512).metrics
