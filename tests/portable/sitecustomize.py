"""Take away what is Linux's alone, in every Python process whose path has this folder.

``make test-portable`` puts it there. It stands in for macOS and the BSDs: the names of their Python stay, those that
only Linux has are gone, workers are spawned, and this program's code finds no ``/proc``, ``/sys`` and ``/dev/shm``.
Libraries still find them: they have their own means on other systems.
"""

from __future__ import annotations

import ctypes
import errno
import multiprocessing.heap
import multiprocessing.reduction
import os
import select
import shutil
import signal
import socket
import sys
from typing import Any

LINUX_ALONE = {
    os: "pidfd_open memfd_create eventfd splice copy_file_range posix_fadvise posix_fallocate getxattr waitid",
    select: "epoll",
    signal: "pidfd_send_signal sigtimedwait sigwaitinfo",
    socket: "SO_PEERCRED SO_PASSCRED",
}
PREFIXES = {os: ("sched_get", "sched_set", "sched_rr", "SCHED_", "O_PATH", "CLONE_")}
C_FUNCTIONS = ("prctl", "renameat2", "mallopt", "mallinfo2", "memfd_create", "sched_setattr")
HIDDEN = ("/proc", "/sys", "/dev/shm")
KEPT = ("SCHED_OTHER",)


def _take_names() -> None:
    for module, names in LINUX_ALONE.items():
        for name in names.split():
            if hasattr(module, name):
                delattr(module, name)
    for module, beginnings in PREFIXES.items():
        for name in dir(module):
            if name.startswith(beginnings) and name not in KEPT:
                delattr(module, name)
    multiprocessing.reduction.HAVE_SEND_HANDLE = False  # by which Python decides whether there is a fork server
    multiprocessing.heap.Arena._dir_candidates = []


class _Library(ctypes.CDLL):
    """A C library without Linux's functions."""

    def __getattr__(self, name: str) -> Any:
        if name in C_FUNCTIONS:
            raise AttributeError(name)
        return super().__getattr__(name)


def _asked_by_program() -> bool:
    """Whether the nearest caller beyond Python's own library is this program."""
    frame = sys._getframe(2)
    library = os.__file__.rpartition("/")[0]
    while frame is not None:
        name = frame.f_code.co_filename
        if not (name == __file__ or name.startswith("<") or (name.startswith(library) and "-packages" not in name)):
            return "/ppo_tui/" in name and "-packages" not in name
        frame = frame.f_back
    return False


def _hide(path: Any) -> None:
    if isinstance(path, str | bytes | os.PathLike):
        text = os.fsdecode(path)
        if text.startswith(HIDDEN) and _asked_by_program():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), text)


def _hiding(function: Any) -> Any:
    def asked(path: Any = ".", *arguments: Any, **options: Any) -> Any:
        _hide(path)
        return function(path, *arguments, **options)

    asked.__name__ = function.__name__
    for supported in (os.supports_dir_fd, os.supports_fd, os.supports_follow_symlinks):
        if function in supported:
            supported.add(asked)
    return asked


def _hide_paths() -> None:
    for name in ("stat", "lstat", "readlink", "statvfs", "access"):
        setattr(os, name, _hiding(getattr(os, name)))
    shutil._use_fd_functions = True  # which compares the functions themselves

    def audited(event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("open", "os.listdir", "os.scandir", "os.chdir") and arguments:
            _hide(arguments[0])

    sys.addaudithook(audited)


_take_names()
ctypes.CDLL = _Library  # type: ignore[misc]
_hide_paths()
