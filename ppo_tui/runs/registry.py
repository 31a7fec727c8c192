"""List runs, summarise them, and resolve a RUN argument."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Literal

import msgspec

from ..directories import Directory
from ..errors import UsageError, did_you_mean
from ..files import lines_of
from ..text import printable
from .directory import RUNS_DIR, RunDirectory
from .entries import METRICS_FILE, has_checkpoint, holds_run

LATEST = "latest"
"""Name of the run started last."""

CRASHED = "crashed"
"""State of a run recorded as running whose directory no process has locked."""

DAMAGED = "damaged"
"""State of a run whose ``run.json`` is damaged, or whose directory cannot be read."""

_UNDER_WAY = ("starting", "running")

Wanted = Literal["any", "running", "saved", "resumable"]
"""Kind of run that ``latest`` means.

Any; one with a process, if there is one; one with a checkpoint; such a one without a process.
"""


class RunSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a list.

    Attributes:
        state: ``starting``, ``running``, ``finished``, ``stopped``, ``failed``, `CRASHED`, `DAMAGED`, or
            ``unknown``.
        pid: of the process that trains it now, or None.
        step: environment steps done, of `total_steps`.
        last_return, best_return: mean raw return over 100 episodes, as of the last update and at its best.
        started: seconds since the Unix epoch.
        age_seconds: since then.
    """

    name: str
    path: str
    state: str
    pid: int | None
    env: str
    seed: int | None
    step: int
    total_steps: int | None
    last_return: float | None
    best_return: float | None
    started: float
    age_seconds: float

    @property
    def under_way(self) -> bool:
        """Whether it is starting or running."""
        return self.state in _UNDER_WAY


class _Metrics(msgspec.Struct):
    """The part of an update's line of ``metrics.jsonl`` for a summary."""

    step: int = msgspec.field(name="time/total_timesteps")
    mean_return: float | None = msgspec.field(name="rollout/ep_rew_mean", default=None)


_metrics_decoder = msgspec.json.Decoder(_Metrics)


def find_run(text: str | Path, *, runs_dir: Path = RUNS_DIR, wanted: Wanted = "any") -> RunDirectory:
    """The directory of the run named `text`.

    Args:
        text: the run's name below `runs_dir`, its directory, or ``latest``.
        wanted: the kind of run that ``latest`` means.

    Raises:
        UsageError: there is no such run; the message names the nearest.
    """
    if str(text) == LATEST:
        return _latest(runs_dir, wanted)
    for path in (runs_dir / text, Path(text)) if str(text) else ():
        if holds_run(path):
            return RunDirectory(path)
        if (problem := _problem_of(path)) is not None:
            raise UsageError(f"{printable(str(path))} cannot be entered: {problem}")
    shown = printable(str(text)) if len(str(text)) <= 100 else f"{printable(str(text)[:99])}…"
    with contextlib.suppress(OSError, ValueError):
        if str(text) and Path(text).is_dir():
            raise UsageError(f"{shown} holds no run: it has no run.json", hint="ppo-tui runs lists the runs")
    names = [path.name for path in _paths(runs_dir) if holds_run(path)] if len(str(text)) <= 100 else []
    raise UsageError(
        f"there is no run {shown!r} in {runs_dir.absolute()}",
        hint=did_you_mean(str(text), [*map(printable, names), LATEST], otherwise="ppo-tui runs lists the runs"),
    )


def _latest(runs_dir: Path, wanted: Wanted) -> RunDirectory:
    """The run started last, of the wanted kind."""
    here, runs = runs_dir.absolute(), run_directories(runs_dir)
    if not runs:
        raise UsageError(f"there is no run in {here}", hint="start one: ppo-tui cartpole")
    if found := next((run for run in runs if _is(run, wanted)), None):
        return found
    newest = runs[0].path.name
    if wanted == "running":
        return runs[0]  # whoever needs its process says what became of it
    if wanted == "resumable" and runs[0].holder is not None:
        raise UsageError(f"no run in {here} is to be resumed", hint=f"{newest} is running: ppo-tui attach {newest}")
    raise UsageError(f"no run in {here} has a checkpoint", hint=f"the newest is {newest}: ppo-tui replay {newest}")


def _is(run_dir: RunDirectory, wanted: Wanted) -> bool:
    match wanted:
        case "running":
            return run_dir.holder is not None
        case "saved":
            return has_checkpoint(run_dir.path)
        case "resumable":
            return has_checkpoint(run_dir.path) and run_dir.holder is None
    return True


def list_runs(runs_dir: Path = RUNS_DIR) -> list[RunSummary]:
    """All runs below `runs_dir`, the one started last first.

    A damaged one hides no other.
    """
    found = []
    for path in _paths(runs_dir):
        try:
            if holds_run(path):
                found.append(summarise(RunDirectory(path)))
            elif _problem_of(path) is not None:
                found.append(_damaged(path))
        except Exception:  # whatever is wrong with it
            found.append(_damaged(path))
    return sorted(found, key=lambda summary: summary.started, reverse=True)


def run_directories(runs_dir: Path = RUNS_DIR) -> list[RunDirectory]:
    """The directories of all runs below `runs_dir`, the one started last first."""
    found = [RunDirectory(path) for path in _paths(runs_dir) if holds_run(path)]
    return sorted(found, key=lambda run_dir: run_dir.started, reverse=True)


def summarise(run_dir: RunDirectory) -> RunSummary:
    """Summarise a run from its files and its lock.

    Raises:
        OSError: the directory cannot be entered.
    """
    with run_dir.reader() as run_dir:
        facts, problem = run_dir.facts()
        holder = run_dir.holder
        step, last, best = _progress(run_dir.held)
        started = run_dir.started
        state = _state(facts.get("status") or "", holder)
        return RunSummary(
            name=run_dir.name,
            path=str(run_dir.path),
            state=DAMAGED if problem and holder is None else state,
            pid=holder,
            env=facts.get("env") or "",
            seed=facts.get("seed"),
            step=step,
            total_steps=facts.get("total_steps"),
            last_return=last,
            best_return=best,
            started=started,
            age_seconds=max(0.0, time.time() - started),
        )


def _damaged(path: Path) -> RunSummary:
    """The summary of an unreadable run."""
    return RunSummary(
        name=path.name,
        path=str(path.absolute()),
        state=DAMAGED,
        pid=None,
        env="",
        seed=None,
        step=0,
        total_steps=None,
        last_return=None,
        best_return=None,
        started=0.0,
        age_seconds=0.0,
    )


def _state(status: str, holder: int | None) -> str:
    if status in _UNDER_WAY and holder is None:
        return CRASHED
    return status or "unknown"


def _progress(directory: Directory) -> tuple[int, float | None, float | None]:
    """Steps done, and the last and best mean return."""
    step, last, best = 0, None, None
    try:
        lines = directory.open_file(METRICS_FILE)
    except (OSError, UsageError):
        return step, last, best
    with lines:
        for line in lines_of(lines):
            # An evaluation's line has no steps.
            with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                update = _metrics_decoder.decode(line)
                step, last = update.step, update.mean_return
                if last is not None:
                    best = last if best is None else max(best, last)
    return step, last, best


def _paths(runs_dir: Path) -> list[Path]:
    try:
        return [runs_dir / name for name in sorted(os.listdir(runs_dir))]
    except OSError:
        return []


def _problem_of(path: Path) -> str | None:
    """Why a directory cannot be entered; None for others."""
    try:
        with Directory.open(path) as directory:
            directory.names()
    except PermissionError as error:
        return error.strerror
    except (OSError, ValueError):
        return None
    return None
