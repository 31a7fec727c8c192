"""Read a run's record, and cut it back before a resume."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from ..protocol import Event, RunFinished, decode_event
from .directory import RunDirectory

_TRAINING_EVENTS = ("update", "episode", "setting", "rewound")
"""Tags of the events of progress; a resume from an earlier checkpoint abandons them."""


class _EventLine(msgspec.Struct):
    event: str = ""
    elapsed: float = 0.0
    step: int = 0


class _MetricsLine(msgspec.Struct):
    elapsed: float | None = msgspec.field(name="time/time_elapsed", default=None)  # an update's line has it
    evaluated: float = msgspec.field(name="eval/total_timesteps", default=-1)  # an evaluation's line has it


_event_decoder = msgspec.json.Decoder(_EventLine)
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
        OSError: the directory cannot be written.
    """

    def event_is_later(line: bytes) -> bool:
        event = _event_decoder.decode(line)
        again = event.event == "evaluated" and evaluating is not None and event.step >= evaluating
        return again or (event.event in _TRAINING_EVENTS and event.elapsed > seconds)

    def metrics_are_later(line: bytes) -> bool:
        metrics = _metrics_decoder.decode(line)
        again = evaluating is not None and metrics.evaluated >= evaluating
        return again or (metrics.elapsed or 0.0) > seconds

    _move_tail(run_dir.events, event_is_later)
    return sum(map(_is_update, _move_tail(run_dir.metrics, metrics_are_later)))


def _is_update(line: bytes) -> bool:
    with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
        return _metrics_decoder.decode(line).elapsed is not None
    return False


def _move_tail(file: Path, is_later: Callable[[bytes], bool]) -> list[bytes]:
    """Move the first later line and the rest aside; return them.

    They go from ``X.jsonl`` to the end of ``X.abandoned.jsonl``.
    """
    try:
        with file.open("rb") as lines:
            keep = _length_to_keep(lines, is_later)
            lines.seek(keep)
            tail = lines.read()
    except FileNotFoundError:
        return []
    if not tail:
        return []
    with file.with_name(f"{file.stem}.abandoned.jsonl").open("ab") as aside:
        aside.write(tail if tail.endswith(b"\n") else tail + b"\n")
        aside.flush()
        os.fsync(aside.fileno())
    os.truncate(file, keep)
    return tail.splitlines()


def _length_to_keep(lines: Iterator[bytes], is_later: Callable[[bytes], bool]) -> int:
    """Bytes before the first later or unfinished line."""
    length = 0
    for line in lines:
        if not line.endswith(b"\n"):
            break
        with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
            if is_later(line):
                break
        length += len(line)
    return length


def recorded_events(run_dir: RunDirectory) -> Iterator[Event]:
    """All events of the record.

    Damaged lines and those of another version are skipped.
    """
    with contextlib.suppress(FileNotFoundError), run_dir.events.open("rb") as lines:
        for line in lines:
            with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
                yield decode_event(line)


def past_events(run_dir: RunDirectory) -> Iterator[Event]:
    """The events of the record for a continued run.

    The ends of earlier processes are left out.
    """
    return (event for event in recorded_events(run_dir) if not isinstance(event, RunFinished))
