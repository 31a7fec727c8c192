"""The server's end of the control socket.

Other processes of the same user watch a run through it, and steer it.

One daemon thread serves every client. The training thread only leaves the newest transient event in a dict: durable
events are read from ``events.jsonl``, at each client's own offset. History and live events are thus one stream without
a gap or a duplicate, a slow reader delays nobody, and without a client nothing happens at all.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable
from typing import Self

import msgspec

from ..config import parse_live_value
from ..errors import ConfigError
from ..protocol import (
    MOST_BESIDE,
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
    transient_key,
)
from ..system.sockets import peer_credentials
from .address import Listener, listen
from .directory import RunDirectory
from .messages import (
    BadLineError,
    Claim,
    Hello,
    HistoryRead,
    Message,
    Reply,
    Role,
    Subscribe,
    decode_request,
)
from .peer import CHUNK_BYTES, Kind, Peer, with_pid

MAX_CLIENTS = 32

TICK_SECONDS = 0.1
"""Interval at which clients are sent new events."""

_log = logging.getLogger("ppo_tui.control")
_encode_message = msgspec.json.Encoder().encode

_MOST_KINDS = len(TRANSIENT) + MOST_BESIDE


class ControlServer:
    """The server of one run, and a sink of its events.

    The events that it is given must be in ``events.jsonl`` already.

    Args:
        run_dir: locked by this process.
        send: passes a command to the engine, from any thread and without waiting.
    """

    def __init__(self, run_dir: RunDirectory, send: Callable[[Command], None]) -> None:
        self._run_dir = run_dir
        self._send = send
        self._name = run_dir.name
        self._state, self._step, self._update = RunState.STARTING, 0, 0
        self._newest: dict[Kind, Event] = {}
        self._encoded: dict[Kind, tuple[Event, bytes]] = {}
        self._peers: list[Peer] = []
        self._holder: Peer | None = None
        self._refused_users: set[int] = set()
        self._selector = selectors.DefaultSelector()
        self._listener: Listener | None = None
        self._wake_up, self._woken = socket.socketpair()
        self._closing_at: float | None = None
        self._thread = threading.Thread(target=self._serve, name="control", daemon=True)

    def start(self) -> None:
        """Start to listen.

        Where no socket can be made, the run trains without one and logs a warning.
        """
        try:
            self._listener = listen(self._run_dir)
        except OSError as error:
            _log.warning("no control socket (attach and ctl will not work): %s", error)
            return
        self._selector.register(self._listener.socket, selectors.EVENT_READ, self._accept)
        self._selector.register(self._woken, selectors.EVENT_READ, lambda _: self._woken.recv(64))
        self._thread.start()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def emit(self, event: Event) -> None:
        """Take an event on the training thread, in an assignment or two."""
        if isinstance(event, TRANSIENT):
            self._newest.pop(kind := transient_key(event), None)
            self._newest[kind] = event
            if len(self._newest) > _MOST_KINDS:  # clips of environments that nobody watches any more
                del self._newest[next(iter(self._newest))]
            if isinstance(event, RolloutProgress):
                self._step = event.step
        elif isinstance(event, RunFinished):
            self._state, self._step, self._update = event.state, event.step, event.update
        elif isinstance(event, StateChanged):
            self._state = event.state
        elif isinstance(event, UpdateFinished):
            self._step, self._update = event.step, event.update

    def close(self, timeout: float = 2.0) -> None:
        """Let clients read to the end of the record, then stop.

        Args:
            timeout: seconds after which it stops in any case.
        """
        self._closing_at = time.monotonic() + timeout
        if self._thread.is_alive():
            self._wake_up.send(b"\0")
            self._thread.join(timeout + 1)
        if not self._thread.is_alive():  # the thread itself may end before it is woken
            self._wake_up.close()
            self._woken.close()

    # ── The server thread ───────────────────────────────────────────────────────────────────────────────────

    def _serve(self) -> None:
        try:
            while not self._done():
                for key, mask in self._selector.select(self._select_timeout()):
                    key.data(mask)
                for peer in list(self._peers):
                    self._serve_peer(peer)
        except Exception:
            _log.exception("the control socket failed (attach and ctl do not work any more); training continues")
        finally:
            for peer in list(self._peers):
                self._drop(peer)
            if self._listener is not None:
                self._listener.close()

    def _done(self) -> bool:
        if self._closing_at is None:
            return False
        size = self._record_size()
        unfinished = any(peer.has_unsent or peer.offset < size for peer in self._peers if peer.subscribed)
        return not unfinished or time.monotonic() > self._closing_at

    def _select_timeout(self) -> float | None:
        """Seconds to wait for a request; None: until one comes."""
        if self._closing_at is not None or any(peer.subscribed for peer in self._peers):
            return TICK_SECONDS
        return 1.0 if self._peers else None

    def _accept(self, _mask: int) -> None:
        assert self._listener is not None
        while True:
            try:
                connection, _ = self._listener.socket.accept()
            except BlockingIOError:
                return
            except OSError as error:  # too many open files: the connected clients come first
                _log.warning("a client could not connect: %s", error)
                time.sleep(TICK_SECONDS)
                return
            self._admit(connection)

    def _admit(self, connection: socket.socket) -> None:
        """Greet a new client, or refuse it with a reason."""
        pid, uid = peer_credentials(connection)
        refusal = None
        if uid is not None and uid != os.geteuid():
            refusal = f"this run belongs to user {os.geteuid()}, you are user {uid}"
            if uid not in self._refused_users:
                self._refused_users.add(uid)
                _log.warning("refused a connection from %s", with_pid(f"user {uid}", pid))
        elif len(self._peers) >= MAX_CLIENTS:
            refusal = f"{MAX_CLIENTS} clients are connected already; try again later"
        peer = Peer(connection, pid, time.monotonic())
        if refusal is not None:
            self._disconnect(peer, Reply(error=refusal))
            return
        self._peers.append(peer)
        self._selector.register(connection, selectors.EVENT_READ, lambda mask: self._receive(peer, mask))
        self._send_message(
            peer,
            Hello(
                run=self._name,
                pid=os.getpid(),
                state=self._state,
                step=self._step,
                update=self._update,
                directory=self._listener.directory if self._listener else None,
            ),
        )

    def _serve_peer(self, peer: Peer) -> None:
        """Send a client new events; disconnect it after a timeout."""
        now = time.monotonic()
        try:
            peer.flush(now)
            if peer.subscribed and not peer.has_unsent:
                self._queue_events(peer, now)
                peer.flush(now)
            peer.check_timeouts(now)
        except BadLineError as error:
            self._disconnect(peer, Reply(error=str(error)))
        except OSError:
            self._drop(peer)
        else:
            reading = selectors.EVENT_READ if peer.accepts_requests else 0
            writing = selectors.EVENT_WRITE if peer.has_unsent else 0
            events = reading | writing
            key = self._selector.get_key(peer.connection)
            if key.events != events:
                self._selector.modify(peer.connection, events, key.data)

    def _queue_events(self, peer: Peer, now: float) -> None:
        """Queue the next part of the record, then the newest transient events."""
        if lines := self._read_record(peer.offset):
            peer.offset += len(lines)
            peer.queue(lines, now)
            return
        if not peer.has_history:
            peer.has_history = True
            peer.queue(_encode_message(HistoryRead()), now)
        newest = dict(self._newest)
        for kind, event in newest.items():
            if event is not peer.sent.get(kind):
                peer.queue(self._encode_once(kind, event), now)
        peer.sent = newest

    def _encode_once(self, kind: Kind, event: Event) -> bytes:
        """The line of an event, encoded once for all clients."""
        cached = self._encoded.get(kind)
        if cached is None or cached[0] is not event:
            self._encoded.pop(kind, None)
            cached = self._encoded[kind] = (event, encode(event))
            if len(self._encoded) > _MOST_KINDS:
                del self._encoded[next(iter(self._encoded))]
        return cached[1]

    def _record_size(self) -> int:
        try:
            return self._run_dir.events.stat().st_size
        except OSError:
            return 0

    def _read_record(self, offset: int) -> bytes:
        """Whole lines of ``events.jsonl`` from `offset` on."""
        with contextlib.suppress(OSError), self._run_dir.events.open("rb") as record:
            size = CHUNK_BYTES
            while True:
                lines = os.pread(record.fileno(), size, offset)
                whole = lines[: lines.rfind(b"\n") + 1]
                if whole or len(lines) < size:
                    return whole
                size *= 2
        return b""

    # ── Requests ────────────────────────────────────────────────────────────────────────────────────────────

    def _receive(self, peer: Peer, mask: int) -> None:
        if not mask & selectors.EVENT_READ:
            return
        now = time.monotonic()
        try:
            for line in peer.receive(now):
                self._handle(peer, line, now)
        except BadLineError as error:
            self._disconnect(peer, Reply(id=error.id, error=str(error)))
        except BlockingIOError:
            return
        except OSError:
            self._drop(peer)

    def _handle(self, peer: Peer, line: bytes, now: float) -> None:
        request, id = decode_request(line)
        peer.count_request(now)
        if peer.only_watches:
            self._send_message(peer, Reply(id=id, error="read-only: this client only watches, to its end"))
        elif isinstance(request, Subscribe):
            self._subscribe(peer, request)
        elif isinstance(request, Claim):
            self._hand_control_to(peer if peer.subscribed else self._holder)
        else:
            self._send_message(peer, Reply(id=id, error=self._forward(peer, request)))

    def _forward(self, peer: Peer, command: Command) -> str | None:
        """Pass a command on to the engine, or return why not."""
        if self._state.is_final:
            return f"the run has ended ({self._state})"
        if not (peer.wish == "script" or peer is self._holder or isinstance(command, PASSIVE)):
            return f"read-only: {self._holder.name if self._holder else 'nobody'} steers it"
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
        elif request.wish == "watch" and peer is self._holder:
            self._hand_control_to(self._heir())
        else:
            self._send_role(peer)

    # ── Who steers ──────────────────────────────────────────────────────────────────────────────────────────

    def _hand_control_to(self, peer: Peer | None) -> None:
        before, self._holder = self._holder, peer
        for concerned in (before, peer):
            if concerned in self._peers:
                self._send_role(concerned)

    def _heir(self) -> Peer | None:
        """The client to steer next: the first one to wish it."""
        return next((peer for peer in self._peers if peer.wish in ("steer", "take")), None)

    def _send_role(self, peer: Peer) -> None:
        holder = self._holder.name if self._holder else None
        control = peer is self._holder or peer.wish == "script"
        self._send_message(peer, Role(control=control, you=peer.name, holder=holder))

    def _send_message(self, peer: Peer, message: Message) -> None:
        peer.queue(_encode_message(message), time.monotonic())

    def _disconnect(self, peer: Peer, message: Message) -> None:
        """Send a last message, if the connection takes it, and disconnect."""
        with contextlib.suppress(OSError):
            self._send_message(peer, message)
            peer.flush(time.monotonic())
            peer.connection.shutdown(socket.SHUT_RDWR)
        self._drop(peer)

    def _drop(self, peer: Peer) -> None:
        if peer in self._peers:
            self._peers.remove(peer)
            self._selector.unregister(peer.connection)
        peer.connection.close()
        if peer is self._holder:
            self._hand_control_to(self._heir())
