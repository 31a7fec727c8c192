"""What a report tells of a run: all of it read from the run's directory."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import Any

from ..config import PRIVATE_SECTIONS, build_config, flat_settings, read_preset, to_tables
from ..errors import RunFailedError, UsageError
from ..plotting.series import Series, read_metrics
from ..protocol import (
    EpisodeFinished,
    Event,
    Rewound,
    RunStarted,
    SettingChanged,
    UpdateFinished,
)
from ..runs import RunDirectory, RunSummary
from ..runs.history import recorded_events
from ..runs.registry import summarise
from ..sinks import describe
from ..training.checkpoint.files import Origin, newest_checkpoint, read_state


@dataclass(frozen=True)
class Line:
    """One event in words.

    Attributes:
        time: seconds since the Unix epoch.
        kind: the event's tag.
    """

    time: float
    kind: str
    text: str


@dataclass(frozen=True, eq=False)
class RunRecord:
    """One run.

    Attributes:
        facts: what ``run.json`` says.
        settings: dotted name → value of the resolved configuration.
        curves: metrics by key.
        episodes: raw returns of all full games.
        edits: changes of settings, in order, with those that a rewind has undone.
        lines: all other events in words.
        started: the newest start, or None where the run has never begun.
        origin: what its newest checkpoint was computed on, or None without one.
    """

    directory: RunDirectory
    summary: RunSummary
    facts: dict[str, Any]
    settings: dict[str, Any]
    curves: dict[str, Series]
    episodes: Series = field(default_factory=Series)
    edits: list[SettingChanged] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    started: RunStarted | None = None
    origin: Origin | None = None

    @property
    def name(self) -> str:
        return self.summary.name

    @property
    def seconds(self) -> float | None:
        """Of training, pauses left out; None before the first update."""
        elapsed = self.curves.get("time/time_elapsed")
        return elapsed.last if elapsed else None


def read_record(run: RunDirectory) -> RunRecord:
    """Everything that the directory of `run` tells.

    Raises:
        UsageError: its ``config.toml`` or ``metrics.jsonl`` cannot be read.
    """
    try:
        curves = read_metrics(run.metrics)
    except FileNotFoundError:
        curves = {}
    except OSError as error:
        raise UsageError(f"{run.metrics} cannot be read: {error.strerror}") from None
    tables = to_tables(build_config(read_preset(run.config_path)))
    shown = {section: table for section, table in tables.items() if section not in PRIVATE_SECTIONS}
    record: dict[str, Any] = {"episodes": Series(), "edits": [], "lines": [], "started": None}
    for event in recorded_events(run):
        _take(record, event)
    return RunRecord(
        directory=run,
        summary=summarise(run),
        facts=run.read(),
        settings=dict(flat_settings(shown)),
        curves=curves,
        origin=_origin(run),
        **record,
    )


def _take(record: dict[str, Any], event: Event) -> None:
    match event:
        case EpisodeFinished():
            record["episodes"].append(event.step, event.episode_return)
        case UpdateFinished():
            pass
        case SettingChanged():
            record["edits"].append(event)
        case _:
            if isinstance(event, Rewound):
                record["episodes"].rewind(event.step)
            elif isinstance(event, RunStarted):
                record["started"] = event
            if text := describe(event):
                record["lines"].append(Line(event.time, event.__struct_config__.tag, text))


def _origin(run: RunDirectory) -> Origin | None:
    with contextlib.suppress(RunFailedError, UsageError):
        path, _ = newest_checkpoint(run.checkpoints)
        return read_state(path).origin
    return None
