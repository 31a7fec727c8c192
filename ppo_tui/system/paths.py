"""Paths of open directories, exchanges of names, and refusals by the kernel."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from pathlib import Path

from .choice import Choice
from .library import c_function

OTHER_KINDS = frozenset((errno.ELOOP, errno.EMLINK, errno.ENXIO, errno.EOPNOTSUPP, errno.EISDIR))
"""Errors upon opening a link, a FIFO or a socket, or a directory as a file; some have other names on macOS and BSD."""

SPECIAL = ("/dev/", "/proc/")
"""Beginnings of paths whose links are the kernel's own."""

SHARED_MEMORY = Path("/dev/shm")
"""Linux's memory shared by processes; without it, or room there, it goes to the disk."""


def path_through(descriptor: int, pid: int | None = None) -> Path | None:
    """A path through an open directory, valid after moves (Linux: /proc).

    Args:
        pid: of the process whose descriptor it is, for use by others; None for use by this one.
    """
    path = Path(f"/proc/{pid or 'self'}/fd/{descriptor}")
    return path if path.exists() else None


def present_path(descriptor: int) -> Path | None:
    """The present path of an open directory (Linux: /proc; macOS: F_GETPATH)."""
    get_path: int | None = getattr(fcntl, "F_GETPATH", None)
    with contextlib.suppress(OSError):
        if get_path is not None:
            return Path(os.fsdecode(fcntl.fcntl(descriptor, get_path, bytes(1024)).rstrip(b"\0")))
        return Path(os.readlink(f"/proc/self/fd/{descriptor}"))
    return None


def exchange_paths(one: Path, other: Path) -> bool:
    """Exchange two files or directories in one atomic step (Linux: renameat2)."""
    at_fdcwd, rename_exchange = -100, 2  # fcntl.h, linux/fs.h
    renameat2 = c_function("renameat2")
    if renameat2 is None:
        return False
    return renameat2(at_fdcwd, os.fsencode(one), at_fdcwd, os.fsencode(other), rename_exchange) == 0


def flush(descriptor: int) -> None:
    """Wait until a file or a directory is on the disk.

    macOS's `fsync` leaves it in the disk's own memory, which a power failure empties; F_FULLFSYNC does not.
    """
    full_sync: int | None = getattr(fcntl, "F_FULLFSYNC", None)
    if full_sync is not None:
        with contextlib.suppress(OSError):  # a file system may not have it, such as one of the network
            fcntl.fcntl(descriptor, full_sync)
            return
    os.fsync(descriptor)


def choices() -> list[Choice]:
    """The means in use for files and directories."""
    moves = "a run directory that is moved while its run goes on"
    return [
        Choice(moves, "/proc/self/fd")
        if Path("/proc/self/fd").exists()
        else Choice(moves, "its path as last known", "libraries such as TensorBoard keep to the old path"),
        Choice("a checkpoint that replaces another", "renameat2")
        if c_function("renameat2") is not None
        else Choice("a checkpoint that replaces another", "two renamings", "a crash between them leaves the older one"),
        Choice("shared memory", str(SHARED_MEMORY))
        if SHARED_MEMORY.is_dir()
        else Choice("shared memory", "a removed temporary file", "the system may write it to the disk"),
    ]
