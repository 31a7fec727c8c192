"""The record of a run for a report, read from its directory."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import Any

from ..config import PRIVATE_SECTIONS, flat_settings, to_tables
from ..errors import DamagedRunError, PPOTuiError, RunFailedError, UsageError
from ..expectations import Reference, as_reference
from ..plotting.series import Series
from ..protocol import (
    EpisodeFinished,
    Event,
    Rewound,
    RunStarted,
    SettingChanged,
    UpdateFinished,
)
from ..runs import RunDirectory, RunSummary
from ..runs.entries import CHECKPOINTS
from ..runs.history import recorded_events, recorded_metrics
from ..runs.registry import summarise
from ..runs.select import saved_config
from ..sinks import describe
from ..training.checkpoint.files import Origin, newest_checkpoint


@dataclass(frozen=True)
class Line:
    """An event in words.

    Attributes:
        time: seconds since the Unix epoch.
        kind: the event's tag.
    """

    time: float
    kind: str
    text: str


@dataclass(eq=False)
class RunRecord:
    """Everything a report shows of one run.

    Attributes:
        facts: content of ``run.json``.
        settings: dotted name → value of the resolved configuration.
        curves: metrics by key.
        episodes: raw returns of all episodes.
        edits: changes of settings, in order, including those undone by a rewind.
        lines: all other events in words.
        started: the newest start, or None if the run has never begun.
        origin: machine of its newest checkpoint, or None without one.
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
    def reference(self) -> Reference | None:
        """The measured curve of its preset, as the run has recorded it."""
        return as_reference(self.started.reference) if self.started else None

    @property
    def threshold(self) -> float | None:
        """The return of a solved environment, likewise."""
        return self.started.reward_threshold if self.started else None

    @property
    def versions(self) -> dict[str, Any]:
        """Package → version, as ``run.json`` has them."""
        versions = self.facts.get("versions")
        return versions if isinstance(versions, dict) else {}

    @property
    def seconds(self) -> float | None:
        """Time of training without pauses; None before the first update."""
        elapsed = self.curves.get("time/time_elapsed")
        return elapsed.last if elapsed else None


def read_record(run_dir: RunDirectory) -> RunRecord:
    """Read the record of a run.

    Raises:
        DamagedRunError: its configuration or its metrics cannot be read.
    """
    curves: dict[str, Series] = {}
    try:
        with contextlib.suppress(FileNotFoundError):
            curves = recorded_metrics(run_dir)
        tables = to_tables(saved_config(run_dir))
    except (OSError, PPOTuiError) as error:
        raise DamagedRunError(f"{run_dir.name} is damaged: {error}") from None
    shown = {section: table for section, table in tables.items() if section not in PRIVATE_SECTIONS}
    record = RunRecord(
        directory=run_dir,
        summary=summarise(run_dir),
        facts=run_dir.read(),
        settings=dict(flat_settings(shown)),
        curves=curves,
        origin=_origin(run_dir),
    )
    for event in recorded_events(run_dir):
        _add(event, record)
    return record


def _add(event: Event, record: RunRecord) -> None:
    match event:
        case EpisodeFinished():
            record.episodes.append(event.step, event.episode_return)
        case UpdateFinished():
            pass
        case SettingChanged():
            record.edits.append(event)
        case _:
            if isinstance(event, Rewound):
                record.episodes.rewind(event.step)
            elif isinstance(event, RunStarted):
                record.started = event
            if text := describe(event):
                record.lines.append(Line(event.time, str(event.__struct_config__.tag), text))


def _origin(run_dir: RunDirectory) -> Origin | None:
    with contextlib.suppress(OSError, RunFailedError, UsageError), run_dir.opened() as directory:
        checkpoint, _ = newest_checkpoint(directory / CHECKPOINTS)
        return checkpoint.state.origin
    return None
