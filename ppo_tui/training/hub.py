"""Shared parts of an engine: clock, event hub, context, run result."""

from __future__ import annotations

import contextlib
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from ..config import Config
from ..errors import DivergedError, RunFailedError
from ..protocol import Alarm, CommandRefused, Event, GameClip, Level, RunState

if TYPE_CHECKING:
    from ..distributed.ranks import Ranks


class TrainingClock:
    """Seconds of training since `start`, monotonic, without the pauses.

    Args:
        seconds: first reading: the seconds that an earlier process has trained.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        self._started = time.perf_counter() - seconds
        self._paused_at: float | None = None
        self._paused_seconds = 0.0

    def start(self, seconds: float = 0.0) -> None:
        """Count from `seconds` on."""
        self._started = time.perf_counter() - seconds
        self._paused_at, self._paused_seconds = None, 0.0

    def pause(self, paused: bool) -> None:
        """Stop the clock, or let it continue."""
        now = time.perf_counter()
        if paused:
            self._paused_at = now
        elif self._paused_at is not None:
            self._paused_seconds += now - self._paused_at
            self._paused_at = None

    @property
    def seconds(self) -> float:
        now = time.perf_counter() if self._paused_at is None else self._paused_at
        return now - self._started - self._paused_seconds


class Sink(Protocol):
    """A receiver of events, in order, on the training thread.

    An attribute ``libraries`` may name packages with threads on its behalf.
    """

    def emit(self, event: Event, /) -> None: ...


class SinkBehind(Exception):
    """A sink's delay in passing an event on.

    The sink keeps the event, and will try again.
    """


class FunctionSink:
    """A sink made from a function."""

    def __init__(self, emit: Callable[[Event], None]) -> None:
        self.emit = emit


class EventHub:
    """A hub to stamp events and hand them to every sink.

    A sink that raises anything is detached and reported: training never stops because a view of it failed. So is one
    whose thread, or whose library's thread, dies while `contained`.

    Args:
        clock: its seconds become the `elapsed` of events.
    """

    def __init__(self, sinks: Iterable[Sink], clock: TrainingClock) -> None:
        self._sinks = list(sinks)
        self._clock = clock
        self._behind: list[Sink] = []
        self._lost_threads: queue.SimpleQueue[tuple[Sink, BaseException]] = queue.SimpleQueue()
        self._interrupted = False

    def add(self, sink: Sink) -> None:
        """Give `sink` every event from now on, after all others."""
        self._sinks = [*self._sinks, sink]

    def publish(self, event: Event) -> None:
        """Stamp `event` with the time and give it to every sink.

        Raises:
            KeyboardInterrupt: a person has interrupted a sink, where nobody handles the signal.
        """
        while not self._lost_threads.empty():
            self._detach(*self._lost_threads.get())
        event = msgspec.structs.replace(event, time=time.time(), elapsed=self._clock.seconds)
        sinks = self._sinks
        for sink in sinks:
            if self._sinks is not sinks and not _contains(self._sinks, sink):
                continue  # detached meanwhile: it could not take the alarm about another one
            try:
                sink.emit(event)
            except SinkBehind as behind:
                if not _contains(self._behind, sink):  # its next words may be about this very alarm
                    self._behind.append(sink)
                    self.publish(Alarm(level=Level.ERROR, message=str(behind)))
                    self._behind.remove(sink)
            except BaseException as error:
                if self._interrupted:
                    raise KeyboardInterrupt from error
                self._detach(sink, error)

    def _detach(self, sink: Sink, error: BaseException) -> None:
        if not _contains(self._sinks, sink):
            return
        self._sinks = [one for one in self._sinks if one is not sink]
        message = f"{type(sink).__name__} failed and was detached: {_in_words(error)}"
        details = "".join(traceback.format_exception(error))
        self.publish(Alarm(level=Level.ERROR, message=message, details=details))

    @contextlib.contextmanager
    def contained(self, stop: Callable[[], None] | None = None) -> Iterator[None]:
        """Contain failures of sinks' threads; tell a person's interrupt from a library's.

        Exceptions of other threads go where they went before.

        Args:
            stop: called at the first Ctrl+C in place of an interrupt, where nobody handles the signal.
        """
        in_thread, in_finalizer = threading.excepthook, sys.unraisablehook

        def take_thread(failed: threading.ExceptHookArgs) -> None:
            if failed.exc_type is SystemExit or not self._take(failed.exc_value):
                in_thread(failed)

        def take_finalizer(failed: sys.UnraisableHookArgs) -> None:
            if not self._take(failed.exc_value):
                in_finalizer(failed)

        threading.excepthook, sys.unraisablehook = take_thread, take_finalizer
        try:
            with self._interrupts_noted(stop):
                yield
        finally:
            threading.excepthook, sys.unraisablehook = in_thread, in_finalizer

    def _take(self, error: BaseException | None) -> bool:
        """Keep the error of a sink's thread; False for others."""
        if error is None:
            return False
        frames = traceback.walk_tb(error.__traceback__)
        modules = {frame.f_globals.get("__name__", "") for frame, _ in frames}
        libraries = {module.partition(".")[0] for module in modules}
        for sink in self._sinks:
            if type(sink).__module__ in modules or libraries & set(getattr(sink, "libraries", ())):
                self._lost_threads.put((sink, error))
                return True
        return False

    @contextlib.contextmanager
    def _interrupts_noted(self, stop: Callable[[], None] | None) -> Iterator[None]:
        """Note Ctrl+C under Python's own handler; the first may `stop` instead."""
        in_main = threading.current_thread() is threading.main_thread()
        if not in_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            yield
            return

        def interrupt(*arguments: Any) -> None:
            nonlocal stop
            if stop is not None:
                first, stop = stop, None
                first()
                return
            self._interrupted = True
            signal.default_int_handler(*arguments)

        signal.signal(signal.SIGINT, interrupt)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _contains(sinks: list[Sink], sink: Sink) -> bool:
    """Whether this very sink is among them, whatever it thinks equal."""
    return any(one is sink for one in sinks)


def _in_words(error: BaseException) -> str:
    """The message of any exception, with its type if need be."""
    try:
        text = str(error)
    except Exception:
        text = ""
    if text and isinstance(error, Exception):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


RankEvent = Alarm | GameClip | CommandRefused
"""Events of a single rank that rank 0 publishes for it."""


class RunContext:
    """The objects shared by all parts of an engine.

    Args:
        hub: takes the events that are published.
        ranks: the processes that train together.
    """

    def __init__(self, config: Config, clock: TrainingClock, hub: EventHub, ranks: Ranks) -> None:
        self.config, self.clock, self.ranks = config, clock, ranks
        self._hub = hub
        self._rank_events: list[RankEvent] = []

    def publish(self, event: Event) -> None:
        """Publish an event of the whole run; only rank 0 has sinks."""
        self._hub.publish(event)

    def publish_from_rank(self, event: Event) -> None:
        """Publish an event of this rank alone.

        Rank 0 publishes it now; elsewhere it waits for `take_rank_events`.
        """
        if self.ranks.leads:
            self.publish(event)
        elif isinstance(event, RankEvent):
            self._rank_events.append(event)

    def take_rank_events(self) -> tuple[RankEvent, ...]:
        """Return, once, this rank's events for rank 0 to publish."""
        events, self._rank_events = tuple(self._rank_events), []
        return events


@dataclass(frozen=True)
class RunResult:
    """The outcome of a run.

    Attributes:
        state: FINISHED, STOPPED (by a command) or FAILED.
        exit_code: of a process that ran it (see `ppo_tui.errors`).
        metrics: those of the last update.
    """

    state: RunState
    exit_code: int
    reason: str
    step: int
    update: int
    metrics: dict[str, float | None]

    def raise_if_failed(self) -> None:
        """Raise DivergedError or RunFailedError, with its reason, if the run failed."""
        if self.state is RunState.FAILED:
            raise (DivergedError if self.exit_code == DivergedError.exit_code else RunFailedError)(self.reason)
