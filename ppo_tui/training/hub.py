"""From the engine to everything that listens."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import msgspec

from ..errors import DivergedError, RunFailedError
from ..protocol import Alarm, Event, Level, RunState


class Sink(Protocol):
    """Something that events are given to, in the order in which they happen, on the training thread."""

    def emit(self, event: Event, /) -> None: ...


class SinkBehind(Exception):
    """A sink could not pass on what it was given, keeps it, and will try again; says so, to the user."""


class FunctionSink:
    """A sink out of a function."""

    def __init__(self, emit: Callable[[Event], None]) -> None:
        self.emit = emit


class EventHub:
    """Stamps events and hands them to every sink.

    A sink that raises is detached and reported: training never stops because a view of it failed.

    Args:
        elapsed: seconds of the run so far.
    """

    def __init__(self, sinks: Iterable[Sink], elapsed: Callable[[], float]) -> None:
        self._sinks = list(sinks)
        self._elapsed = elapsed

    def add(self, sink: Sink) -> None:
        """Give `sink` every event from now on, after all others have had it."""
        self._sinks.append(sink)

    def emit(self, event: Event) -> None:
        """Stamp `event` with the time and give it to every sink."""
        event = msgspec.structs.replace(event, time=time.time(), elapsed=self._elapsed())
        for sink in list(self._sinks):
            try:
                sink.emit(event)
            except SinkBehind as behind:
                self.emit(Alarm(level=Level.ERROR, message=str(behind)))
            except Exception as error:
                self._sinks.remove(sink)
                name = type(sink).__name__
                self.emit(
                    Alarm(
                        level=Level.ERROR,
                        message=f"{name} failed and was detached: {error}",
                        details=traceback.format_exc(),
                    )
                )


@dataclass(frozen=True)
class RunResult:
    """How a run ended.

    Attributes:
        state: FINISHED, STOPPED (by a command) or FAILED.
        exit_code: what a process that ran it should leave with (see `ppo_tui.errors`).
        metrics: those of the last update.
    """

    state: RunState
    exit_code: int
    reason: str
    step: int
    update: int
    metrics: dict[str, float | None]

    def raise_if_failed(self) -> None:
        """Raises: DivergedError or RunFailedError, when the run failed, with its reason."""
        if self.state is RunState.FAILED:
            raise (DivergedError if self.exit_code == DivergedError.exit_code else RunFailedError)(self.reason)
