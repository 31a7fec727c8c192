"""Processes of a run, as seen from outside."""

from __future__ import annotations

import contextlib
import os

import psutil


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
