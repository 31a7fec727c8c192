"""Living on when the terminal goes away."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import sys
import threading
from pathlib import Path


def ignore_hangups() -> None:
    """Let SIGHUP pass by this process, and the processes that it starts from now on.

    A terminal that closes hangs up on every process that it runs, workers and their server included.
    """
    if hasattr(signal, "SIGHUP") and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGHUP, signal.SIG_IGN)


def let_go_of_terminal(log: Path | None = None) -> None:
    """Point the standard streams away from the terminal: writing to one that is gone fails, and may block.

    stdin and stdout then lead nowhere, stderr to `log` where it is given. Files and pipes stay. That a stream is
    a terminal shows in its kind of file, as `os.isatty` denies it from the moment when the other side hangs up.
    """
    nothing = os.open(os.devnull, os.O_RDWR)
    errors = nothing if log is None else os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    for descriptor, target in ((0, nothing), (1, nothing), (2, errors)):
        with contextlib.suppress(OSError):  # a stream that was closed before
            if stat.S_ISCHR(os.fstat(descriptor).st_mode):
                os.dup2(target, descriptor)
    for descriptor in {nothing, errors}:
        os.close(descriptor)


def writes_to(log: Path) -> bool:
    """Whether stdout is the file `log` itself, as it is for a run in the background."""
    try:
        return os.path.samestat(os.fstat(sys.stdout.fileno()), log.stat())
    except (OSError, ValueError, AttributeError):
        return False
