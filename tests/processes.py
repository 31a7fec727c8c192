"""Processes of a run, as seen from outside."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

can_be_starved = pytest.mark.skipif(not hasattr(os, "SCHED_IDLE"), reason="no classes of processes to starve one with")


def workers_of(pid: int) -> list[psutil.Process]:
    """The workers of a process: each leads a process group of its own.

    They are its children where they are spawned, else those of its fork server.
    """
    found = []
    for child in psutil.Process(pid).children(recursive=True):
        with contextlib.suppress(ProcessLookupError):
            if os.getpgid(child.pid) == child.pid:
                found.append(child)
    return found


@contextlib.contextmanager
def starved(*pids: int) -> Iterator[None]:
    """Leave hardly a core to these processes, by another on the same one."""
    core = min(os.sched_getaffinity(0))
    hog = subprocess.Popen([sys.executable, "-c", f"import os; os.sched_setaffinity(0, {{{core}}})\nwhile True: pass"])
    try:
        for pid in pids:
            os.sched_setaffinity(pid, {core})
            os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0))
        yield
    finally:
        hog.kill()
        hog.wait()
