"""One client of the control socket: its connection, buffers and limits."""

from __future__ import annotations

import socket
from collections.abc import Iterator

from ..protocol import Event
from .messages import MAX_LINE_BYTES, BadLineError, Wish

COMMANDS_PER_SECOND = 200

CHUNK_BYTES = 262_144
"""How much of the record a client is sent at a time, and so about the memory that a slow one costs."""

REQUEST_SECONDS = 30.0
"""Time for a line to arrive, and for a client to subscribe."""

STALL_SECONDS = 30.0
"""Time in which a client must read some of the waiting lines."""

Kind = tuple[int, int]
"""The kind of a transient event, as `transient_key` gives it."""


def with_pid(who: str, pid: int) -> str:
    """A client's name for the audit trail, with its pid if known."""
    return f"{who} (pid {pid})" if pid else who


class Peer:
    """One client: its connection, buffers and limits.

    No method blocks; each raises OSError when the connection is gone.

    Attributes:
        name: for the audit trail.
        offset: bytes of the record that it has been sent.
        has_history: whether it was told that it has read the record to its end.
        sent: the last transient event of each kind that was sent.
    """

    def __init__(self, connection: socket.socket, pid: int, now: float) -> None:
        connection.setblocking(False)
        self.connection = connection
        self.pid = pid
        self.name = with_pid("client", pid)
        self.subscribed = False
        self.wish: Wish = "script"
        self.offset = 0
        self.has_history = False
        self.sent: dict[Kind, Event] = {}
        self._inbox = bytearray()
        self._outbox = bytearray()
        self._received_at = self._sent_at = now
        self._second, self._commands = 0, 0

    def rename(self, client: str) -> None:
        self.name = with_pid(client, self.pid)

    @property
    def only_watches(self) -> bool:
        """Whether its requests are all refused from now on."""
        return self.subscribed and self.wish == "watch"

    # ── Receiving ───────────────────────────────────────────────────────────────────────────────────────────

    @property
    def accepts_requests(self) -> bool:
        """Whether its requests are read: only after earlier replies."""
        return len(self._outbox) <= CHUNK_BYTES

    def receive(self, now: float) -> Iterator[bytes]:
        """The whole lines received so far.

        Raises:
            BadLineError: a line is longer than `MAX_LINE_BYTES`.
            ConnectionError: the client has closed the connection.
        """
        data = self.connection.recv(MAX_LINE_BYTES)
        if not data:
            raise ConnectionResetError
        if not self._inbox:
            self._received_at = now
        self._inbox += data
        *lines, rest = self._inbox.split(b"\n")
        if any(len(line) > MAX_LINE_BYTES for line in (*lines, rest)):
            raise BadLineError(f"a line is longer than {MAX_LINE_BYTES:,} bytes")
        self._inbox = rest
        if lines:
            self._received_at = now
        yield from (bytes(line) for line in lines if line.strip())

    def count_request(self, now: float) -> None:
        """Count a command or a request.

        Raises:
            BadLineError: there are more than `COMMANDS_PER_SECOND`.
        """
        if int(now) != self._second:
            self._second, self._commands = int(now), 0
        self._commands += 1
        if self._commands > COMMANDS_PER_SECOND:
            raise BadLineError(f"more than {COMMANDS_PER_SECOND} commands in a second")

    # ── Sending ─────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def has_unsent(self) -> bool:
        """Whether lines wait for the client to read."""
        return bool(self._outbox)

    def queue(self, line: bytes, now: float) -> None:
        """Append a line, or several whole ones, to the waiting lines."""
        if not self._outbox:
            self._sent_at = now
        self._outbox += line if line.endswith(b"\n") else line + b"\n"

    def flush(self, now: float) -> None:
        """Send as much as the connection takes now."""
        while self._outbox:
            try:
                sent = self.connection.send(self._outbox[:CHUNK_BYTES])
            except BlockingIOError:
                return
            del self._outbox[:sent]
            self._sent_at = now

    def check_timeouts(self, now: float) -> None:
        """Check for a stalled client.

        Raises:
            BadLineError: it has read or sent nothing for too long.
        """
        if self._outbox and now - self._sent_at > STALL_SECONDS:
            raise BadLineError(f"nothing was read for {STALL_SECONDS:.0f} s")
        if (self._inbox or not self.subscribed) and now - self._received_at > REQUEST_SECONDS:
            raise BadLineError(f"no whole line within {REQUEST_SECONDS:.0f} s")
