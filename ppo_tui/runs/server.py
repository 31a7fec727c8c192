"""The control socket of a run: other processes of the same user watch it there, and steer it.

One daemon thread serves every client. The training thread only leaves the newest transient event in a dict: what is
durable is read from ``events.jsonl``, from each client's own place in it. History and live events are thus one
stream without a gap or a duplicate, a slow reader holds up nobody, and without a client nothing happens at all.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from ..config import parse_live_value
from ..errors import ConfigError
from ..protocol import (
    PASSIVE,
    TRANSIENT,
    Command,
    Event,
    RolloutProgress,
    RunFinished,
    RunState,
    SetValue,
    StateChanged,
    UpdateFinished,
    encode,
)
from .address import listen, remove_socket
from .directory import RunDirectory
from .messages import MAX_LINE_BYTES, BadLineError, Claim, Hello, Message, Reply, Role, Subscribe, Wish, decode_request

MAX_CLIENTS = 32

TICK_SECONDS = 0.1
"""How often clients are sent what is new."""

_log = logging.getLogger("ppo_tui.control")
_encode_message = msgspec.json.Encoder().encode


class ControlServer:
    """Serves one run. It is a sink: the events that it is given must be in ``events.jsonl`` already.

    Args:
        run: its directory, locked by this process.
        send: hands a command to the engine, from any thread and without waiting.
    """

    def __init__(self, run: RunDirectory, send: Callable[[Command], None]) -> None:
        self._run = run
        self._send = send
        self._name = run.name
        self._state, self._step, self._update = RunState.STARTING, 0, 0
        self._newest: dict[type[Event], Event] = {}
        self._encoded: dict[type[Event], tuple[Event, bytes]] = {}
        self._peers: list[Peer] = []
        self._holder: Peer | None = None
        self._refused_users: set[int] = set()
        self._selector = selectors.DefaultSelector()
        self._listener: socket.socket | None = None
        self._path: Path | None = None
        self._wake_up, self._woken = socket.socketpair()
        self._closing_at: float | None = None
        self._thread = threading.Thread(target=self._serve, name="control", daemon=True)

    def start(self) -> None:
        """Listen. A run whose socket cannot be made trains all the same, and says so in its log."""
        try:
            self._listener, self._path = listen(self._run)
        except OSError as error:
            _log.warning("no control socket (attach and ctl will not work): %s", error)
            return
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._selector.register(self._woken, selectors.EVENT_READ, lambda _: self._woken.recv(64))
        self._thread.start()

    def emit(self, event: Event) -> None:
        """Take an event from the training thread; costs an assignment or two."""
        if isinstance(event, TRANSIENT):
            self._newest[type(event)] = event
            if isinstance(event, RolloutProgress):
                self._step = event.step
        elif isinstance(event, StateChanged | RunFinished):
            self._state = event.state
        elif isinstance(event, UpdateFinished):
            self._step, self._update = event.step, event.update

    def close(self, timeout: float = 2.0) -> None:
        """Let the clients read to the end of the record, for up to `timeout` seconds, then stop serving."""
        self._closing_at = time.monotonic() + timeout
        if self._thread.is_alive():
            self._wake_up.send(b"\0")
            self._thread.join(timeout + 1)
        if not self._thread.is_alive():  # not by the thread, which may end before it is woken
            self._wake_up.close()
            self._woken.close()

    # ── The thread ──────────────────────────────────────────────────────────────────────────────────────────

    def _serve(self) -> None:
        try:
            while not self._done():
                for key, mask in self._selector.select(self._patience()):
                    key.data(mask)
                for peer in list(self._peers):
                    self._tend(peer)
        except Exception:
            _log.exception("the control socket failed; training goes on")
        finally:
            for peer in list(self._peers):
                self._drop(peer)
            if self._listener is not None:
                self._listener.close()
            remove_socket(self._path)

    def _done(self) -> bool:
        if self._closing_at is None:
            return False
        size = self._record_size()
        reading = any(peer.waiting or peer.offset < size for peer in self._peers if peer.subscribed)
        return not reading or time.monotonic() > self._closing_at

    def _patience(self) -> float | None:
        """How long to wait for something to happen."""
        if self._closing_at is not None or any(peer.subscribed for peer in self._peers):
            return TICK_SECONDS
        return 1.0 if self._peers else None

    def _accept(self, _mask: int) -> None:
        assert self._listener is not None
        while True:
            try:
                connection, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:  # no more files may be opened: the clients that are there come first
                _log.warning("a client could not be let in: %s", error)
                time.sleep(TICK_SECONDS)
                return
            self._admit(connection)

    def _admit(self, connection: socket.socket) -> None:
        """Greet a new client, or tell it why not."""
        pid, uid = credentials(connection)
        refusal = None
        if uid is not None and uid != os.geteuid():
            refusal = f"this run belongs to user {os.geteuid()}, you are user {uid}"
            if uid not in self._refused_users:
                self._refused_users.add(uid)
                _log.warning("refused a connection from user %d (pid %d)", uid, pid)
        elif len(self._peers) >= MAX_CLIENTS:
            refusal = f"{MAX_CLIENTS} clients are connected already; try again later"
        peer = Peer(connection, pid, time.monotonic())
        if refusal is not None:
            self._dismiss(peer, Reply(error=refusal))
            return
        self._peers.append(peer)
        self._selector.register(connection, selectors.EVENT_READ, lambda mask: self._hear(peer, mask))
        self._tell(
            peer,
            Hello(
                run=self._name,
                pid=os.getpid(),
                state=self._state,
                step=self._step,
                update=self._update,
            ),
        )

    def _tend(self, peer: Peer) -> None:
        """Send a client what is new, and end what takes too long."""
        now = time.monotonic()
        try:
            peer.flush(now)
            if peer.subscribed and not peer.waiting:
                self._feed(peer, now)
                peer.flush(now)
            peer.check_patience(now)
        except BadLineError as error:
            self._dismiss(peer, Reply(error=str(error)))
        except OSError:
            self._drop(peer)
        else:
            events = (selectors.EVENT_READ if peer.may_speak else 0) | (selectors.EVENT_WRITE if peer.waiting else 0)
            key = self._selector.get_key(peer.connection)
            if key.events != events:
                self._selector.modify(peer.connection, events, key.data)

    def _feed(self, peer: Peer, now: float) -> None:
        """The next part of the record; at its end, the newest of each transient event."""
        if lines := self._read_record(peer.offset):
            peer.offset += len(lines)
            peer.queue(lines, now)
            return
        for kind in TRANSIENT:
            event = self._newest.get(kind)
            if event is not None and event is not peer.told.get(kind):
                peer.told[kind] = event
                peer.queue(self._encode_once(kind, event), now)

    def _encode_once(self, kind: type[Event], event: Event) -> bytes:
        """The line of an event that several clients are sent."""
        cached = self._encoded.get(kind)
        if cached is None or cached[0] is not event:
            cached = self._encoded[kind] = (event, encode(event))
        return cached[1]

    def _record_size(self) -> int:
        try:
            return self._run.events.stat().st_size
        except OSError:
            return 0

    def _read_record(self, offset: int) -> bytes:
        """Whole lines of ``events.jsonl`` from `offset` on."""
        with contextlib.suppress(OSError), self._run.events.open("rb") as record:
            size = CHUNK_BYTES
            while True:
                lines = os.pread(record.fileno(), size, offset)
                whole = lines[: lines.rfind(b"\n") + 1]
                if whole or len(lines) < size:
                    return whole
                size *= 2
        return b""

    # ── Requests ────────────────────────────────────────────────────────────────────────────────────────────

    def _hear(self, peer: Peer, mask: int) -> None:
        if not mask & selectors.EVENT_READ:
            return
        now = time.monotonic()
        try:
            for line in peer.receive(now):
                self._answer(peer, line, now)
        except BadLineError as error:
            self._dismiss(peer, Reply(id=error.id, error=str(error)))
        except BlockingIOError:
            return
        except OSError:
            self._drop(peer)

    def _answer(self, peer: Peer, line: bytes, now: float) -> None:
        request, id = decode_request(line)
        if isinstance(request, Subscribe):
            self._subscribe(peer, request)
            return
        if isinstance(request, Claim):
            self._hand_control_to(peer if peer.subscribed else self._holder)
            return
        peer.count_command(now)
        self._tell(peer, Reply(id=id, error=self._obey(peer, request)))

    def _obey(self, peer: Peer, command: Command) -> str | None:
        """Pass a command on to the engine; returns why not, where it is refused."""
        if self._state.is_final:
            return f"the run has ended ({self._state})"
        if not (peer.wish == "script" or peer is self._holder or isinstance(command, PASSIVE)):
            holder = f"{self._holder.name} steers it" if self._holder else "this client only watches"
            return f"read-only: {holder}"
        if isinstance(command, SetValue):
            try:
                parse_live_value(command.key, command.value)
            except ConfigError as error:
                return str(error)
        self._send(msgspec.structs.replace(command, by=peer.name))
        return None

    def _subscribe(self, peer: Peer, request: Subscribe) -> None:
        peer.rename(request.client)
        if not peer.subscribed:
            peer.subscribed = True
            peer.offset = 0 if request.history else self._record_size()
        peer.wish = request.wish
        if request.wish == "take" or (request.wish == "steer" and self._holder is None):
            self._hand_control_to(peer)
        else:
            self._tell_role(peer)

    # ── Who steers ──────────────────────────────────────────────────────────────────────────────────────────

    def _hand_control_to(self, peer: Peer | None) -> None:
        before, self._holder = self._holder, peer
        for concerned in (before, peer):
            if concerned in self._peers:
                self._tell_role(concerned)

    def _tell_role(self, peer: Peer) -> None:
        holder = self._holder.name if self._holder else None
        control = peer is self._holder or peer.wish == "script"
        self._tell(peer, Role(control=control, you=peer.name, holder=holder))

    def _tell(self, peer: Peer, message: Message) -> None:
        peer.queue(_encode_message(message), time.monotonic())

    def _dismiss(self, peer: Peer, message: Message) -> None:
        """A last word, as far as it can be taken at once."""
        with contextlib.suppress(OSError):
            self._tell(peer, message)
            peer.flush(time.monotonic())
            peer.connection.shutdown(socket.SHUT_RDWR)
        self._drop(peer)

    def _drop(self, peer: Peer) -> None:
        if peer in self._peers:
            self._peers.remove(peer)
            self._selector.unregister(peer.connection)
        peer.connection.close()
        if peer is self._holder:
            heirs = (other for other in self._peers if other.wish in ("steer", "take"))
            self._hand_control_to(next(heirs, None))


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
