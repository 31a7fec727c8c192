"""The lock on a directory: one process trains in it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time

from ..directories import Directory
from ..files import RefusedFileError
from .entries import LOCK_FILE
from .facts import read_facts

_WAIT_SECONDS = 0.5
"""A lock may be taken for microseconds by a process that only looks at it (`is_locked`)."""


class DirectoryLock:
    """An advisory lock (``flock``) on a directory itself.

    Nothing in the directory can be removed to lose it. A file in it names the holder's pid, and is locked too: for
    versions that lock that file alone, and for network file systems with locks on files alone.

    Args:
        name: of the file.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._descriptors: list[int] = []

    def acquire(self, directory: Directory) -> None:
        """Take the lock, until `release` or the end of this process.

        Raises:
            BlockingIOError: another process holds it.
            RefusedFileError: the file is a link, or no regular file.
            OSError: the file cannot be written.
        """
        try:
            # An open file of its own, not inheritable (PEP 446): no worker can hold the lock of a run that has ended.
            self._descriptors.append(_open_again(directory))
            _lock(self._descriptors[0], required=False)
            file = directory.open_to_change(self._name)
            self._descriptors.append(file)
            _lock(file, required=True)
            os.ftruncate(file, 0)
            os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Give the lock back; without the lock, do nothing."""
        while self._descriptors:
            os.close(self._descriptors.pop())


def is_locked(directory: Directory, name: str) -> bool:
    """Whether any process holds the lock, this one included."""
    descriptor = _open_again(directory)
    try:
        if _is_taken(descriptor):
            return True
    finally:
        os.close(descriptor)
    with contextlib.suppress(OSError, RefusedFileError), directory.open_file(name) as file:
        return _is_taken(file.fileno())
    return False


def _open_again(directory: Directory) -> int:
    """Open a held directory once more.

    Locks belong to an open file, not to a process.
    """
    return os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory.descriptor)


def _lock(descriptor: int, *, required: bool) -> None:
    """Lock a file.

    Where `required` is false, the file system need not be able to.
    """
    deadline = time.monotonic() + _WAIT_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        except OSError:
            if required:
                raise
            return


def _is_taken(descriptor: int) -> bool:
    """Whether another open file has the exclusive lock."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks on directories
        return False
    return False


def pid_in(directory: Directory, name: str) -> int:
    """The pid in the lock's file; 0 without one."""
    with contextlib.suppress(OSError, RefusedFileError):
        text = directory.read(name, 32).strip()
        return int(text) if text.isdigit() else 0
    return 0


def holder_of(directory: Directory) -> int | None:
    """Pid of the process with the lock of a run directory.

    None without one; 0 if its pid is unknown.
    """
    return last_holder_of(directory) if is_locked(directory, LOCK_FILE) else None


def last_holder_of(directory: Directory) -> int:
    """Pid of the last process with the lock; 0 if unknown."""
    return pid_in(directory, LOCK_FILE) or read_facts(directory).values.get("pid") or 0
