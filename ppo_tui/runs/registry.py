"""Which runs there are, and which one a user means."""

from __future__ import annotations

from pathlib import Path

from ..errors import UsageError, did_you_mean
from .directory import RUNS_DIR, RunDirectory

LATEST = "latest"
"""Stands for the run that was started last."""


def find_run(text: str | Path, *, runs_dir: Path = RUNS_DIR) -> RunDirectory:
    """The run that `text` means: its name below `runs_dir`, its directory, or ``latest``.

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
        raise UsageError(f"{text} holds no run: it has no run.json", hint="name a run below ./runs")
    names = [run.path.name for run in _directories(runs_dir)]
    raise UsageError(
        f"there is no run {str(text)!r} in {runs_dir.absolute()}",
        hint=did_you_mean(str(text), [*names, LATEST], otherwise="name a run below ./runs, its directory, or latest"),
    )


def _directories(runs_dir: Path) -> list[RunDirectory]:
    try:
        return [RunDirectory(path) for path in runs_dir.iterdir() if (path / "run.json").is_file()]
    except OSError:
        return []


def _started(run: RunDirectory) -> float:
    started = run.read().get("started")
    return float(started) if isinstance(started, int | float) else 0.0
