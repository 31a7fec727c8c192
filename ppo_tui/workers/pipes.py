"""The parent's end of each worker's pipe, read and written without blocking."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import select
import signal
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from ..errors import WorkerError, WorkerFailedError
from ..system.processes import CoreWaits, is_stopped
from . import wire
from .process import kill_children, kill_fork_server, kill_worker
from .wire import Reply

_CHUNK = 1 << 16


class WorkerTimeoutError(WorkerFailedError, multiprocessing.TimeoutError):
    """Silence of workers beyond the time limit."""


class RaisedInWorkerError(WorkerError):
    """An exception raised in a worker.

    Args:
        kind: see `wire.RaisedError`.
    """

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


SLICE_SECONDS = 1.0
"""Silence is counted in slices of at most this length: when this process is stopped for an hour (ctrl+Z, a laptop's
lid), its workers are too, and must not count as hung afterwards."""

REAP_SECONDS = 10.0
"""How long the fork server may take to report the end of a killed worker. A stopped one never does."""


class WorkerHandle:
    """One worker process: its pipe, and its failures in words.

    Nothing here waits for the worker: messages are written as far as the pipe takes them, and read as far as they have
    come. So a worker that reads nothing, or sends half a message, cannot block this process.

    Args:
        streams: the worker sends messages unasked, and no reply to each request.

    Attributes:
        replied: whether no reply is awaited.
        sent_at: when the last request was sent, in seconds of `time.perf_counter`.
        answer_seconds: how long the replies to steps have taken in all.
        failure: why the worker can take no more requests, or None. After a failure its pipe is not read: a late reply
            would be taken for the reply to the next request.
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
        self.failure: WorkerFailedError | None = None
        self._streams = streams
        self._unsent = b""
        self._received = bytearray()
        os.set_blocking(pipe.fileno(), False)

    @property
    def pid(self) -> int:
        """Process id; 0 before the process has started."""
        return self.process.pid or 0

    @property
    def has_answered(self) -> bool:
        """Whether no reply is awaited, or one has come.

        Any thread may ask.
        """
        with contextlib.suppress(OSError, ValueError):  # closed meanwhile
            return self.replied or self.pipe.poll()
        return False

    def send(self, message: bytes) -> None:
        """Send a request. A dead worker shows when its reply is awaited."""
        self.replied = False
        self.sent_at = time.perf_counter()
        self._unsent = wire.frame(message)
        self.flush()

    @property
    def has_unsent(self) -> bool:
        """Whether the pipe was too full for the whole request."""
        return bool(self._unsent)

    def flush(self) -> None:
        """Write as much of the request as the pipe takes now."""
        try:
            while self._unsent and self.failure is None:
                self._unsent = self._unsent[os.write(self.pipe.fileno(), self._unsent) :]
        except BlockingIOError:
            pass
        except OSError:
            self.fail(self.death_error())

    def receive(self) -> Any:
        """The payload of the reply, or None before it is complete.

        `replied` says which, as a payload may be None too.

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
            except OSError:  # it died with unread requests
                chunk = b""
            if not chunk:
                raise self.fail(self.death_error())
            self._received += chunk
            message = self._whole_message()
        self.replied = True
        try:
            kind, payload = Reply(message[0]), wire.decode(message)
        except Exception:
            raise self.fail(self._protocol_error(f"{len(message)} bytes that are no reply")) from None
        if kind is Reply.ERROR:
            raise self._error(payload)
        return payload

    def _wanted(self) -> int:
        """Bytes to read next.

        Of a stream, none beyond this message: `poll` would not report the next one.
        """
        if not self._streams:
            return _CHUNK
        if len(self._received) < wire.LENGTH.size:
            return wire.LENGTH.size - len(self._received)
        return wire.LENGTH.size + wire.LENGTH.unpack_from(self._received)[0] - len(self._received)

    def _whole_message(self) -> bytes | None:
        """Take the message out of the received bytes, once it is complete."""
        if len(self._received) < wire.LENGTH.size:
            return None
        (length,) = wire.LENGTH.unpack_from(self._received)
        if not 0 < length <= wire.MAX_MESSAGE_BYTES:
            raise self.fail(self._protocol_error(f"a message of {length} bytes"))
        end = wire.LENGTH.size + length
        if len(self._received) < end:
            return None
        if len(self._received) > end:
            raise self.fail(self._protocol_error(f"{len(self._received) - end} bytes more than its reply"))
        message = bytes(memoryview(self._received)[wire.LENGTH.size : end])
        self._received = bytearray()
        return message

    # ── Failures ────────────────────────────────────────────────────────────────────────────────────────────

    def fail(self, failure: WorkerFailedError) -> WorkerFailedError:
        """Expect nothing more of this worker; returns its first failure."""
        self.failure = self.failure or failure
        return self.failure

    def death_error(self) -> WorkerFailedError:
        """The failure of an ended process."""
        self.process.join(1.0)
        code = self.process.exitcode
        if code is None:
            cause = end = "closed its pipe"
        elif code < 0:
            name = signal.Signals(-code).name
            end, cause = f"was killed by {name}", f"killed ({name})"
        else:
            cause = end = f"exited with code {code}"
        hint = "its own output, if any, is in workers.log"
        if code == -signal.SIGKILL:
            hint += "; SIGKILL often means that the machine ran out of memory"
        return WorkerFailedError(f"{self} {end}", {self.index: cause}, hint=hint)

    def hang_error(self, seconds: float) -> WorkerFailedError:
        """The failure of a worker without a reply for `seconds`."""
        return WorkerTimeoutError(
            f"no reply from worker {self.index} (pid {self.process.pid}) for {seconds:g} s",
            {self.index: f"hung (no reply for {seconds:g} s)"},
            hint="an environment hangs, or is slower than workers.step_timeout allows",
        )

    def stop_error(self, seconds: float) -> WorkerFailedError:
        """The failure of a process stopped for `seconds`."""
        return WorkerFailedError(
            f"worker {self.index} (pid {self.process.pid}) has been stopped for {seconds:g} s",
            {self.index: f"stopped (no reply for {seconds:g} s)"},
            hint="something sent it SIGSTOP",
        )

    def _protocol_error(self, received: str) -> WorkerFailedError:
        return WorkerFailedError(
            f"worker {self.index} (pid {self.process.pid}) sent {received}",
            {self.index: "stopped after a protocol error"},
            hint="something in the environment writes to the worker's pipe",
        )

    def _error(self, raised: wire.RaisedError) -> WorkerError:
        where = "while starting" if raised.env is None else f"in environment {raised.env}"
        error = RaisedInWorkerError(f"worker {self.index} failed {where}: {raised.error}", raised.kind)
        error.add_note(raised.traceback)
        return error

    def __str__(self) -> str:
        return f"worker {self.index} (pid {self.process.pid}, environments {self.envs.start} to {self.envs.stop - 1})"

    # ── The end ─────────────────────────────────────────────────────────────────────────────────────────────

    def ask_to_end(self) -> None:
        """Ask the worker to close its environments and end."""
        with contextlib.suppress(OSError):
            os.write(self.pipe.fileno(), wire.frame(wire.encode(wire.Request.CLOSE)))

    def join(self, deadline: float) -> None:
        """Wait until the worker has ended; kill it at `deadline` (`time.monotonic`)."""
        if self.pipe.closed:
            return
        self.pipe.close()
        self.process.join(max(0.0, deadline - time.monotonic()))
        if self.process.is_alive():
            kill_worker(self.pid)
            self.process.join(REAP_SECONDS)
        if self.process.is_alive() and kill_fork_server():
            self.process.join()
        kill_children(self.pid)
        if not self.process.is_alive():
            self.process.close()


class _Silence:
    """The silence of workers, in seconds.

    The time that a worker is ready to run and has no core does not count, from the first empty slice of a wait on: on
    a busy machine it is slow, and does not hang.
    """

    def __init__(self) -> None:
        self._waited = 0.0
        self._starved: defaultdict[int, float] = defaultdict(float)
        self._core_waits = CoreWaits()

    def waited(self, seconds: float) -> None:
        self._waited += seconds

    def of(self, index: int) -> float:
        return self._waited - self._starved[index]

    def longest(self, missing: Iterable[int]) -> float:
        return max(map(self.of, missing), default=0.0)

    def leave_out_starved(self, missing: Iterable[WorkerHandle], seconds: float) -> None:
        """Leave out the time without a core.

        Args:
            seconds: since the last call.
        """
        for handle in missing:
            self._starved[handle.index] += self._core_waits.within(handle.pid, seconds)


class ReplyWaiter:
    """Collects the replies of several workers, watching pipes and processes together.

    One persistent poll object serves every step: building a selector each time costs more than the wait itself.
    """

    def __init__(self, handles: Sequence[WorkerHandle]) -> None:
        self._handles = handles
        self._by_descriptor = {handle.pipe.fileno(): handle for handle in handles}
        self._by_sentinel = {handle.process.sentinel: handle for handle in handles}
        self._poll = select.poll()
        for descriptor in (*self._by_descriptor, *self._by_sentinel):
            self._poll.register(descriptor, select.POLLIN)

    def wait(self, timeout: float, stopped_timeout: float | None = None) -> list[Any]:
        """Every worker's payload, in the workers' order, once all have replied.

        Args:
            stopped_timeout: seconds after which a stopped process counts as lost; None for `timeout`.

        Raises:
            WorkerFailedError: workers died, broke the protocol, or did not reply within `timeout` seconds. It names all
                of them and holds the replies of the others. Where all were silent it is a `WorkerTimeoutError`, which
                is `multiprocessing.TimeoutError`, too.
            RaisedInWorkerError: an environment raised; the others' replies have been received.
        """
        replies: dict[int, Any] = {}
        first_error: WorkerError | None = None
        self._unwatch_failed()
        missing = {handle.index: handle for handle in self._handles if not handle.replied and handle.failure is None}
        silence = _Silence()
        stopped: defaultdict[int, float] = defaultdict(float)
        while missing:
            events, seconds = self._poll_once(missing, timeout - silence.longest(missing))
            silence.waited(seconds)
            # A worker's last message lies in its pipe when its sentinel fires: read pipes first.
            for descriptor, _ in events:
                if (handle := self._by_descriptor.get(descriptor)) and handle.index in missing:
                    handle.flush()
                    try:
                        replies[handle.index] = handle.receive()
                    except WorkerFailedError:
                        self._unwatch_failed()
                    except WorkerError as error:
                        first_error = first_error or error
                    if handle.replied or handle.failure is not None:
                        del missing[handle.index]
            for descriptor, _ in events:
                handle = self._by_sentinel.get(descriptor)
                if handle and handle.index in missing and not handle.pipe.poll():
                    handle.fail(handle.death_error())
                    self._unwatch_failed()
                    del missing[handle.index]
            if not events or silence.longest(missing) >= timeout:
                silence.leave_out_starved(missing.values(), seconds)
            for index in [index for index in missing if silence.of(index) >= timeout]:
                handle = missing.pop(index)
                handle.fail(handle.hang_error(timeout))
                self._unwatch_failed()
            if stopped_timeout is not None and not events:
                self._fail_stopped(missing, stopped, seconds, stopped_timeout)
        return self._outcome(replies, first_error)

    def _fail_stopped(
        self, missing: dict[int, WorkerHandle], stopped: defaultdict[int, float], seconds: float, timeout: float
    ) -> None:
        """Count `seconds` for stopped processes; give up after `timeout`."""
        for index, handle in list(missing.items()):
            stopped[index] = stopped[index] + seconds if is_stopped(handle.pid) else 0.0
            if stopped[index] >= timeout:
                handle.fail(handle.stop_error(timeout))
                self._unwatch_failed()
                del missing[index]

    def _poll_once(self, missing: dict[int, WorkerHandle], remaining: float) -> tuple[list[tuple[int, int]], float]:
        """Wait for up to a slice of time.

        Returns:
            The events, and the seconds that count as waited.
        """
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

    def _unwatch_failed(self) -> None:
        """Stop watching failed workers: their closed descriptors would wake every poll."""
        for handle in self._handles:
            if handle.failure is not None:
                for descriptor in (handle.pipe.fileno(), handle.process.sentinel):
                    with contextlib.suppress(KeyError):
                        self._poll.unregister(descriptor)

    def _outcome(self, replies: dict[int, Any], error: WorkerError | None) -> list[Any]:
        failures = [handle.failure for handle in self._handles if handle.failure is not None]
        if failures:
            causes = {index: cause for failed in failures for index, cause in failed.causes.items()}
            message = "; ".join(failed.message for failed in failures)
            hung = all(isinstance(failed, WorkerTimeoutError) for failed in failures)
            kind = WorkerTimeoutError if hung else WorkerFailedError
            raise kind(message, causes, hint=failures[0].hint, replies=replies)
        if error:
            raise error
        return [replies.get(handle.index) for handle in self._handles]
