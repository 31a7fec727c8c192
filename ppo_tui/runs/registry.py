"""List runs, summarise them, and resolve a RUN argument."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import msgspec

from ..errors import UsageError, did_you_mean
from .directory import RUNS_DIR, RunDirectory

LATEST = "latest"
"""Name of the run started last."""

CRASHED = "crashed"
"""State of a run recorded as running whose directory no process has locked."""

_UNDER_WAY = ("starting", "running")


class RunSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a list.

    Attributes:
        state: ``starting``, ``running``, ``finished``, ``stopped``, ``failed``, `CRASHED`, or ``unknown``.
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


def find_run(text: str | Path, *, runs_dir: Path = RUNS_DIR) -> RunDirectory:
    """The directory of the run named `text`.

    Args:
        text: the run's name below `runs_dir`, its directory, or ``latest``.

    Raises:
        UsageError: there is no such run; the message names the nearest.
    """
    if str(text) == LATEST:
        runs = _directories(runs_dir)
        if not runs:
            raise UsageError(f"there is no run in {runs_dir.absolute()}", hint="start one: ppo-tui --preset breakout")
        return max(runs, key=_started)
    for path in (runs_dir / text, Path(text)):
        if (path / "run.json").is_file():
            return RunDirectory(path)
    if Path(text).is_dir():
        raise UsageError(f"{text} holds no run: it has no run.json", hint="ppo-tui runs lists the runs")
    names = [run_dir.path.name for run_dir in _directories(runs_dir)]
    raise UsageError(
        f"there is no run {str(text)!r} in {runs_dir.absolute()}",
        hint=did_you_mean(str(text), [*names, LATEST], otherwise="ppo-tui runs lists the runs"),
    )


def list_runs(runs_dir: Path = RUNS_DIR) -> list[RunSummary]:
    """All runs below `runs_dir`, the one started last first."""
    return [summarise(run_dir) for run_dir in run_directories(runs_dir)]


def run_directories(runs_dir: Path = RUNS_DIR) -> list[RunDirectory]:
    """The directories of all runs below `runs_dir`, the one started last first."""
    return sorted(_directories(runs_dir), key=_started, reverse=True)


def summarise(run_dir: RunDirectory) -> RunSummary:
    """Summarise a run from its files and its lock."""
    facts = run_dir.read()
    holder = run_dir.holder
    step, last, best = _progress(run_dir.metrics)
    started = _started(run_dir)
    return RunSummary(
        name=_text(facts.get("name")) or run_dir.path.name,
        path=str(run_dir.path),
        state=_state(_text(facts.get("status")), holder),
        pid=holder,
        env=_text(facts.get("env")),
        seed=_integer(facts.get("seed")),
        step=step,
        total_steps=_integer(facts.get("total_steps")),
        last_return=last,
        best_return=best,
        started=started,
        age_seconds=max(0.0, time.time() - started),
    )


def _state(status: str, holder: int | None) -> str:
    if status in _UNDER_WAY and holder is None:
        return CRASHED
    return status or "unknown"


def _progress(metrics: Path) -> tuple[int, float | None, float | None]:
    """Steps done, and the last and best mean return."""
    step, last, best = 0, None, None
    with contextlib.suppress(OSError), metrics.open("rb") as lines:
        for line in lines:
            with contextlib.suppress(msgspec.DecodeError):  # or an evaluation's line, without steps
                update = _metrics_decoder.decode(line)
                step, last = update.step, update.mean_return
                if last is not None:
                    best = last if best is None else max(best, last)
    return step, last, best


def _directories(runs_dir: Path) -> list[RunDirectory]:
    try:
        return [RunDirectory(path) for path in runs_dir.iterdir() if (path / "run.json").is_file()]
    except OSError:
        return []


def _started(run_dir: RunDirectory) -> float:
    started = run_dir.read().get("started")
    return float(started) if isinstance(started, int | float) else 0.0


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _integer(value: object) -> int | None:
    return value if isinstance(value, int) else None
