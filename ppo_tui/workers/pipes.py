"""The parent's end of one worker, and waiting for several of them at once."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import struct
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from ..errors import WorkerError, WorkerFailedError
from . import wire
from .process import kill_fork_server
from .wire import Reply

_LENGTH = struct.Struct("!i")
"""What `multiprocessing.connection.Connection` puts before a message of less than 2 GiB."""

_CHUNK = 1 << 16

SLICE_SECONDS = 1.0
"""The longest that silence is counted at a time: when this very process was stopped for an hour (ctrl+Z, a laptop's
lid), its workers were too, and are given their time."""

REAP_SECONDS = 10.0
"""How long the fork server may take to tell that a worker which was killed has ended. A stopped one never would."""


class WorkerHandle:
    """One worker process: its pipe, and its failures in words.

    Nothing here waits for the worker: messages are written as far as the pipe takes them, and read as far as they have
    come. So a worker that reads nothing, or sends half a message, cannot hold this process up.

    Args:
        streams: it sends messages of its own accord, and not one for each that it is sent.

    Attributes:
        replied: whether nothing is awaited from it.
        sent_at: when it was last asked something, in seconds of `time.perf_counter`.
        answer_seconds: how long its answers to steps have taken in all.
        loss: why nothing more can be asked of it, or None. What comes from it afterwards is never read: a late reply
            would be taken for the answer to the next question.
    """

    def __init__(
        self, index: int, envs: slice, process: BaseProcess, pipe: Connection, *, streams: bool = False
    ) -> None:
        self.index = index
        self.envs = envs
        self.process = process
        self.pipe = pipe
        self.replied = True
        self.sent_at = 0.0
        self.answer_seconds = 0.0
        self.loss: WorkerFailedError | None = None
        self._streams = streams
        self._unsent = b""
        self._received = bytearray()
        os.set_blocking(pipe.fileno(), False)

    def send(self, message: bytes) -> None:
        """Ask something of the worker. That it is gone shows when its reply is awaited."""
        self.replied = False
        self.sent_at = time.perf_counter()
        self._unsent = _LENGTH.pack(len(message)) + message
        self.flush()

    @property
    def has_unsent(self) -> bool:
        """Whether the pipe was too full for the whole message."""
        return bool(self._unsent)

    def flush(self) -> None:
        """Send what the pipe takes now."""
        try:
            while self._unsent and self.loss is None:
                self._unsent = self._unsent[os.write(self.pipe.fileno(), self._unsent) :]
        except BlockingIOError:
            pass
        except OSError:
            self.lose(self.death())

    def receive(self) -> Any:
        """The payload of the reply; `replied` says whether it has come whole.

        Raises:
            WorkerFailedError: the worker is gone, or what arrived is no reply.
            WorkerError: an environment in it raised.
        """
        message = None
        while message is None:
            try:
                chunk = os.read(self.pipe.fileno(), self._wanted())
            except BlockingIOError:
                return None
            except OSError:  # it died and left unread what was sent to it
                chunk = b""
            if not chunk:
                raise self.lose(self.death())
            self._received += chunk
            message = self._whole_message()
        self.replied = True
        try:
            kind, payload = Reply(message[0]), wire.decode(message)
        except Exception:
            raise self.lose(self._nonsense(f"{len(message)} bytes that are no reply")) from None
        if kind is Reply.ERROR:
            raise self._raised(payload)
        return payload

    def _wanted(self) -> int:
        """Bytes to read next. Of a stream, not one of the next message: nobody would be told that it has come."""
        if not self._streams:
            return _CHUNK
        if len(self._received) < _LENGTH.size:
            return _LENGTH.size - len(self._received)
        return _LENGTH.size + _LENGTH.unpack_from(self._received)[0] - len(self._received)

    def _whole_message(self) -> bytes | None:
        """Take the message out of what has been received, once it is complete."""
        if len(self._received) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._received)
        if not 0 < length <= wire.MAX_MESSAGE_BYTES:
            raise self.lose(self._nonsense(f"a message of {length} bytes"))
        end = _LENGTH.size + length
        if len(self._received) < end:
            return None
        if len(self._received) > end:
            raise self.lose(self._nonsense(f"{len(self._received) - end} bytes more than its reply"))
        message = bytes(memoryview(self._received)[_LENGTH.size : end])
        self._received = bytearray()
        return message

    # ── Failures ────────────────────────────────────────────────────────────────────────────────────────────

    def lose(self, loss: WorkerFailedError) -> WorkerFailedError:
        """From now on nothing is expected of this worker; returns why, which is what came first."""
        self.loss = self.loss or loss
        return self.loss

    def death(self) -> WorkerFailedError:
        """Why the process ended, for the user."""
        self.process.join(1.0)
        code = self.process.exitcode
        if code is None:
            cause = said = "closed its pipe"
        elif code < 0:
            name = signal.Signals(-code).name
            said, cause = f"was killed by {name}", f"killed ({name})"
        else:
            cause = said = f"exited with code {code}"
        hint = "its own output, if any, is in workers.log"
        if code == -signal.SIGKILL:
            hint += "; SIGKILL often means that memory ran out"
        return WorkerFailedError(f"{self} {said}", {self.index: cause}, hint=hint)

    def silence(self, seconds: float) -> WorkerFailedError:
        """It has not replied for so long."""
        return WorkerFailedError(
            f"no reply from worker {self.index} (pid {self.process.pid}) for {seconds:g} s",
            {self.index: f"hung (no reply for {seconds:g} s)"},
            hint="an environment hangs, or is slower than workers.step_timeout allows",
        )

    def _nonsense(self, what: str) -> WorkerFailedError:
        return WorkerFailedError(
            f"worker {self.index} (pid {self.process.pid}) sent {what}",
            {self.index: "stopped after a protocol error"},
            hint="something in the environment writes to the worker's pipe",
        )

    def _raised(self, failure: wire.WorkerFailure) -> WorkerError:
        where = "while starting" if failure.env is None else f"in environment {failure.env}"
        error = WorkerError(f"worker {self.index} failed {where}: {failure.error}")
        error.add_note(failure.traceback)
        return error

    def __str__(self) -> str:
        return f"worker {self.index} (pid {self.process.pid}, environments {self.envs.start} to {self.envs.stop - 1})"

    # ── The end ─────────────────────────────────────────────────────────────────────────────────────────────

    def ask_to_end(self) -> None:
        """Tell the worker to close its environments and end; `join` waits for it."""
        with contextlib.suppress(OSError):
            self.pipe.send_bytes(wire.encode(wire.Request.CLOSE))

    def join(self, deadline: float) -> None:
        """Wait until the worker has ended; kill it if it has not by `deadline` (`time.monotonic` seconds)."""
        if self.pipe.closed:
            return
        self.pipe.close()
        self.process.join(max(0.0, deadline - time.monotonic()))
        if self.process.is_alive():
            self.process.kill()
            self.process.join(REAP_SECONDS)
        if self.process.is_alive():
            kill_fork_server()
            self.process.join()
        self.process.close()


class ReplyWaiter:
    """Collects the replies of a fixed set of workers, watching pipes and processes together.

    One persistent poll object serves every step: building a selector each time costs more than the wait itself.
    """

    def __init__(self, handles: Sequence[WorkerHandle]) -> None:
        self._handles = handles
        self._by_descriptor = {handle.pipe.fileno(): handle for handle in handles}
        self._by_sentinel = {handle.process.sentinel: handle for handle in handles}
        self._poll = select.poll()
        for descriptor in (*self._by_descriptor, *self._by_sentinel):
            self._poll.register(descriptor, select.POLLIN)

    def wait(self, timeout: float) -> list[Any]:
        """Every worker's payload, in the workers' order, once all have replied.

        Raises:
            WorkerFailedError: workers died, talked nonsense, or did not reply within `timeout` seconds. It names all of
                them and has what the others replied.
            WorkerError: a worker raised; the others' replies have been received.
        """
        replies: dict[int, Any] = {}
        failure: WorkerError | None = None
        self._unwatch_lost()
        missing = {handle.index: handle for handle in self._handles if not handle.replied and handle.loss is None}
        remaining = timeout
        while missing:
            events, seconds = self._poll_once(missing, remaining)
            remaining -= seconds
            # A worker's last words lie in its pipe when its sentinel fires: read pipes first.
            for descriptor, _ in events:
                if (handle := self._by_descriptor.get(descriptor)) and handle.index in missing:
                    handle.flush()
                    try:
                        replies[handle.index] = handle.receive()
                    except WorkerFailedError:
                        self._unwatch_lost()
                    except WorkerError as error:
                        failure = failure or error
                    if handle.replied or handle.loss is not None:
                        del missing[handle.index]
            for descriptor, _ in events:
                handle = self._by_sentinel.get(descriptor)
                if handle and handle.index in missing and not handle.pipe.poll():
                    handle.lose(handle.death())
                    self._unwatch_lost()
                    del missing[handle.index]
            if remaining <= 0:
                for handle in missing.values():
                    handle.lose(handle.silence(timeout))
                break
        return self._outcome(replies, failure)

    def _poll_once(self, missing: dict[int, WorkerHandle], remaining: float) -> tuple[list[tuple[int, int]], float]:
        """Wait a while for something to happen; what did, and the seconds that count as waited."""
        full = [handle.pipe.fileno() for handle in missing.values() if handle.has_unsent]
        for descriptor in full:
            self._poll.modify(descriptor, select.POLLIN | select.POLLOUT)
        slice_seconds = min(SLICE_SECONDS, max(0.0, remaining))
        began = time.monotonic()
        events = self._poll.poll(slice_seconds * 1000)
        seconds = min(time.monotonic() - began, slice_seconds)
        for descriptor in full:
            self._poll.modify(descriptor, select.POLLIN)
        return events, seconds

    def _unwatch_lost(self) -> None:
        """Watch those no more that are lost: what they leave behind would wake every poll."""
        for handle in self._handles:
            if handle.loss is not None:
                for descriptor in (handle.pipe.fileno(), handle.process.sentinel):
                    with contextlib.suppress(KeyError):
                        self._poll.unregister(descriptor)

    def _outcome(self, replies: dict[int, Any], failure: WorkerError | None) -> list[Any]:
        losses = [handle.loss for handle in self._handles if handle.loss is not None]
        if losses:
            causes = {index: cause for loss in losses for index, cause in loss.causes.items()}
            error = WorkerFailedError("; ".join(loss.message for loss in losses), causes, hint=losses[0].hint)
            error.replies = replies
            raise error
        if failure:
            raise failure
        return [replies.get(handle.index) for handle in self._handles]
