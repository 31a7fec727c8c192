"""Resolve a RUN or CHECKPOINT argument to a checkpoint directory."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from ..errors import UsageError, did_you_mean
from ..training.checkpoint.files import MANIFEST_FILE, OpenedCheckpoint, list_checkpoints, newest_checkpoint
from .directory import RunDirectory
from .registry import LATEST, find_run


class ChosenCheckpoint(NamedTuple):
    """A whole checkpoint, opened.

    Attributes:
        run_dir: of its run, where that is known.
        skipped: messages about newer, damaged checkpoints.
    """

    checkpoint: OpenedCheckpoint
    run_dir: RunDirectory | None
    skipped: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The name of the run, or of the checkpoint's directory."""
        return self.run_dir.name if self.run_dir else self.checkpoint.path.name


def find_checkpoint(text: str, name: str = LATEST) -> ChosenCheckpoint:
    """Find a checkpoint by a user's words.

    Args:
        text: a run (its name, its directory, ``latest``), or a checkpoint's own directory.
        name: which checkpoint of the run: ``latest`` for the newest whole one, a link such as ``best``, or a
            directory's name.

    Raises:
        UsageError: there is no such run or checkpoint, or the one that is named is damaged.
        RunFailedError: no checkpoint of the run is whole.
    """
    if (Path(text) / MANIFEST_FILE).is_file():
        return ChosenCheckpoint(OpenedCheckpoint.open(Path(text).resolve()), None)
    run_dir = find_run(text)
    if name == LATEST:
        checkpoint, skipped = newest_checkpoint(run_dir.checkpoints)
        return ChosenCheckpoint(checkpoint, run_dir, tuple(skipped))
    path = run_dir.checkpoints / name
    if (path / MANIFEST_FILE).is_file() and path.parent == run_dir.checkpoints:
        return ChosenCheckpoint(OpenedCheckpoint.open(path.resolve()), run_dir)
    directories = [found.name for found, _ in list_checkpoints(run_dir.checkpoints)[0]]
    links = sorted(link.name for link in run_dir.checkpoints.glob("*") if link.is_symlink())
    known = [*links, *directories]
    raise UsageError(
        f"--checkpoint {name!r}: {run_dir.name} has no such checkpoint",
        hint=did_you_mean(name, known, otherwise=f"it has {', '.join(known) or 'none'}"),
    )
