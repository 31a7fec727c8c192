"""One connection to a control socket, as its server sees it: bytes in, bytes out, and what it has been told."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

from ..protocol import Event
from .messages import MAX_LINE_BYTES, BadLineError, Wish

CHUNK_BYTES = 262_144
"""How much of the record a client is sent at a time, and so about the memory that a slow one costs."""

REQUEST_SECONDS = 30.0
"""How long a line may take to come, and a client that has not subscribed may be silent."""

STALL_SECONDS = 30.0
"""How long a client may take nothing of what waits for it."""

COMMANDS_PER_SECOND = 200


def credentials(connection: socket.socket) -> tuple[int, int | None]:
    """The pid and the user id of the other end; (0, None) where the system does not tell (then file modes guard)."""
    if not hasattr(socket, "SO_PEERCRED"):
        return 0, None
    pid, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return pid, uid


class Peer:
    """Buffers of one client. No method blocks; each raises OSError when the connection is gone.

    Attributes:
        name: for the audit trail.
        offset: how much of the record (bytes) it has been sent.
        told: the transient event of each type that it was sent last.
    """

    def __init__(self, connection: socket.socket, pid: int, now: float) -> None:
        connection.setblocking(False)
        self.connection = connection
        self.pid = pid
        self.rename("client")
        self.subscribed = False
        self.wish: Wish = "script"
        self.offset = 0
        self.told: dict[type[Event], Event] = {}
        self._inbox = bytearray()
        self._outbox = bytearray()
        self._heard_at = self._taken_at = now
        self._second, self._commands = 0, 0

    def rename(self, client: str) -> None:
        self.name = f"{client} (pid {self.pid})"

    # ── In ──────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def may_speak(self) -> bool:
        """Whether its requests are read: not before it has taken the answers to those before."""
        return len(self._outbox) <= CHUNK_BYTES

    def receive(self, now: float) -> Iterator[bytes]:
        """The whole lines that have come.

        Raises:
            BadLineError: a line is longer than `MAX_LINE_BYTES`.
            ConnectionError: the client has closed the connection.
        """
        data = self.connection.recv(MAX_LINE_BYTES)
        if not data:
            raise ConnectionResetError
        if not self._inbox:
            self._heard_at = now
        self._inbox += data
        *lines, rest = self._inbox.split(b"\n")
        if any(len(line) > MAX_LINE_BYTES for line in (*lines, rest)):
            raise BadLineError(f"a line is longer than {MAX_LINE_BYTES:,} bytes")
        self._inbox = rest
        if lines:
            self._heard_at = now
        yield from (bytes(line) for line in lines if line.strip())

    def count_command(self, now: float) -> None:
        """Raises: BadLineError, when commands come faster than any person or script has use for."""
        if int(now) != self._second:
            self._second, self._commands = int(now), 0
        self._commands += 1
        if self._commands > COMMANDS_PER_SECOND:
            raise BadLineError(f"more than {COMMANDS_PER_SECOND} commands in a second")

    # ── Out ─────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def waiting(self) -> bool:
        """Whether something waits to be taken by the client."""
        return bool(self._outbox)

    def queue(self, line: bytes, now: float) -> None:
        """Let `line` (or whole lines) follow what waits already."""
        if not self._outbox:
            self._taken_at = now
        self._outbox += line if line.endswith(b"\n") else line + b"\n"

    def flush(self, now: float) -> None:
        """Hand over as much as the connection takes."""
        while self._outbox:
            try:
                sent = self.connection.send(self._outbox[:CHUNK_BYTES])
            except BlockingIOError:
                return
            del self._outbox[:sent]
            self._taken_at = now

    def check_patience(self, now: float) -> None:
        """Raises: BadLineError, when the client has taken or said nothing for too long."""
        if self._outbox and now - self._taken_at > STALL_SECONDS:
            raise BadLineError(f"nothing was read for {STALL_SECONDS:.0f} s")
        if (self._inbox or not self.subscribed) and now - self._heard_at > REQUEST_SECONDS:
            raise BadLineError(f"no whole line within {REQUEST_SECONDS:.0f} s")
