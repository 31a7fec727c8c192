"""Where a run's control socket is: in the run directory, or in a private one where that will not do."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import tempfile
from pathlib import Path

from .directory import RunDirectory

MAX_PATH_BYTES = 103
"""What fits the address of a Unix socket everywhere: 108 bytes on Linux, 104 on macOS, with a zero at the end."""

_PREFIX = "ppo-tui-"


def listen(run: RunDirectory) -> tuple[socket.socket, Path]:
    """Bind the control socket of a run whose lock this process holds, and say where in ``run.json``.

    The socket has mode 0600 in a directory of mode 0700: the run directory where it is private and its path
    short, else a fresh one for this socket alone. Sockets left by a process that was killed are removed: as the
    lock is ours, nobody listens on them.

    Raises:
        OSError: no socket can be made.
    """
    remove_socket(run.socket)
    remove_socket(_recorded(run))
    path = run.socket if _suits(run) else _private_directory() / "control.sock"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(512)
        listener.setblocking(False)
        run.update(socket=str(path), pid=os.getpid())
    except BaseException:
        listener.close()
        remove_socket(path)
        raise
    return listener, path


def connect(run: RunDirectory, timeout: float) -> socket.socket:
    """A connection to the control socket of `run`.

    Raises:
        OSError: nobody listens there, within `timeout` seconds.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(timeout)
    try:
        connection.connect(str(run.socket if run.socket.exists() else _recorded(run) or run.socket))
    except BaseException:
        connection.close()
        raise
    return connection


def remove_socket(path: Path | None) -> None:
    """Remove a socket, and the directory that was made for it alone."""
    with contextlib.suppress(OSError):
        if path is not None and stat.S_ISSOCK(path.lstat().st_mode):
            path.unlink()
            if path.parent.name.startswith(_PREFIX):
                path.parent.rmdir()


def _recorded(run: RunDirectory) -> Path | None:
    path = run.read().get("socket")
    return Path(path) if isinstance(path, str) else None


def _suits(run: RunDirectory) -> bool:
    facts = run.path.stat()
    private = facts.st_uid == os.getuid() and not stat.S_IMODE(facts.st_mode) & 0o077
    return private and len(os.fsencode(run.socket)) <= MAX_PATH_BYTES


def _private_directory() -> Path:
    """A directory with a short path that only this user may enter."""
    for parent in (os.environ.get("XDG_RUNTIME_DIR"), "/tmp"):
        with contextlib.suppress(OSError):
            if parent:
                return Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
    return Path(tempfile.mkdtemp(prefix=_PREFIX))
