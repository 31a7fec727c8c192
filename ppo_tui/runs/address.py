"""The control socket's path: the run directory or a private one."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import tempfile
from pathlib import Path

from .directory import RunDirectory

MAX_PATH_BYTES = 103
"""Limit of a Unix socket's path on every platform: 108 bytes on Linux, 104 on macOS, with a zero at the end."""

_PREFIX = "ppo-tui-"


def listen(run_dir: RunDirectory) -> tuple[socket.socket, Path]:
    """Bind the control socket and record its path in ``run.json``.

    The socket has mode 0600 in a directory of mode 0700: the run directory where it is private and its path
    short, else a new one for this socket alone. Sockets left by a killed process are removed: as this process has the
    lock, nobody listens on them.

    Args:
        run_dir: locked by this process.

    Raises:
        OSError: no socket can be made.
    """
    remove_socket(run_dir.socket)
    remove_socket(_recorded_path(run_dir))
    path = run_dir.socket if _is_private_and_short(run_dir) else _private_directory() / "control.sock"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(512)
        listener.setblocking(False)
        run_dir.update(socket=str(path), pid=os.getpid())
    except BaseException:
        listener.close()
        remove_socket(path)
        raise
    return listener, path


def connect(run_dir: RunDirectory, timeout: float) -> socket.socket:
    """Connect to the control socket of a run.

    Raises:
        OSError: nobody listens there, within `timeout` seconds.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(timeout)
    try:
        path = run_dir.socket if run_dir.socket.exists() else _recorded_path(run_dir) or run_dir.socket
        connection.connect(str(path))
    except BaseException:
        connection.close()
        raise
    return connection


def remove_socket(path: Path | None) -> None:
    """Remove a socket, and its directory if made for it alone."""
    with contextlib.suppress(OSError):
        if path is not None and stat.S_ISSOCK(path.lstat().st_mode):
            path.unlink()
            if path.parent.name.startswith(_PREFIX):
                path.parent.rmdir()


def _recorded_path(run_dir: RunDirectory) -> Path | None:
    path = run_dir.read().get("socket")
    return Path(path) if isinstance(path, str) else None


def _is_private_and_short(run_dir: RunDirectory) -> bool:
    facts = run_dir.path.stat()
    private = facts.st_uid == os.getuid() and not stat.S_IMODE(facts.st_mode) & 0o077
    return private and len(os.fsencode(run_dir.socket)) <= MAX_PATH_BYTES


def _private_directory() -> Path:
    """A new directory with a short path and mode 0700."""
    for parent in (os.environ.get("XDG_RUNTIME_DIR"), "/tmp"):
        with contextlib.suppress(OSError):
            if parent:
                return Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
    return Path(tempfile.mkdtemp(prefix=_PREFIX))
