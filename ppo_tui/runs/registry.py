"""List runs and sweeps, summarise them, and resolve a RUN argument."""

from __future__ import annotations

import contextlib
import os
import shlex
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from ..directories import Directory
from ..errors import UsageError, did_you_mean
from ..files import decoded
from ..protocol import BY_RULE
from ..text import printable
from .creation import RUNS_DIR
from .directory import RunDirectory
from .entries import RESULTS_FILE, has_checkpoint, holds_run, holds_sweep
from .progress import Progress

LATEST = "latest"
"""Name of the run started last."""

CRASHED = "crashed"
"""State of a run recorded as running whose directory no process has locked."""

DAMAGED = "damaged"
"""State of a run whose ``run.json`` is damaged, or whose directory cannot be read."""

PAUSED = "paused"
"""State of a running run that says so itself (see `client.ask_runs`); its files do not tell."""

PRUNED = "pruned"
"""State of a trial that its sweep has stopped early."""

_UNDER_WAY = ("starting", "running", PAUSED)

_MOST_RESULT_BYTES = 10_000_000
"""Limit of a sweep's ``results.json``."""

Wanted = Literal["any", "running", "saved", "resumable"]
"""Kind of run that ``latest`` means.

Any; one with a process, if there is one; one with a checkpoint; such a one without a process.
"""


class RunSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a list.

    Attributes:
        name: of its directory below the runs: ``<sweep>/<trial>`` for a trial.
        state: ``starting``, ``running``, `PAUSED`, ``finished``, ``stopped``, `PRUNED`, ``failed``, `CRASHED`,
            `DAMAGED`, or ``unknown``.
        sweep: the sweep whose trial it is, or None.
        objective: score of its trial in the sweep, once that has ended.
        pid: of the process that trains it now, or None.
        step: environment steps done, of `total_steps`.
        last_return, best_return: mean raw return over 100 episodes, as of the last update and at its best.
        started: seconds since the Unix epoch.
        age_seconds: since then.
        seconds: of training so far, or None.
        reason: of its end, in words; empty for one that has not ended.
        by_rule: whether a stop rule has ended it.
        init_from: source of its first weights, in words; empty for fresh ones.
        problem: what is damaged, in words, or None.
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
    seconds: float | None = None
    preset: str = ""
    init_from: str = ""
    sweep: str | None = None
    objective: float | None = None
    reason: str = ""
    by_rule: bool = False
    problem: str | None = None

    @property
    def under_way(self) -> bool:
        """Whether it is starting, running or paused."""
        return self.state in _UNDER_WAY


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


def find_runs(text: str | Path) -> list[RunDirectory]:
    """The run, or the trials of the sweep, named `text`.

    Raises:
        UsageError: there is neither, or the sweep has no trial yet.
    """
    for path in (RUNS_DIR / text, Path(text)) if str(text) not in ("", LATEST) else ():
        if holds_sweep(path) and not holds_run(path):
            if trials := [RunDirectory(trial) for trial in _paths(path) if holds_run(trial)]:
                return trials
            raise UsageError(f"the sweep {printable(str(text))} has no trial yet", hint="wait until one has begun")
    return [find_run(text)]


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
        raise UsageError(
            f"no run in {here} is to be resumed", hint=f"{newest} is running: ppo-tui attach {shlex.quote(newest)}"
        )
    raise UsageError(
        f"no run in {here} has a checkpoint", hint=f"the newest is {newest}: ppo-tui replay {shlex.quote(newest)}"
    )


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

    The trials of a sweep follow one another, in the place of the one that was started last. A damaged run hides no
    other.
    """
    return in_order([run for run in map(summarise_at, run_places(runs_dir)) if run])


def in_order(runs: Iterable[RunSummary]) -> list[RunSummary]:
    """Sort runs by their start, the latest first; trials by name."""
    begun: dict[str, float] = {}
    for run in (runs := list(runs)):
        group = run.sweep or run.name
        begun[group] = max(begun.get(group, 0.0), run.started)
    return sorted(runs, key=lambda run: (-begun[run.sweep or run.name], run.sweep or run.name, run.name))


class Outcome(msgspec.Struct, frozen=True):
    """A trial of a sweep in its ``results.json``."""

    state: str
    score: float | None
    runs: tuple[str, ...]


_outcomes_decoder = msgspec.json.Decoder(list[Outcome])


class Place(NamedTuple):
    """A possible run: its path, and its sweep if any."""

    path: Path
    sweep: str | None = None
    outcome: Outcome | None = None

    @property
    def name(self) -> str:
        """The run's name, as `find_run` takes it."""
        return f"{self.sweep}/{self.path.name}" if self.sweep else self.path.name


def run_places(runs_dir: Path = RUNS_DIR) -> list[Place]:
    """All entries below `runs_dir`, and those of its sweeps."""
    places = []
    for path in _paths(runs_dir):
        if holds_sweep(path) and not holds_run(path):
            outcomes = _outcomes(path)
            places += [Place(trial, path.name, outcomes.get(trial.name)) for trial in _paths(path)]
        else:
            places.append(Place(path))
    return places


def _outcomes(sweep: Path) -> dict[str, Outcome]:
    """The ended trials of a sweep, by the names of their runs."""
    with contextlib.suppress(OSError, UsageError, msgspec.DecodeError):
        with Directory.open(sweep) as directory:
            results = decoded(_outcomes_decoder, directory.read(RESULTS_FILE, _MOST_RESULT_BYTES))
        return {Path(run).name: outcome for outcome in results for run in outcome.runs}
    return {}


def summarise_at(place: Place, progress: Progress | None = None) -> RunSummary | None:
    """The summary of the run at `place`; None without one.

    Args:
        progress: as known so far; else all of its metrics are read.
    """
    try:
        if holds_run(place.path):
            return _in_its_sweep(summarise(RunDirectory(place.path), progress), place)
        problem = _problem_of(place.path)
    except Exception as error:  # whatever is wrong with it
        problem = str(error) or type(error).__name__
    return _damaged(place, problem) if problem is not None else None


def run_directories(runs_dir: Path = RUNS_DIR) -> list[RunDirectory]:
    """The directories of all runs below `runs_dir`, the one started last first."""
    found = [RunDirectory(path) for path in _paths(runs_dir) if holds_run(path)]
    return sorted(found, key=lambda run_dir: run_dir.started, reverse=True)


def _in_its_sweep(run: RunSummary, place: Place) -> RunSummary:
    """Add the sweep's own facts about its trial."""
    if place.sweep is None:
        return run
    outcome = place.outcome
    pruned = outcome is not None and outcome.state == PRUNED and run.state == "stopped"
    return msgspec.structs.replace(
        run,
        name=place.name,
        sweep=place.sweep,
        objective=outcome.score if outcome else None,
        state=PRUNED if pruned else run.state,
    )


def summarise(run_dir: RunDirectory, progress: Progress | None = None) -> RunSummary:
    """Summarise a run from its files and its lock.

    Args:
        progress: as known so far; else all of its metrics are read.

    Raises:
        OSError: the directory cannot be entered.
    """
    with run_dir.reader() as run_dir:
        facts, problem = run_dir.facts()
        holder = run_dir.holder
        if progress is None:
            progress = Progress()
            progress.read(run_dir.held)
        started = run_dir.started
        state = _state(facts.get("status") or "", holder)
        return RunSummary(
            name=run_dir.name,
            path=str(run_dir.path),
            state=DAMAGED if problem and holder is None else state,
            pid=holder,
            env=facts.get("env") or "",
            seed=facts.get("seed"),
            step=progress.step or facts.get("step") or 0,
            total_steps=facts.get("total_steps"),
            last_return=progress.last,
            best_return=progress.best,
            started=started,
            age_seconds=max(0.0, time.time() - started),
            seconds=progress.seconds,
            preset=facts.get("preset") or "",
            reason="" if state in _UNDER_WAY else facts.get("reason") or "",
            by_rule=state == "finished" and facts.get("stopped_by") == BY_RULE,
            init_from=facts.get("init_from") or "",
            problem=problem,
        )


def _damaged(place: Place, problem: str) -> RunSummary:
    """The summary of an unreadable run."""
    return RunSummary(
        name=place.name,
        path=str(place.path.absolute()),
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
        sweep=place.sweep,
        problem=problem,
    )


def _state(status: str, holder: int | None) -> str:
    if status in _UNDER_WAY and holder is None:
        return CRASHED
    return status or "unknown"


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
