"""Delete the directory of an ended run, and nothing else."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ..directories import Directory
from ..errors import UsageError
from ..files import RefusedFileError
from ..text import counted, printable
from .entries import CHECKPOINTS, LOCK_FILE, is_run
from .facts import JSON_FILE
from .lock import DirectoryLock, pid_in

_SET_ASIDE = "abandoned-"
"""Beginning of the names of the subdirectories with the records of earlier attempts."""

_MOST_DEPTH = 20


class Weight(NamedTuple):
    """The contents of a run directory, counted."""

    size: int
    files: int
    checkpoints: int

    @property
    def words(self) -> str:
        """Such as "1.2 MB in 34 files, with 5 checkpoints"."""
        size = f"{self.size / 1e6:,.1f} MB" if self.size >= 1e6 else f"{self.size / 1e3:,.0f} KB"
        return f"{size} in {counted(self.files, 'file')}, with {counted(self.checkpoints, 'checkpoint')}"


def weigh(path: Path) -> Weight:
    """Measure a run directory, without following links.

    Raises:
        UsageError: it is a link, holds no run, or cannot be entered.
    """
    with _parent_of(path) as parent, _run_below(parent, path.name) as directory:
        sizes = list(_sizes(directory))
        checkpoints = 0
        with contextlib.suppress(OSError, RefusedFileError), directory.subdirectory(CHECKPOINTS) as saved:
            checkpoints = sum(name.startswith("step-") and saved.is_directory(name) for name in saved.names())
    return Weight(sum(sizes), len(sizes), checkpoints)


def delete_run(path: Path) -> None:
    """Delete the directory of an ended run with everything in it.

    It is locked meanwhile, and is gone from its place at once: no process can begin to train in it.

    Raises:
        UsageError: a process trains in it, it is a link, holds no run or another one, or cannot be deleted.
    """
    lock = DirectoryLock(LOCK_FILE)
    with _parent_of(path) as parent, _run_below(parent, path.name) as directory:
        _refuse_nested(directory)
        try:
            lock.acquire(directory)
        except BlockingIOError:
            pid = pid_in(directory, LOCK_FILE)
            trains = f"pid {pid} trains in it" if pid else "a process trains in it"
            raise UsageError(f"{_shown(path)} is not deleted: {trains}", hint="stop it first") from None
        except (OSError, RefusedFileError) as error:
            raise _undeletable(path, error) from None
        try:
            _remove(parent, path.name, directory)
        except OSError as error:
            raise _undeletable(path, error) from None
        finally:
            lock.release()


@contextlib.contextmanager
def _parent_of(path: Path) -> Iterator[Directory]:
    try:
        parent = Directory.open(path.parent)
    except OSError as error:
        raise _undeletable(path, error) from None
    with parent:
        yield parent


@contextlib.contextmanager
def _run_below(parent: Directory, name: str) -> Iterator[Directory]:
    """The run directory of this name, certainly one and no link."""
    path = parent.path / name
    try:
        directory = parent.subdirectory(name)
    except FileNotFoundError:
        raise UsageError(f"{_shown(path)} is gone already") from None
    except (OSError, RefusedFileError) as error:
        raise _undeletable(path, error) from None
    with directory:
        if not is_run(directory):
            raise UsageError(f"{_shown(path)} holds no run: it has no {JSON_FILE} and no checkpoint")
        yield directory


def _refuse_nested(directory: Directory) -> None:
    for name in directory.names():
        if name != CHECKPOINTS and not name.startswith(_SET_ASIDE) and directory.is_directory(name):
            with contextlib.suppress(OSError), directory.subdirectory(name) as below:
                if is_run(below):
                    raise UsageError(
                        f"{_shown(directory.path)} is not deleted: it holds another run, {printable(name)}",
                        hint="move that run elsewhere first",
                    )


def _remove(parent: Directory, name: str, directory: Directory) -> None:
    """Take the directory from its place, then remove it.

    Raises:
        OSError: something else is there by now, or not all of it could be removed.
    """
    facts = parent.stat(name)
    if facts is None or not os.path.samestat(facts, os.fstat(directory.descriptor)):
        raise OSError("another directory has taken its place meanwhile")
    aside = f".{name[:200]}.{secrets.token_hex(8)}.deleted"
    parent.rename(name, aside)
    parent.remove_tree(aside)
    if parent.stat(aside):
        parent.rename(aside, name)
        raise OSError("a part of it could not be removed")


def _sizes(directory: Directory, depth: int = 0) -> Iterator[int]:
    """Bytes of each file below, as far as it can be entered."""
    for name in directory.names():
        with contextlib.suppress(OSError, RefusedFileError):
            if not directory.is_directory(name):
                facts = directory.stat(name)
                yield facts.st_size if facts else 0
            elif depth < _MOST_DEPTH:
                with directory.subdirectory(name) as below:
                    yield from _sizes(below, depth + 1)


def _undeletable(path: Path, error: OSError | RefusedFileError) -> UsageError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return UsageError(f"{_shown(path)} is not deleted: {reason}")


def _shown(path: Path) -> str:
    return printable(path.name)
