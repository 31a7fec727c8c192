"""Read a run's record, and cut it back before a resume."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from io import BufferedRandom
from typing import Any

import msgspec

from ..directories import Directory
from ..files import decoded, lines_of
from ..plotting.series import Series, read_metrics
from ..protocol import Event, RunFinished, RunStarted, decode_event
from ..system.paths import flush
from ..training.checkpoint.resume import Abandoned
from .directory import RunDirectory
from .entries import EVENTS_FILE, METRICS_FILE

_TRAINING_EVENTS = ("update", "update-inspected", "episode", "setting", "rewound")
"""Tags of the events of progress; a resume from an earlier checkpoint abandons them."""


class _EventLine(msgspec.Struct):
    event: str = ""
    elapsed: float = 0.0
    step: int = 0


class _ScoreLine(msgspec.Struct):
    score: float | None = msgspec.field(name="eval/ep_rew_mean", default=None)


class _EndLine(msgspec.Struct):
    event: str = ""
    elapsed: float = 0.0
    step: int = 0
    metrics: _ScoreLine | None = None


class _MetricsLine(msgspec.Struct):
    elapsed: float | None = msgspec.field(name="time/time_elapsed", default=None)  # an update's line has it
    evaluated: float = msgspec.field(name="eval/total_timesteps", default=-1)  # an evaluation's line has it


_event_decoder = msgspec.json.Decoder(_EventLine)
_end_decoder = msgspec.json.Decoder(_EndLine)
_metrics_decoder = msgspec.json.Decoder(_MetricsLine)


def set_aside_after(run_dir: RunDirectory, seconds: float, *, evaluating: int | None = None) -> int:
    """Move the record after `seconds` of training aside, before a resume.

    The lines go to the end of ``events.abandoned.jsonl`` and ``metrics.abandoned.jsonl``; nothing is lost. A line cut
    short by a crash goes with them.

    Args:
        evaluating: step of a policy that the resumed run evaluates again; its score goes with them.

    Returns:
        How many updates were abandoned.

    Raises:
        RefusedFileError: one of the files is a link, or no regular file.
        OSError: the directory cannot be written.
    """

    def event_is_later(line: bytes) -> bool:
        event = decoded(_event_decoder, line)
        again = event.event == "evaluated" and evaluating is not None and event.step >= evaluating
        return again or (event.event in _TRAINING_EVENTS and event.elapsed > seconds)

    def metrics_are_later(line: bytes) -> bool:
        metrics = decoded(_metrics_decoder, line)
        again = evaluating is not None and metrics.evaluated >= evaluating
        return again or (metrics.elapsed or 0.0) > seconds

    with run_dir.opened() as directory:
        _move_tail(directory, EVENTS_FILE, event_is_later)
        return sum(map(_is_update, _move_tail(directory, METRICS_FILE, metrics_are_later)))


def recorded_so_far(run_dir: RunDirectory, best: float | None) -> Abandoned:
    """The end of the record, for a run leaving a branch.

    Args:
        best: the highest score, as its newest checkpoint has it; later evaluations may be higher.

    Raises:
        RefusedFileError: ``events.jsonl`` is a link, or no regular file.
        OSError: there is none, or it cannot be read.
    """
    step, seconds = 0, 0.0
    with run_dir.opened() as directory, directory.open_file(EVENTS_FILE) as record:
        for line in lines_of(record):
            with contextlib.suppress(msgspec.DecodeError):
                event = decoded(_end_decoder, line)
                seconds = max(seconds, event.elapsed)
                if event.event in ("update", "rewound"):
                    step = event.step
                elif event.event == "evaluated" and event.metrics and event.metrics.score is not None:
                    best = event.metrics.score if best is None else max(best, event.metrics.score)
    return Abandoned(step, seconds, best)


def _is_update(line: bytes) -> bool:
    with contextlib.suppress(msgspec.DecodeError):
        return decoded(_metrics_decoder, line).elapsed is not None
    return False


def _move_tail(directory: Directory, name: str, is_later: Callable[[bytes], bool]) -> list[bytes]:
    """Move the first later line and the rest aside; return them.

    They go from ``X.jsonl`` to the end of ``X.abandoned.jsonl``.
    """
    if directory.stat(name) is None:
        return []
    with os.fdopen(directory.open_to_change(name), "r+b") as file:
        keep = _length_to_keep(file, is_later)
        file.seek(keep)
        tail = file.read()
        if not tail:
            return []
        aside_name = f"{name.removesuffix('.jsonl')}.abandoned.jsonl"
        with os.fdopen(directory.append_to(aside_name), "ab") as aside:
            aside.write(tail if tail.endswith(b"\n") else tail + b"\n")
            aside.flush()
            flush(aside.fileno())
        file.truncate(keep)
    return tail.splitlines()


def _length_to_keep(file: BufferedRandom, is_later: Callable[[bytes], bool]) -> int:
    """Bytes before the first later or unfinished line."""
    length = 0
    for line in lines_of(file):
        if not line.endswith(b"\n"):
            break
        with contextlib.suppress(msgspec.DecodeError):
            if is_later(line):
                break
        length = file.tell()
    return length


def recorded_events(run_dir: RunDirectory) -> Iterator[Event]:
    """All events of the record.

    Damaged lines and those of another version are skipped.
    """
    with contextlib.ExitStack() as stack:
        try:
            directory = stack.enter_context(run_dir.opened())
            record = stack.enter_context(directory.open_file(EVENTS_FILE))
        except FileNotFoundError:
            return
        for line in lines_of(record):
            with contextlib.suppress(msgspec.DecodeError):
                yield decode_event(line)


def past_events(run_dir: RunDirectory) -> Iterator[Event]:
    """The events of the record for a continued run.

    The ends of earlier processes are left out.
    """
    return (event for event in recorded_events(run_dir) if not isinstance(event, RunFinished))


def rebuilt_facts(run_dir: RunDirectory) -> dict[str, Any]:
    """Facts of a lost ``run.json``, from the record of events."""
    for event in recorded_events(run_dir):
        if isinstance(event, RunStarted):
            return {"name": event.run, "started": event.time, "device": event.device, "versions": event.versions}
    return {}


def recorded_metrics(run_dir: RunDirectory) -> dict[str, Series]:
    """The curves of the record, by metric key.

    Raises:
        RefusedFileError: ``metrics.jsonl`` is a link, or no regular file.
        OSError: there is none, or it cannot be read.
    """
    with run_dir.opened() as directory, directory.open_file(METRICS_FILE) as lines:
        return read_metrics(lines_of(lines))
