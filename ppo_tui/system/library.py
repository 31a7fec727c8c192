"""Calls of C libraries, by ctypes.

Each is one small function. It says whether it worked and does nothing where the platform lacks the call: the program
must go on without it. The library is looked up at each call, as none of these runs often.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any


def keep_freed_memory() -> bool:
    """Let the C library keep large freed blocks (glibc: mallopt).

    Activations of 10 MB and more are allocated and freed in every minibatch. By default glibc maps each one anew, and
    the kernel then has to clear its pages, which costs several percent of an update.
    """
    m_trim_threshold, m_mmap_threshold = -1, -3  # malloc.h
    largest = 2**31 - 1
    mallopt = c_function("mallopt")
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


def c_function(name: str) -> Any:
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


def user_of_peer(descriptor: int) -> int | None:
    """User id of a Unix socket's other end (macOS and BSD: getpeereid)."""
    getpeereid, uid, gid = c_function("getpeereid"), ctypes.c_uint(), ctypes.c_uint()
    if getpeereid is None or getpeereid(descriptor, ctypes.byref(uid), ctypes.byref(gid)) != 0:
        return None
    return uid.value


def system_fact(name: str) -> str:
    """A fact of the kernel; empty if unknown (macOS, BSD: sysctlbyname)."""
    sysctlbyname, size = c_function("sysctlbyname"), ctypes.c_size_t(256)
    content = ctypes.create_string_buffer(size.value)
    if sysctlbyname is None or sysctlbyname(name.encode(), content, ctypes.byref(size), None, ctypes.c_size_t(0)) != 0:
        return ""
    return content.value.decode("utf-8", "replace")
