"""Which checkpoint a user means."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from ..errors import UsageError, did_you_mean
from ..training.checkpoint.files import MANIFEST_FILE, list_checkpoints, newest_checkpoint
from .directory import RunDirectory
from .registry import LATEST, find_run


class ChosenCheckpoint(NamedTuple):
    """A checkpoint directory, the run that it belongs to where that is known, and what was passed over for it."""

    path: Path
    run: RunDirectory | None
    skipped: tuple[str, ...] = ()


def find_checkpoint(text: str, name: str = LATEST) -> ChosenCheckpoint:
    """The checkpoint that `text` means: a run (its name, its directory, ``latest``), or a checkpoint's own directory.

    Args:
        name: of a run, which one: ``latest`` for the newest whole one, a link such as ``best``, or a directory's name.

    Raises:
        UsageError: there is no such run or checkpoint.
        RunFailedError: no checkpoint of the run is whole.
    """
    if (Path(text) / MANIFEST_FILE).is_file():
        return ChosenCheckpoint(Path(text).resolve(), None)
    run = find_run(text)
    if name == LATEST:
        path, skipped = newest_checkpoint(run.checkpoints)
        return ChosenCheckpoint(path, run, tuple(skipped))
    path = run.checkpoints / name
    if (path / MANIFEST_FILE).is_file() and path.parent == run.checkpoints:
        return ChosenCheckpoint(path.resolve(), run)
    directories = [found.name for found, _ in list_checkpoints(run.checkpoints)[0]]
    links = sorted(link.name for link in run.checkpoints.glob("*") if link.is_symlink())
    known = [*links, *directories]
    raise UsageError(
        f"--checkpoint {name!r}: {run.name} has no such checkpoint",
        hint=did_you_mean(name, known, otherwise=f"it has {', '.join(known) or 'none'}"),
    )
