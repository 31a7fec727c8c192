"""The entries of a run directory: their names and kinds."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import sys
from pathlib import Path

from ..directories import Directory
from ..errors import UsageError
from ..text import printable
from .facts import JSON_FILE

CONFIG_FILE, EVENTS_FILE, METRICS_FILE = "config.toml", "events.jsonl", "metrics.jsonl"
LOG_FILE, WORKERS_LOG_FILE, LOCK_FILE = "run.log", "workers.log", "run.lock"
CHECKPOINTS, TENSORBOARD = "checkpoints", "tensorboard"

SWEEP_FILE, SWEEP_LOCK_FILE, RESULTS_FILE = "sweep.json", "sweep.lock", "results.json"
"""Files of the directory of a sweep, whose trials are run directories below it."""

_REPLACED = (JSON_FILE, CONFIG_FILE)
"""Files that are replaced whole: what lies in their place is renamed, or replaced."""

_CHANGED = (
    EVENTS_FILE,
    METRICS_FILE,
    LOG_FILE,
    WORKERS_LOG_FILE,
    LOCK_FILE,
    "events.abandoned.jsonl",
    "metrics.abandoned.jsonl",
)
"""Files that are changed in place."""

_DIRECTORIES = (CHECKPOINTS, TENSORBOARD, "wandb", "mlruns")

AS_GOOD_AS_NOTHING = frozenset({"control.sock", "lost+found", ".gitkeep", ".gitignore", ".DS_Store"})
"""Entries of a directory that still counts as empty."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def check_name(name: str | None) -> None:
    """Refuse a run's or a sweep's name unfit for a file.

    Raises:
        UsageError: with the rule.
    """
    if name is not None and not _NAME.fullmatch(name):
        raise UsageError(
            f"--name {printable(name)!r}: a run's name is letters, digits, '.', '_' and '-', "
            "starting with a letter or digit"
        )


def holds_run(path: Path) -> bool:
    """Whether this directory holds a run, whole or damaged."""
    try:
        with Directory.open(path) as directory:
            return is_run(directory)
    except (OSError, ValueError):  # also of a path that no file can have
        return False


def is_run(directory: Directory) -> bool:
    """As `holds_run`, of a directory held open."""
    with contextlib.suppress(OSError, UsageError):
        return directory.stat(JSON_FILE) is not None or _is_saved(directory)
    return False


def has_checkpoint(path: Path) -> bool:
    """Whether this directory holds a checkpoint, whole or damaged."""
    try:
        with Directory.open(path) as directory:
            return _is_saved(directory)
    except (OSError, UsageError, ValueError):
        return False


def _is_saved(directory: Directory) -> bool:
    with directory.subdirectory(CHECKPOINTS) as checkpoints:
        return any(name.startswith("step-") for name in checkpoints.names())


def holds_sweep(path: Path) -> bool:
    """Whether this directory holds a sweep."""
    try:
        with Directory.open(path) as directory:
            return directory.stat(SWEEP_FILE) is not None
    except (OSError, ValueError):
        return False


def refuse_strangers(directory: Directory) -> None:
    """Refuse links and special files in the places of a run's own.

    Raises:
        RefusedFileError: naming the first.
    """
    directory.refuse_strangers(files=_CHANGED, directories=_DIRECTORIES)
    for name in _REPLACED:
        facts = directory.stat(name)
        if facts and stat.S_ISLNK(facts.st_mode):
            directory.refuse_strangers(files=[name])


def remove_unfinished(directory: Directory) -> None:
    """Remove the remains of processes killed while they wrote."""
    for name in directory.names():
        if re.fullmatch(r"\.(run\.json|config\.toml)(\.[0-9a-f]{16})?\.tmp", name) and not directory.is_directory(name):
            directory.remove(name)


def is_own_output(directory: Directory, name: str) -> bool:
    """Whether a file is this process's own stdout or stderr.

    A shell or a scheduler has opened it.
    """
    facts = directory.stat(name)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            if facts and os.path.samestat(os.fstat(stream.fileno()), facts):
                return True
    return False
