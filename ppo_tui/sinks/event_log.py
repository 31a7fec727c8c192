"""The record of a run: its events and metrics as lines of JSON, and a log for people."""

from __future__ import annotations

import math
import time
from typing import IO

import msgspec

from ..protocol import TRANSIENT, Event, RunFinished, RunStarted, UpdateFinished, encode
from ..runs import RunDirectory
from .wording import describe


class EventLog:
    """Writes ``events.jsonl``, ``metrics.jsonl`` and ``run.log``, and keeps ``run.json`` up to date.

    Every line is handed to the system as soon as it is written, so that another process, or this one's successor
    after a crash, reads all that happened.
    """

    def __init__(self, run: RunDirectory) -> None:
        self._run = run
        self._events = run.events.open("ab", buffering=0)
        self._metrics = run.metrics.open("ab", buffering=0)
        self._log = run.log.open("a", encoding="utf-8", buffering=1)

    def emit(self, event: Event) -> None:
        if isinstance(event, TRANSIENT):
            return
        self._events.write(encode(event) + b"\n")
        if isinstance(event, UpdateFinished):
            self._metrics.write(msgspec.json.encode(_finite(event.metrics)) + b"\n")
        if text := describe(event):
            self._log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(event.time))}  {text}\n")
        if isinstance(event, RunStarted):
            self._run.update(
                status="running", versions=event.versions, device=event.device, total_steps=event.total_steps
            )
        elif isinstance(event, RunFinished):
            if event.details:
                self._log.write(event.details + "\n")
            self._run.update(
                status=str(event.state),
                exit_code=event.exit_code,
                reason=event.reason,
                step=event.step,
                update=event.update,
                ended=event.time,
            )

    def close(self) -> None:
        files: tuple[IO, ...] = (self._events, self._metrics, self._log)
        for file in files:
            file.close()


def _finite(metrics: dict[str, float | None]) -> dict[str, float | None]:
    """JSON has no NaN: what is not a number is null."""
    return {key: value if value is None or math.isfinite(value) else None for key, value in metrics.items()}
