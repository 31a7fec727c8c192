"""Resolve a RUN or CHECKPOINT argument to a checkpoint directory."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import NamedTuple

from ..config import Config, build_config
from ..directories import is_plain, opened
from ..errors import PPOTuiError, UsageError, did_you_mean
from ..training.checkpoint.files import MANIFEST_FILE, OpenedCheckpoint, list_checkpoints, newest_checkpoint
from .directory import RunDirectory
from .entries import CHECKPOINTS
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
    with contextlib.suppress(OSError, ValueError):
        if os.path.lexists(Path(text) / MANIFEST_FILE):
            return ChosenCheckpoint(OpenedCheckpoint.open(Path(text).resolve()), None)
    run_dir = find_run(text, wanted="saved")
    with run_dir.opened() as directory:
        if name == LATEST:
            checkpoint, skipped = newest_checkpoint(directory / CHECKPOINTS)
            return ChosenCheckpoint(checkpoint, run_dir, tuple(skipped))
        known: list[str] = []
        with contextlib.suppress(FileNotFoundError), opened(directory / CHECKPOINTS) as checkpoints:
            if is_plain(name) and checkpoints.stat(name):
                return ChosenCheckpoint(OpenedCheckpoint.open(checkpoints / checkpoints.target(name)), run_dir)
            known = [entry for entry in ("latest", "best") if checkpoints.stat(entry)]
            known += [found.name for found, _ in list_checkpoints(checkpoints)[0]]
    raise UsageError(
        f"--checkpoint {name!r}: {run_dir.name} has no such checkpoint",
        hint=did_you_mean(name, known, otherwise=f"it has {', '.join(known) or 'none'}"),
    )


def saved_config(run_dir: RunDirectory) -> Config:
    """The configuration of a run: of ``config.toml``, or of its newest checkpoint.

    Raises:
        UsageError: the file is damaged, and there is no whole checkpoint.
        OSError: the same of a missing file.
    """
    try:
        return build_config(run_dir.read_config())
    except (OSError, UsageError):
        with contextlib.suppress(OSError, PPOTuiError), run_dir.opened() as directory:
            checkpoint, _ = newest_checkpoint(directory / CHECKPOINTS)
            return build_config(checkpoint.state.config)
        raise
