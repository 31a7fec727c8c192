"""The console of a headless run on real pipes, whose readers leave or stall at any moment."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ppo_tui import guest_stream
from ppo_tui.protocol import Alarm, Event, Level, RolloutProgress, RunState, StateChanged
from ppo_tui.sinks import console as module
from ppo_tui.sinks.console import ConsoleSink, LineOptions, ProgressConsole, StdoutConsole, guest_stdout, stdout_sink
from ppo_tui.training.hub import EventHub, TrainingClock
from tests.sinks.test_console import FINISHED, STARTED, update
from tests.training.test_trainer import Recorder

LOG = Path("runs/x/run.log")
EVENTS: list[Event] = [
    STARTED,
    StateChanged(state=RunState.TRAINING, reason="begins"),
    *(update(number) for number in range(1, 4)),
    *(Alarm(level=Level.WARNING, message=f"number {number}: {'x' * 200}") for number in range(60)),
    FINISHED,
]
FORMATS = ("plain", "json", "bar")


@contextlib.contextmanager
def console(form: str, descriptor: int) -> Iterator[ConsoleSink]:
    """The console of a run whose stdout is this descriptor."""
    before = sys.stdout
    sys.stdout = os.fdopen(os.dup(descriptor), "w", encoding="utf-8")
    try:
        with guest_stdout() as stream:
            assert stream is not None
            if form == "bar":
                from ppo_tui.console import PrintableConsole

                bar = ProgressConsole(PrintableConsole(force_terminal=True, width=100))
                yield StdoutConsole(bar, stream, LOG)
            else:
                yield stdout_sink(stream, LOG, LineOptions(form))
    finally:
        sys.stdout.close()
        sys.stdout = before


@settings(max_examples=30)
@given(form=st.sampled_from(FORMATS), leaves_after=st.integers(0, 15_000), at=st.integers(0, len(EVENTS)))
def test_whenever_the_reader_leaves_the_console_is_detached_and_all_others_get_every_event(form, leaves_after, at):
    reader, writer = os.pipe()
    fcntl.fcntl(writer, 1031, 4096)  # F_SETPIPE_SZ: soon full

    def reading() -> None:
        left = leaves_after
        while left > 0 and (part := os.read(reader, min(left, 500))):
            left -= len(part)
        os.close(reader)

    recorder = Recorder()
    thread = threading.Thread(target=reading)
    with console(form, writer) as sink:
        os.close(writer)
        hub = EventHub([sink, recorder], TrainingClock())
        for number, event in enumerate(EVENTS):
            if number == at:
                thread.start()
            hub.publish(event)
        if at == len(EVENTS):
            thread.start()
        sink.close()
        print("a word after the end")
    thread.join()
    alarms = [one for one in recorder.of(Alarm) if "detached" in one.message]
    assert len(recorder.events) == len(EVENTS) + len(alarms)
    assert len(alarms) <= 1
    for alarm in alarms:
        assert "StdoutConsole failed and was detached: nobody can read stdout any more (Broken pipe)" in alarm.message
        assert str(LOG) in alarm.message


@pytest.mark.parametrize("form", FORMATS)
def test_a_reader_that_stalls_holds_up_nothing_and_is_told_what_it_missed_once(form, monkeypatch):
    monkeypatch.setattr(guest_stream, "MAX_WAITING_BYTES", 5_000)
    monkeypatch.setattr(module, "READER_SECONDS", 0.01)
    reader, writer = os.pipe()
    fcntl.fcntl(writer, 1031, 4096)
    recorder = Recorder()
    with console(form, writer) as sink:
        hub = EventHub([sink, recorder], TrainingClock())
        for event in EVENTS:
            hub.publish(event)
        sink.close()
    (told,) = [one for one in recorder.of(Alarm) if "lines are left out" in one.message]
    assert str(LOG) in told.message
    assert len(recorder.events) == len(EVENTS) + 1
    os.close(reader)
    os.close(writer)


def test_a_bar_without_a_reader_lets_go_of_stderr():
    """Rich shows on its bar what is printed on stderr."""
    reader, writer = os.pipe()
    os.close(reader)
    errors = sys.stderr
    with console("bar", writer) as sink:
        os.close(writer)
        with pytest.raises(OSError, match="nobody can read stdout"):
            sink.emit(STARTED)
            while True:
                sink.emit(RolloutProgress(step=1, update=1, t=1, length=32, fps=1.0))
        assert sys.stderr is errors
