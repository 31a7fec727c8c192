"""The parent's end of one worker, and waiting for several of them at once."""

from __future__ import annotations

import contextlib
import select
import signal
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from ..errors import WorkerError
from . import wire
from .wire import Reply


class WorkerHandle:
    """One worker process: its pipe, and its failures in words."""

    def __init__(self, index: int, envs: slice, process: BaseProcess, pipe: Connection) -> None:
        self.index = index
        self.envs = envs
        self.process = process
        self.pipe = pipe
        self.replied = True

    def send(self, message: bytes) -> None:
        """Ask something of the worker.

        Raises:
            WorkerError: the worker is gone.
        """
        self.replied = False
        try:
            self.pipe.send_bytes(message)
        except OSError:
            raise self.death() from None

    def receive(self) -> Any:
        """The payload of the reply that has arrived.

        Raises:
            WorkerError: the worker is gone, an environment in it raised, or what arrived is no reply.
        """
        try:
            message = self.pipe.recv_bytes(wire.MAX_MESSAGE_BYTES)
        except (EOFError, OSError):
            raise self.death() from None
        self.replied = True
        try:
            kind, payload = Reply(message[0]), wire.decode(message)
        except Exception:
            raise WorkerError(
                f"worker {self.index} (pid {self.process.pid}) sent {len(message)} bytes that are no reply",
                hint="something in the environment writes to the worker's pipe",
            ) from None
        if kind is Reply.ERROR:
            raise self._raised(payload)
        return payload

    def _raised(self, failure: wire.WorkerFailure) -> WorkerError:
        where = "while starting" if failure.env is None else f"in environment {failure.env}"
        error = WorkerError(f"worker {self.index} failed {where}: {failure.error}")
        error.add_note(failure.traceback)
        return error

    def death(self) -> WorkerError:
        """Why the process ended, for the user."""
        self.process.join(1.0)
        code = self.process.exitcode
        if code is None:
            cause = "closed its pipe"
        elif code < 0:
            cause = f"was killed by {signal.Signals(-code).name}"
        else:
            cause = f"exited with code {code}"
        first, last = self.envs.start, self.envs.stop - 1
        return WorkerError(
            f"worker {self.index} (pid {self.process.pid}, environments {first} to {last}) {cause}",
            hint="its own output, if any, is in workers.log; SIGKILL often means that memory ran out"
            if code == -signal.SIGKILL
            else "its own output, if any, is in workers.log",
        )

    def ask_to_end(self) -> None:
        """Tell the worker to close its environments and end; `join` waits for it."""
        with contextlib.suppress(OSError):
            self.pipe.send_bytes(wire.encode(wire.Request.CLOSE))

    def join(self, deadline: float) -> None:
        """Wait until the worker has ended; kill it if it has not by `deadline` (`time.monotonic` seconds)."""
        self.pipe.close()
        self.process.join(max(0.0, deadline - time.monotonic()))
        if self.process.is_alive():
            self.process.kill()
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
            WorkerError: a worker raised, died, or did not reply within `timeout` seconds. The other workers' replies
                have then been received as far as they had come.
        """
        deadline = time.monotonic() + timeout
        payloads: dict[int, Any] = {}
        failure: WorkerError | None = None
        missing = {handle.index for handle in self._handles if not handle.replied}
        while missing:
            events = self._poll.poll(max(0.0, deadline - time.monotonic()) * 1000)
            if not events and time.monotonic() >= deadline:
                raise failure or self._silent(missing, timeout)
            # A worker's last words lie in its pipe when its sentinel fires: read pipes first.
            for descriptor, _ in events:
                if (handle := self._by_descriptor.get(descriptor)) and handle.index in missing:
                    missing.discard(handle.index)
                    try:
                        payloads[handle.index] = handle.receive()
                    except WorkerError as error:
                        failure = failure or error
            for descriptor, _ in events:
                handle = self._by_sentinel.get(descriptor)
                if handle and handle.index in missing and not handle.pipe.poll():
                    raise failure or handle.death()
        if failure:
            raise failure
        return [payloads.get(handle.index) for handle in self._handles]

    def _silent(self, missing: set[int], timeout: float) -> WorkerError:
        names = ", ".join(
            f"worker {handle.index} (pid {handle.process.pid})" for handle in self._handles if handle.index in missing
        )
        return WorkerError(
            f"no reply from {names} for {timeout:g} s",
            hint="an environment hangs, or is slower than workers.step_timeout allows",
        )
