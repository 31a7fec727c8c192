"""The line of progress is a guest of the run: its terminal may leave, stall, be closed or be no terminal at all."""

from __future__ import annotations

import contextlib
import os
import pty
import sys
import termios
import threading
from collections.abc import Iterator
from typing import Any, BinaryIO, TextIO

import pytest

from ppo_tui import Trainer, load_preset
from ppo_tui.guest_stream import guest_stream
from ppo_tui.protocol import Alarm, RolloutProgress, RunFinished, RunState, UpdateFinished
from ppo_tui.training import progress
from ppo_tui.training.hub import EventHub, FunctionSink, TrainingClock
from ppo_tui.training.progress import progress_sink
from tests.test_library import SMALL
from tests.tui.fake import started
from tests.waiting import wait_until

DONE = RunFinished(state=RunState.FINISHED, exit_code=0, reason="", step=1, update=1)


@pytest.fixture
def terminal() -> Iterator[tuple[BinaryIO, TextIO]]:
    """A terminal: its other end, and a stream to be stderr in the test itself, which pytest has its own for before."""
    primary, secondary = pty.openpty()
    with os.fdopen(primary, "rb", buffering=0) as other_end:
        stream = os.fdopen(secondary, "w")
        yield other_end, stream
        with contextlib.suppress(OSError):  # it has left already
            stream.close()


def test_a_run_outlives_the_terminal_of_its_line(terminal, monkeypatch):
    """With stdout closed, too."""
    other_end, stream = terminal
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(sys, "stdout", None)
    seen: list[Any] = []
    streams: list[Any] = []

    def kept(*arguments: Any, **options: Any) -> Any:
        streams.append(guest_stream(*arguments, **options))
        return streams[0]

    def look(event: Any) -> None:
        if isinstance(event, UpdateFinished) and event.update == 1:
            other_end.close()
            print("now", file=sys.stderr)
            wait_until(lambda: streams[0].buffer.failure is not None)
        seen.append(event)

    monkeypatch.setattr(progress, "guest_stream", kept)

    result = Trainer(load_preset("cartpole", overrides=SMALL), sinks=[FunctionSink(look)]).run(progress=True)
    assert result.state is RunState.FINISHED
    assert (sys.stdout, sys.stderr) == (None, stream)
    assert [event.message for event in seen if isinstance(event, Alarm)] == [
        "TerminalProgress failed and was detached: nobody can read stderr any more (Input/output error)"
    ]


def test_a_terminal_that_stands_still_delays_no_end(terminal, monkeypatch):
    """As after Ctrl+S."""
    _, stream = terminal
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr("ppo_tui.training.progress.READER_SECONDS", 0.1)
    termios.tcflow(stream.fileno(), termios.TCOOFF)
    line = progress_sink()
    assert line is not None

    def play() -> None:
        for event in (started(), RolloutProgress(step=1, update=1, t=1, length=1, fps=1.0), DONE):
            line.emit(event)
        line.close()

    thread = threading.Thread(target=play, daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    termios.tcflow(stream.fileno(), termios.TCOON)


class Odd:
    """An object in place of a stream, as of a program that embeds the trainer."""

    def write(self, text: str) -> int:
        raise ValueError("I take nothing")

    def flush(self) -> None:
        raise ValueError("I hold nothing")


@pytest.mark.parametrize("stdout", [None, "closed", Odd()], ids=["none", "closed", "odd"])
@pytest.mark.parametrize("stderr", [None, "closed", "full", Odd()], ids=["none", "closed", "full", "odd"])
def test_whatever_stands_for_the_streams_nothing_is_raised(stdout: Any, stderr: Any, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # by which Rich takes anything for a terminal
    files = {"closed": open(os.devnull, "w"), "full": open("/dev/full", "w")}  # noqa: SIM115 (closed here)
    files["closed"].close()
    for name, value in (("stdout", stdout), ("stderr", stderr)):
        monkeypatch.setattr(sys, name, files[value] if isinstance(value, str) else value)
    line = progress_sink()
    if line is not None:
        hub = EventHub([line], TrainingClock())
        with hub.contained():
            hub.publish(started())
            hub.publish(DONE)
            line.close()
    monkeypatch.undo()
    with contextlib.suppress(OSError):
        files["full"].close()


def test_an_odd_size_in_the_environment_costs_the_line_alone(terminal, monkeypatch):
    monkeypatch.setattr(sys, "stderr", terminal[1])
    monkeypatch.setenv("COLUMNS", "²")
    assert progress_sink() is None
