"""Shared parts of an engine: clock, event hub, context, run result."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

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
    """A receiver of events, in order, on the training thread."""

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

    A sink that raises is detached and reported: training never stops because a view of it failed.

    Args:
        clock: its seconds become the `elapsed` of events.
    """

    def __init__(self, sinks: Iterable[Sink], clock: TrainingClock) -> None:
        self._sinks = list(sinks)
        self._clock = clock

    def add(self, sink: Sink) -> None:
        """Give `sink` every event from now on, after all others."""
        self._sinks.append(sink)

    def publish(self, event: Event) -> None:
        """Stamp `event` with the time and give it to every sink."""
        event = msgspec.structs.replace(event, time=time.time(), elapsed=self._clock.seconds)
        for sink in list(self._sinks):
            try:
                sink.emit(event)
            except SinkBehind as behind:
                self.publish(Alarm(level=Level.ERROR, message=str(behind)))
            except Exception as error:
                self._sinks.remove(sink)
                name = type(sink).__name__
                message = f"{name} failed and was detached: {error}"
                self.publish(Alarm(level=Level.ERROR, message=message, details=traceback.format_exc()))


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
