"""One process a run directory, held by a lock that the system takes back when the process ends, however it ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path

from ..errors import UsageError

_PATIENCE_SECONDS = 0.5
"""How long a lock may be held by somebody who only looks at it (`RunLock.holder` takes it for microseconds)."""


class RunLock:
    """An advisory lock (``flock``) on a file that names the process which holds it.

    The file stays when the lock is gone: what counts is the lock, so a file left behind by a killed process is
    no obstacle.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock, for as long as this process lives or until `release`.

        Raises:
            UsageError: another process holds it; the message names its pid.
            OSError: the file cannot be written.
        """
        # Not inheritable (PEP 446): no worker can hold the lock of a run that has ended.
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    pid = _pid_in(descriptor)
                    os.close(descriptor)
                    raise UsageError(
                        f"{self._path.parent} is in use by pid {pid}",
                        hint=f"attach to it: ppo-tui attach {self._path.parent}; or choose another --name or --run-dir",
                    ) from None
                time.sleep(0.01)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the lock back; without it, this does nothing."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def holder(self) -> int | None:
        """The pid of the process that holds the lock (0 where it has not written it yet), or None when it is free."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY)
        except OSError:
            return None
        with contextlib.closing(os.fdopen(descriptor, "rb")):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return _pid_in(descriptor)
        return None


def _pid_in(descriptor: int) -> int:
    text = os.pread(descriptor, 32, 0).strip()
    return int(text) if text.isdigit() else 0
