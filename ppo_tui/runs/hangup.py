"""Survive the loss of the terminal."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import sys
import threading
from collections.abc import Iterator, Sequence

from ..system.terminals import wait_for_hangup


def ignore_hangups() -> None:
    """Ignore SIGHUP, in this process and in later children.

    A closing terminal sends it to every process that it runs, workers and their fork server included.
    """
    if hasattr(signal, "SIGHUP") and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGHUP, signal.SIG_IGN)


@contextlib.contextmanager
def sighup_when_terminal_closes() -> Iterator[None]:
    """Send this process SIGHUP when its terminal goes away, inside the context.

    The kernel sends it only to the terminal's own session. A process that was merely given a terminal (by ``setsid``,
    or by tools that run commands in containers) gets no signal, and reads the end of its input again and again.
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
    """Wait for the loss of a terminal, or the end of `over`."""
    if wait_for_hangup(terminals, over):
        os.kill(os.getpid(), signal.SIGHUP)


def leave_terminal(log: int | None = None) -> None:
    """Point every descriptor of the terminal elsewhere.

    Writing to a lost terminal fails, or blocks.

    stderr then leads to the open file `log` where it is given, all others to nowhere; files and pipes stay. A terminal
    is recognised by its device, as `os.isatty` denies it from the moment when the other side hangs up.
    """
    nothing = os.open(os.devnull, os.O_RDWR)
    errors = nothing if log is None else log
    terminals = {device for descriptor in (0, 1, 2) if (device := _device(descriptor)) is not None}
    for descriptor in sorted(int(name) for name in os.listdir("/dev/fd")):
        if descriptor not in (nothing, errors) and _device(descriptor) in terminals:
            os.dup2(errors if descriptor == 2 else nothing, descriptor, inheritable=descriptor <= 2)
    os.close(nothing)


def _device(descriptor: int) -> int | None:
    """The character device behind a descriptor, or None."""
    with contextlib.suppress(OSError):
        facts = os.fstat(descriptor)
        if stat.S_ISCHR(facts.st_mode):
            return facts.st_rdev
    return None


def writes_to(log: int) -> bool:
    """Whether stdout is the open file `log` itself, as in background runs."""
    try:
        return os.path.samestat(os.fstat(sys.stdout.fileno()), os.fstat(log))
    except (OSError, ValueError, AttributeError):
        return False
