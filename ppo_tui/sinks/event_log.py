"""The record of a run: events, metrics and a log for people."""

from __future__ import annotations

import contextlib
import math
import os
import threading

import msgspec

from ..plotting.formats import date
from ..protocol import (
    TRANSIENT,
    Evaluated,
    Event,
    RunFinished,
    RunStarted,
    UpdateFinished,
    UpdateInspected,
    WeightsTaken,
    encode,
)
from ..runs import RunDirectory
from ..runs.entries import EVENTS_FILE, LOG_FILE, METRICS_FILE
from ..text import printable
from ..training.hub import SinkBehind
from .wording import describe, describe_source

MAX_BACKLOG_BYTES = 64 * 1024 * 1024
"""Limit of the lines kept in memory, for each file, while the disk refuses them."""

INSPECTION_SECONDS = 10.0
"""Seconds of the run between two inspected updates in the record."""

MOST_INSPECTIONS = 200
"""Inspected updates that a process records; each is about 15 kB of JSON."""


class EventLog:
    """Writes ``events.jsonl``, ``metrics.jsonl`` and ``run.log``, and keeps ``run.json`` up to date.

    Every line is passed to the system as soon as it is written, so that another process, or this one's successor
    after a crash, reads all that happened. While the disk is full, lines are kept in memory.

    Of the transient events, finished updates that somebody inspected are recorded too: one in `INSPECTION_SECONDS`, at
    most `MOST_INSPECTIONS`. Any thread may emit. The end of the run is the last event of the record; later ones are
    dropped.

    Attributes:
        finished: the end of the run, once it is recorded.
    """

    def __init__(self, run_dir: RunDirectory) -> None:
        self.finished: RunFinished | None = None
        self._lock = threading.RLock()
        self._run_dir = run_dir
        self._events = AppendedFile(run_dir.append_to(EVENTS_FILE))
        self._metrics = AppendedFile(run_dir.append_to(METRICS_FILE))
        self._log = AppendedFile(run_dir.append_to(LOG_FILE))
        self._behind = False
        self._inspections, self._inspected_at = 0, float("-inf")

    def emit(self, event: Event) -> None:
        """Record `event`.

        Raises:
            SinkBehind: the disk refuses, for the first time since it last did not; nothing is lost so far.
        """
        if isinstance(event, TRANSIENT) and not self._wants(event):
            return
        with self._lock:
            if self.finished is None:
                self.finished = event if isinstance(event, RunFinished) else None
                self._record(event)

    def _record(self, event: Event) -> None:
        problem = self._append(self._events, encode(event) + b"\n")
        if isinstance(event, UpdateFinished | Evaluated):
            problem = self._append(self._metrics, msgspec.json.encode(_finite(event.metrics)) + b"\n") or problem
        if text := describe(event):
            stamp = date(event.time, "%Y-%m-%d %H:%M:%S")
            details = f"{event.details}\n" if isinstance(event, RunFinished) and event.details else ""
            # People print this file: a text of several lines must not look like lines of the log.
            indented = text.replace("\n", "\n    ")
            entry = f"{stamp}  {indented}\n{printable(details, lines=True)}"
            problem = self._append(self._log, entry.encode()) or problem
        with contextlib.suppress(OSError):  # the next such event writes all of it again
            self._update_run_json(event)
        was_behind, self._behind = self._behind, problem is not None
        if problem and not was_behind:
            raise SinkBehind(
                f"{self._run_dir.path}: nothing can be recorded ({problem.strerror}); events are kept in memory and "
                "written as soon as there is room"
            )

    def _wants(self, event: Event) -> bool:
        """Whether a transient event is to be recorded; count it then."""
        if not (isinstance(event, UpdateInspected) and event.done and self._inspections < MOST_INSPECTIONS):
            return False
        if event.elapsed < self._inspected_at + INSPECTION_SECONDS:
            return False
        self._inspections, self._inspected_at = self._inspections + 1, event.elapsed
        return True

    def close(self) -> None:
        for file in (self._events, self._metrics, self._log):
            file.close()

    def _append(self, file: AppendedFile, lines: bytes) -> OSError | None:
        try:
            file.write(lines)
        except OSError as problem:
            return problem
        return None

    def _update_run_json(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            self._run_dir.update(
                status="running",
                versions=event.versions,
                device=event.device,
                total_steps=event.total_steps,
                stopped_by=None,
            )
        elif isinstance(event, WeightsTaken):
            self._run_dir.update(init_from=describe_source(event), init_from_sha256=event.sha256)
        elif isinstance(event, RunFinished):
            self._run_dir.update(
                status=str(event.state),
                exit_code=event.exit_code,
                reason=event.reason,
                stopped_by=event.by or None,
                step=event.step,
                update=event.update,
                ended=event.time,
            )


class AppendedFile:
    """A file of appended lines; survives a full disk.

    Refused lines are kept and go first next time.

    Args:
        descriptor: open for appending; this object closes it.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._backlog = b""

    def write(self, lines: bytes) -> None:
        """Append `lines`.

        Raises:
            OSError: the disk refuses them now. They are kept, up to `MAX_BACKLOG_BYTES`.
        """
        if len(self._backlog) + len(lines) <= MAX_BACKLOG_BYTES:
            self._backlog += lines
        while self._backlog:
            self._backlog = self._backlog[os.write(self._descriptor, self._backlog) :]

    def close(self) -> None:
        """Close the file; a second time does nothing.

        By then the descriptor may be another file's.
        """
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def _finite(metrics: dict[str, float | None]) -> dict[str, float | None]:
    """`metrics` with null for NaN and infinities: JSON has neither."""
    return {key: value if value is None or math.isfinite(value) else None for key, value in metrics.items()}
