"""How soon a thread gets its turn on a machine whose cores are all taken."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import sys
from collections.abc import Iterator

SHORT_SECONDS = 0.0001
"""The shortest turn that the kernel grants."""

_SYSTEM_CALLS = {"x86_64": 314, "aarch64": 274}
"""``sched_setattr``, which neither Python nor the C library wraps."""


class _Attributes(ctypes.Structure):
    """``struct sched_attr`` of linux/sched/types.h, in its first version."""

    _fields_ = (
        ("size", ctypes.c_uint32),
        ("policy", ctypes.c_uint32),
        ("flags", ctypes.c_uint64),
        ("nice", ctypes.c_int32),
        ("priority", ctypes.c_uint32),
        ("runtime", ctypes.c_uint64),
        ("deadline", ctypes.c_uint64),
        ("period", ctypes.c_uint64),
    )


def take_turns_of(seconds: float) -> bool:
    """Ask for turns of this length for this thread and those that it starts from now on; 0 for the usual length.

    Who takes short turns gets the next one sooner, and has no larger share of the core in the end. Linux since 6.12
    (https://docs.kernel.org/scheduler/sched-eevdf.html); elsewhere, and for another scheduling policy, nothing changes.

    Returns:
        Whether the kernel has agreed.
    """
    number = _SYSTEM_CALLS.get(platform.machine())
    if sys.platform != "linux" or number is None or os.sched_getscheduler(0) != os.SCHED_OTHER:
        return False
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    attributes = _Attributes(ctypes.sizeof(_Attributes), os.SCHED_OTHER, 0, nice, 0, int(seconds * 1e9), 0, 0)
    return ctypes.CDLL(None).syscall(number, 0, ctypes.byref(attributes), 0) == 0


@contextlib.contextmanager
def short_turns() -> Iterator[None]:
    """Short ones for this thread and those that it starts inside; what it starts afterwards takes usual ones again."""
    changed = take_turns_of(SHORT_SECONDS)
    try:
        yield
    finally:
        if changed:
            take_turns_of(0.0)
