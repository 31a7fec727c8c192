"""Which processes are still there."""

from __future__ import annotations

import time
from collections.abc import Iterable

import psutil


def still_running(processes: Iterable[psutil.Process], *, seconds: float) -> list[psutil.Process]:
    """Those that have not ended within this time.

    An orphan that has ended is there until init takes notice of it, for which some take two seconds: unlike
    `psutil.wait_procs`, this counts it as ended.
    """
    deadline = time.monotonic() + seconds
    left = list(processes)
    while (left := [process for process in left if _runs(process)]) and time.monotonic() < deadline:
        time.sleep(0.02)
    return left


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
