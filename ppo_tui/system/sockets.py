"""Unix sockets: the length of paths, the process at the other end."""

from __future__ import annotations

import os
import socket
import struct

from .choice import Choice
from .library import c_function, user_of_peer

MAX_PATH_BYTES = 103
"""Limit of a Unix socket's path on every platform: 108 bytes on Linux, 104 on macOS, with a zero at the end."""


def short_temporary_directory() -> str | None:
    """``/tmp``, if it can be used.

    A TMPDIR may be too long for the path of a socket.
    """
    return "/tmp" if os.access("/tmp", os.W_OK | os.X_OK) else None


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
    return 0, user_of_peer(connection.fileno())


def choices() -> list[Choice]:
    """The means in use for sockets."""
    purpose = "peers of the control socket"
    if hasattr(socket, "SO_PEERCRED"):
        return [Choice(purpose, "SO_PEERCRED")]
    if c_function("getpeereid") is not None:
        return [Choice(purpose, "getpeereid", "the user is known, the process is not")]
    return [Choice(purpose, "owner and mode of the socket's directory", "the kernel names neither user nor process")]
