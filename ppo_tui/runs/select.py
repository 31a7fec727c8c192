"""Resolve a RUN or CHECKPOINT argument to a checkpoint directory."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ..config import Config, build_config
from ..config.values import show_key
from ..directories import is_plain, opened
from ..errors import PPOTuiError, UsageError, did_you_mean
from ..training.checkpoint.files import (
    MANIFEST_FILE,
    OpenedCheckpoint,
    checkpoint_name,
    list_checkpoints,
    newest_checkpoint,
)
from .directory import RunDirectory
from .entries import CHECKPOINTS, holds_run
from .registry import LATEST, find_run

_MOST_NAMED = 12
"""Checkpoints named in a message."""


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
        text: a run (its name, its directory, ``latest``), perhaps with ``@`` and one of its checkpoints, as in
            ``breakout-3@best``; or a checkpoint's own directory.
        name: which checkpoint of the run, as for `checkpoint_of`, where `text` does not say.

    Raises:
        UsageError: there is no such run or checkpoint, or the one that is named is damaged.
        RunFailedError: no checkpoint of the run is whole.
    """
    with contextlib.suppress(OSError, ValueError):
        if os.path.lexists(Path(text) / MANIFEST_FILE):
            return ChosenCheckpoint(OpenedCheckpoint.open(Path(text).resolve()), None)
    run, at, named = text.rpartition("@")
    if at and run and not holds_run(Path(text)):
        if name != LATEST:
            raise UsageError(f"{text} and --checkpoint {name}: which of the two?", hint="name the checkpoint once")
        text, name = run, named
    return checkpoint_of(find_run(text, wanted="saved"), name)


def checkpoint_of(run_dir: RunDirectory, name: str = LATEST) -> ChosenCheckpoint:
    """Find a checkpoint of a run.

    Args:
        name: ``latest`` for the newest whole one, a link such as ``best``, a step, or a directory's name.

    Raises:
        UsageError: there is no such checkpoint, or it is damaged; the message names the nearest steps.
        RunFailedError: none is whole.
    """
    with run_dir.opened() as directory:
        if name == LATEST:
            checkpoint, skipped = newest_checkpoint(directory / CHECKPOINTS)
            return ChosenCheckpoint(checkpoint, run_dir, tuple(skipped))
        step, steps, links = _as_step(name), [], []
        with contextlib.suppress(FileNotFoundError), opened(directory / CHECKPOINTS) as checkpoints:
            entry = name if step is None else checkpoint_name(step)
            if is_plain(entry) and checkpoints.stat(entry):
                return ChosenCheckpoint(OpenedCheckpoint.open(checkpoints / checkpoints.target(entry)), run_dir)
            steps = [manifest.step for _, manifest in list_checkpoints(checkpoints)[0]]
            links = [link for link in (LATEST, "best") if checkpoints.stat(link)]
    raise UsageError(
        f"checkpoint {show_key(name)}: {run_dir.name} has no such checkpoint",
        hint=_nearest(name, step, steps, links),
    )


def _as_step(name: str) -> int | None:
    """The step called `name`, as in 1200000 or 1,200,000; or None."""
    digits = name.replace(",", "").replace("_", "")
    return int(digits) if digits.isascii() and digits.isdecimal() and len(digits) <= 13 else None


def _nearest(name: str, step: int | None, steps: Sequence[int], links: Sequence[str]) -> str:
    """A hint at the existing checkpoints."""
    words = [*links, *map(str, sorted(steps))]
    otherwise = f"it has {', '.join(words[:_MOST_NAMED]) or 'none'}"
    if step is None or not steps:
        return did_you_mean(name, words, otherwise=otherwise) or otherwise
    near = sorted(sorted(set(steps), key=lambda each: abs(each - step))[:3])
    return f"the nearest steps are {', '.join(f'{each:,}' for each in near)}"


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
