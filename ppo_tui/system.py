"""All raw system calls and calls of C libraries, by ctypes.

Each is one small function. It says whether it worked and does nothing where the platform lacks the call: the program
must go on without it. The library is looked up at each call, as none of these runs often.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def signal_when_parent_dies(number: signal.Signals) -> bool:
    """Send this process a signal when its parent dies (Linux: PR_SET_PDEATHSIG)."""
    pr_set_pdeathsig = 1  # linux/prctl.h
    prctl = _c_function("prctl") if sys.platform == "linux" else None
    return prctl is not None and prctl(pr_set_pdeathsig, int(number)) == 0


def peer_credentials(connection: socket.socket) -> tuple[int, int | None]:
    """Pid and user id of a Unix socket's other end.

    A listener's are those of the moment at which it began to listen. (Linux: SO_PEERCRED; macOS and BSD: getpeereid,
    which knows no pid.)

    Returns:
        0 for a pid that is not known, as that of a process in another pid namespace; None for an unknown user.
    """
    if hasattr(socket, "SO_PEERCRED"):
        credentials = struct.Struct("iII")
        pid, uid, _ = credentials.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, credentials.size))
        return pid, uid
    getpeereid, uid, gid = _c_function("getpeereid"), ctypes.c_uint(), ctypes.c_uint()
    if getpeereid is None or getpeereid(connection.fileno(), ctypes.byref(uid), ctypes.byref(gid)) != 0:
        return 0, None
    return 0, uid.value


def is_stopped(pid: int) -> bool:
    """Whether a process is stopped, as by SIGSTOP (Linux: /proc)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False
    return stat.rpartition(b")")[2].split()[:1] == [b"T"]


def exchange_paths(one: Path, other: Path) -> bool:
    """Exchange two files or directories in one atomic step (Linux: renameat2)."""
    at_fdcwd, rename_exchange = -100, 2  # fcntl.h, linux/fs.h
    renameat2 = _c_function("renameat2")
    if renameat2 is None:
        return False
    return renameat2(at_fdcwd, os.fsencode(one), at_fdcwd, os.fsencode(other), rename_exchange) == 0


def keep_freed_memory() -> bool:
    """Let the C library keep large freed blocks (glibc: mallopt).

    Activations of 10 MB and more are allocated and freed in every minibatch. By default glibc maps each one anew, and
    the kernel then has to clear its pages, which costs several percent of an update.
    """
    m_trim_threshold, m_mmap_threshold = -1, -3  # malloc.h
    largest = 2**31 - 1
    mallopt = _c_function("mallopt")
    return mallopt is not None and mallopt(m_mmap_threshold, 2**30) == 1 and mallopt(m_trim_threshold, largest) == 1


def gpu_usage_reader(uuid: str) -> Callable[[], float | None] | None:
    """A function to read the use of an NVIDIA GPU (NVML).

    Args:
        uuid: as NVIDIA's driver writes it, such as ``GPU-8c1ad4c8-…``.

    Returns:
        None without NVIDIA's management library or such a GPU. The function returns the percent (0..100) of about the
        last second in which a kernel ran, or None where the reading fails.
    """
    try:
        library = ctypes.CDLL("libnvidia-ml.so.1")
        handle, usage = ctypes.c_void_p(), _NvmlUtilization()
        if library.nvmlInit_v2() or library.nvmlDeviceGetHandleByUUID(uuid.encode(), ctypes.byref(handle)):
            return None
        get_rates = library.nvmlDeviceGetUtilizationRates
    except (OSError, AttributeError):
        return None

    def read() -> float | None:
        failed = get_rates(handle, ctypes.byref(usage))
        return None if failed else float(usage.gpu)

    return read


class _NvmlUtilization(ctypes.Structure):
    """``nvmlUtilization_t`` of NVIDIA's management library."""

    _fields_ = (("gpu", ctypes.c_uint), ("memory", ctypes.c_uint))


def _c_function(name: str) -> Any:
    """A function of the C library, or None if missing."""
    try:
        return getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError):
        return None


def raise_in_thread(thread: int, error: type[BaseException]) -> bool:
    """Raise `error` in another thread, when it next runs Python code.

    Args:
        thread: its `threading.get_ident`.

    Returns:
        Whether it will: there is such a thread, and this Python can.
    """
    try:
        raise_soon = ctypes.pythonapi.PyThreadState_SetAsyncExc
    except AttributeError:  # not CPython
        return False
    return bool(raise_soon(ctypes.c_ulong(thread), ctypes.py_object(error)))
