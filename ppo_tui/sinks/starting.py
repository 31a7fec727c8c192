"""The start of a run: progress, and an early stop."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from ..protocol import RunFinished, RunState, StartProgress, Stop
from ..training.hub import Sink, SinkBehind
from ..training.inbox import Inbox

TICK_SECONDS = 0.2
"""Interval at which the progress of a start is looked at."""

NOT_STARTED = "stopped before it had started"
"""The reason of the end of a run that was stopped before its first step."""


class StartingWorkers(Protocol):
    """A pool of starting workers."""

    @property
    def num_workers(self) -> int: ...

    @property
    def ready(self) -> int: ...


class StartWatch:
    """A watcher of a run's start, in a thread of its own.

    It publishes `StartProgress` while that changes. A `Stop` before the training begins ends the run here and at once:
    the engine is still deep in a library that it loads, and can neither obey nor report.

    Args:
        inbox: of the run's commands, made for a watched start.
        sinks: receive the events; the record comes first.
        workers: those that start meanwhile; None while there are none.
        step, update, elapsed: of the checkpoint that the run resumes; 0 for a new run.
        then: called in the watcher's thread after such an end.

    Attributes:
        doing: what the engine's thread is doing; to be set by it.
        stopped: the end of the run, if it was stopped before the training began.
    """

    def __init__(
        self,
        inbox: Inbox,
        sinks: Sequence[Sink],
        *,
        workers: StartingWorkers | None,
        step: int = 0,
        update: int = 0,
        elapsed: float = 0.0,
        then: Callable[[RunFinished], None] | None = None,
    ) -> None:
        self.doing = "loading PyTorch"
        self.stopped: RunFinished | None = None
        self._inbox, self._sinks, self._workers, self._then = inbox, sinks, workers, then
        self._step, self._update, self._elapsed = step, update, elapsed
        self._published: StartProgress | None = None
        self._thread = threading.Thread(target=self._watch, name="start", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def settle(self) -> RunFinished | None:
        """Return `stopped`, once an early stop is recorded.

        To be called when no command comes any more.
        """
        if self._inbox.forestalled:
            self._thread.join()
        return self.stopped

    def _watch(self) -> None:
        while True:
            asked = time.time()  # before the beginning, whenever the progress is published
            try:
                stop = self._inbox.await_start(TICK_SECONDS)
            except TimeoutError:
                self._report(asked)
                continue
            if stop is not None:
                self._end(stop)
            return

    def _report(self, asked: float) -> None:
        """Publish the progress as of `asked`, if it is another one."""
        workers = self._workers
        progress = StartProgress(
            doing=self.doing,
            workers=workers.num_workers if workers else 0,
            ready=workers.ready if workers else 0,
            elapsed=self._elapsed,
        )
        if progress != self._published:
            self._published = progress
            self._publish(msgspec.structs.replace(progress, time=asked))

    def _end(self, stop: Stop) -> None:
        finished = RunFinished(
            time=time.time(),
            elapsed=self._elapsed,
            state=RunState.STOPPED,
            exit_code=stop.exit_code,
            reason=NOT_STARTED,
            step=self._step,
            update=self._update,
            by=stop.by,
        )
        self.stopped = finished
        try:
            self._publish(finished)
        finally:
            if self._then:
                self._then(finished)

    def _publish(self, event: StartProgress | RunFinished) -> None:
        for sink in self._sinks:
            with contextlib.suppress(SinkBehind):  # it keeps the event
                sink.emit(event)
