"""Which runs there are, and what each is doing."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

import msgspec

from .directory import RUNS_DIR, RunDirectory

CRASHED = "crashed"
"""The state of a run that ended without a word: its record says that it runs, but its process is gone."""

_UNDER_WAY = ("starting", "running")


class RunSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One run as a list shows it.

    Attributes:
        state: ``starting``, ``running``, ``finished``, ``stopped``, ``failed``, `CRASHED`, or ``unknown``.
        pid: the process that trains it now, or None.
        step: environment steps done, of `total_steps`.
        last_return, best_return: mean raw return over 100 games, as of the last update and at its best.
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


class _Metrics(msgspec.Struct):
    """What a summary takes from a line of ``metrics.jsonl``."""

    step: int = msgspec.field(name="time/total_timesteps", default=0)
    mean_return: float | None = msgspec.field(name="rollout/ep_rew_mean", default=None)


_metrics_decoder = msgspec.json.Decoder(_Metrics)


def list_runs(runs_dir: Path = RUNS_DIR) -> list[RunSummary]:
    """All runs below `runs_dir`, the one started last first."""
    try:
        found = [RunDirectory(path) for path in runs_dir.iterdir() if (path / "run.json").is_file()]
    except OSError:
        return []
    return sorted(map(summarise, found), key=lambda run: run.started, reverse=True)


def summarise(run: RunDirectory) -> RunSummary:
    """What the files of `run` say of it, and whether its process is alive."""
    facts = run.read()
    status = facts.get("status", "unknown")
    pid = facts.get("pid") if status in _UNDER_WAY and _alive(facts.get("pid")) else None
    step, last, best = _progress(run.metrics)
    started = float(facts.get("started", 0.0))
    return RunSummary(
        name=facts.get("name", run.path.name),
        path=str(run.path),
        state=CRASHED if status in _UNDER_WAY and pid is None else status,
        pid=pid,
        env=facts.get("env", ""),
        seed=facts.get("seed"),
        step=step,
        total_steps=facts.get("total_steps"),
        last_return=last,
        best_return=best,
        started=started,
        age_seconds=max(0.0, time.time() - started),
    )


def _alive(pid: object) -> bool:
    if not isinstance(pid, int):
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _progress(metrics: Path) -> tuple[int, float | None, float | None]:
    """Steps done, and the last and the best mean return; a damaged line counts for nothing."""
    step, last, best = 0, None, None
    with contextlib.suppress(OSError), metrics.open("rb") as lines:
        for line in lines:
            with contextlib.suppress(msgspec.DecodeError):
                update = _metrics_decoder.decode(line)
                step, last = update.step, update.mean_return
                if last is not None:
                    best = last if best is None else max(best, last)
    return step, last, best
