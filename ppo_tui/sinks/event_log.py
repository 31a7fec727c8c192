"""The record of a run: its events and metrics as lines of JSON, and a log for people."""

from __future__ import annotations

import contextlib
import math
import time

import msgspec

from ..protocol import TRANSIENT, Evaluated, Event, RunFinished, RunStarted, UpdateFinished, encode
from ..runs import RunDirectory
from ..training.hub import SinkBehind
from .appending import AppendedFile
from .wording import describe


class EventLog:
    """Writes ``events.jsonl``, ``metrics.jsonl`` and ``run.log``, and keeps ``run.json`` up to date.

    Every line is handed to the system as soon as it is written, so that another process, or this one's successor
    after a crash, reads all that happened. While the disk is full, lines are kept in memory.
    """

    def __init__(self, run: RunDirectory) -> None:
        self._run = run
        self._events = AppendedFile(run.events)
        self._metrics = AppendedFile(run.metrics)
        self._log = AppendedFile(run.log)
        self._told = False

    def emit(self, event: Event) -> None:
        """Record `event`.

        Raises:
            SinkBehind: the disk refuses, for the first time since it last did not; nothing is lost so far.
        """
        if isinstance(event, TRANSIENT):
            return
        problem = self._append(self._events, encode(event) + b"\n")
        if isinstance(event, UpdateFinished | Evaluated):
            problem = self._append(self._metrics, msgspec.json.encode(_finite(event.metrics)) + b"\n") or problem
        if text := describe(event):
            stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event.time))
            details = f"{event.details}\n" if isinstance(event, RunFinished) and event.details else ""
            problem = self._append(self._log, f"{stamp}  {text}\n{details}".encode()) or problem
        with contextlib.suppress(OSError):  # it is written anew each time
            self._note_state(event)
        told, self._told = self._told, problem is not None
        if problem and not told:
            raise SinkBehind(
                f"{self._run.path}: nothing can be recorded ({problem.strerror}); it is kept in memory and written as "
                "soon as there is room"
            )

    def _append(self, file: AppendedFile, lines: bytes) -> OSError | None:
        try:
            file.write(lines)
        except OSError as problem:
            return problem
        return None

    def _note_state(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            self._run.update(
                status="running", versions=event.versions, device=event.device, total_steps=event.total_steps
            )
        elif isinstance(event, RunFinished):
            self._run.update(
                status=str(event.state),
                exit_code=event.exit_code,
                reason=event.reason,
                step=event.step,
                update=event.update,
                ended=event.time,
            )

    def close(self) -> None:
        for file in (self._events, self._metrics, self._log):
            file.close()


def _finite(metrics: dict[str, float | None]) -> dict[str, float | None]:
    """JSON has no NaN: what is not a number is null."""
    return {key: value if value is None or math.isfinite(value) else None for key, value in metrics.items()}
