"""Living on when the terminal goes away."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import stat
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path


def ignore_hangups() -> None:
    """Let SIGHUP pass by this process, and the processes that it starts from now on.

    A terminal that closes hangs up on every process that it runs, workers and their server included.
    """
    if hasattr(signal, "SIGHUP") and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGHUP, signal.SIG_IGN)


@contextlib.contextmanager
def told_of_hangups() -> Iterator[None]:
    """Send this process SIGHUP when its terminal goes away, as long as the context is open.

    The kernel does so only to the session whose terminal it is. A process that was merely given one (by ``setsid``, or
    by what runs commands in containers) hears nothing, and reads the end of its input again and again.
    """
    terminals = [descriptor for descriptor in (0, 1, 2) if _device(descriptor) is not None]
    over, still_open = os.pipe()
    watcher = threading.Thread(target=_watch_terminals, args=(terminals, over), name="hang-ups", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        os.close(still_open)
        watcher.join()
        os.close(over)


def _watch_terminals(terminals: Sequence[int], over: int) -> None:
    """Wait until one of `terminals` has no other side any more, or `over` none."""
    poll = select.poll()
    for descriptor in (*terminals, over):
        poll.register(descriptor, 0)  # the loss of the other side is always reported
    if over not in dict(poll.poll()):
        os.kill(os.getpid(), signal.SIGHUP)


def let_go_of_terminal(log: Path | None = None) -> None:
    """Point every descriptor that leads to the terminal away from it: writing to one that is gone fails, or blocks.

    stderr then leads to `log` where it is given, all others nowhere; files and pipes stay. That a descriptor is
    a terminal shows in its kind of file, as `os.isatty` denies it from the moment when the other side hangs up.
    """
    nothing = os.open(os.devnull, os.O_RDWR)
    errors = nothing if log is None else os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    terminals = {device for descriptor in (0, 1, 2) if (device := _device(descriptor)) is not None}
    for descriptor in sorted(int(name) for name in os.listdir("/dev/fd")):
        if descriptor not in (nothing, errors) and _device(descriptor) in terminals:
            os.dup2(errors if descriptor == 2 else nothing, descriptor, inheritable=descriptor <= 2)
    for descriptor in {nothing, errors}:
        os.close(descriptor)


def _device(descriptor: int) -> int | None:
    """Which device a descriptor leads to, or None where it is a file, a pipe or closed."""
    with contextlib.suppress(OSError):
        facts = os.fstat(descriptor)
        if stat.S_ISCHR(facts.st_mode):
            return facts.st_rdev
    return None


def writes_to(log: Path) -> bool:
    """Whether stdout is the file `log` itself, as it is for a run in the background."""
    try:
        return os.path.samestat(os.fstat(sys.stdout.fileno()), log.stat())
    except (OSError, ValueError, AttributeError):
        return False
