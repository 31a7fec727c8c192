"""The cores and the memory available to this process.

A machine may give a process less than all it has: ``taskset`` and cpusets take cores away, and control groups (Linux:
``docker --cpus``, Kubernetes' limits, systemd's ``CPUQuota`` and ``MemoryMax``) limit time and memory. Both versions of
control groups are read. A limit of any group above the process counts as well, so the smallest decides.
"""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Iterator
from pathlib import Path

OWN_GROUPS = Path("/proc/self/cgroup")
"""Names the control groups of this process, one line for each hierarchy."""

GROUPS = Path("/sys/fs/cgroup")
"""Root of the control groups."""

_DEFAULT_PERIOD = 100_000
"""Microseconds, the kernel's own."""

_NO_LIMIT = 2**60
"""Bytes; version 1 writes the largest multiple of a page below 2⁶³ where nothing is limited."""


def available_cores(own: Path = OWN_GROUPS, groups: Path = GROUPS) -> int:
    """Cores available to this process, at least one.

    A part of a core is not counted: two threads on 1.5 cores finish their shares together, so that both are stopped by
    the kernel until the next period begins, while the rest of a core serves the screen and the main thread.

    Args:
        own: file with the control groups of this process.
        groups: root of all control groups.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota(own, groups)
    return cores if quota is None else max(1, min(cores, int(quota)))


def available_memory(own: Path = OWN_GROUPS, groups: Path = GROUPS) -> int:
    """Bytes of memory available to this process, used or free.

    All of the machine's, or the limit of its control groups or of the address space. Arguments as for
    `available_cores`.
    """
    import psutil

    limits = (psutil.virtual_memory().total, memory_limit(own, groups), address_space())
    return min(limit for limit in limits if limit is not None)


CPU_FACTS = Path("/proc/cpuinfo")
"""Linux's description of the processor, with a word for each extension of its instructions."""

_BFLOAT16 = ("amx_bf16", "avx512_bf16")


def bfloat16_instructions(facts: Path = CPU_FACTS) -> str | None:
    """The processor's instructions for bfloat16, or None (x86 on Linux)."""
    flags = next((line.split() for line in _read(facts).splitlines() if line.startswith(b"flags")), [])
    return next((name for name in _BFLOAT16 if name.encode() in flags), None)


def address_space() -> int | None:
    """Bytes of address space for this process (``ulimit -v``), or None."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if limit == resource.RLIM_INFINITY else limit


def cpu_quota(own: Path = OWN_GROUPS, groups: Path = GROUPS) -> float | None:
    """Quota of the control groups in cores, or None.

    Arguments as for `available_cores`.
    """
    quotas = (_quota(group) for group in _groups("cpu", own, groups))
    return min((quota for quota in quotas if quota is not None), default=None)


def memory_limit(own: Path = OWN_GROUPS, groups: Path = GROUPS) -> int | None:
    """Limit of the control groups in bytes, or None.

    Arguments as for `available_cores`.
    """
    limits = (
        _positive(_words(group / name))
        for group in _groups("memory", own, groups)
        for name in ("memory.max", "memory.limit_in_bytes")
    )
    return min((limit for limit in limits if limit is not None and limit < _NO_LIMIT), default=None)


def _quota(group: Path) -> float | None:
    """Quota of one group in cores, by either version's files."""
    words = _words(group / "cpu.max")
    quota, period = _positive(words[:1]), _positive(words[1:])
    if quota is None:
        quota = _positive(_words(group / "cpu.cfs_quota_us"))
        period = _positive(_words(group / "cpu.cfs_period_us"))
    return None if quota is None else quota / (period or _DEFAULT_PERIOD)


def _groups(controller: str, own: Path, groups: Path) -> Iterator[Path]:
    """Directories of this process's group and of all groups above it.

    In a container the root itself often is the process's group, under another name than the one outside: names that
    are not found are passed over.
    """
    for line in _read(own).splitlines():
        fields = line.split(b":", 2)
        if len(fields) != 3:
            continue
        _, controllers, name = fields
        if not controllers:  # the second version
            roots = [groups, groups / "unified"]
        elif controller.encode() in controllers.split(b","):
            roots = [groups / controller, groups / os.fsdecode(controllers)]
        else:
            continue
        parts = [part for part in os.fsdecode(name).split("/") if part not in ("", ".", "..")]
        for root in roots:
            for length in range(len(parts), -1, -1):
                yield root.joinpath(*parts[:length])


def _positive(words: list[bytes]) -> int | None:
    """The first word as a positive number, or None (``max``, -1)."""
    with contextlib.suppress(ValueError, IndexError):
        number = int(words[0])
        return number if number > 0 else None
    return None


def _words(path: Path) -> list[bytes]:
    return _read(path).split()


def _read(path: Path) -> bytes:
    """Contents of a file of the kernel; empty if unreadable."""
    with contextlib.suppress(OSError, ValueError):
        return path.read_bytes()
    return b""
