"""Output as a guest: its reader may stall or leave.

A pipe that nobody reads blocks its writer as soon as it is full, a terminal after Ctrl+S; one that was closed raises. A
run must mind neither. So a thread writes, and a failure is a fact to ask for.
"""

from __future__ import annotations

import collections
import io
import os
import queue
import select
import sys
import threading
from typing import Any

MAX_WAITING_BYTES = 16 * 1024 * 1024
"""Limit of the output kept in memory for a reader that is behind."""

_CHUNK_BYTES = 4096
"""Written at a time; by each chunk a slow reader shows that it still reads."""


class GuestStream(io.RawIOBase):
    """The bytes of a standard stream, written by a thread.

    Writing never raises and never waits. `flush` waits for a reader for `patience` seconds, and then no more until the
    reader has read something.

    Args:
        descriptor: stays open.

    Attributes:
        failure: why nothing can be written any more, or None.
        left_out: number of writes left out for a reader too far behind.
    """

    def __init__(self, descriptor: int, *, patience: float) -> None:
        self._descriptor, self._patience = descriptor, patience
        # No lock: a signal handler may interrupt a writer, and write too.
        self._backlog: collections.deque[bytes | threading.Event | None] = collections.deque()
        self._wake_ups: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._accepted, self._written = 0, 0
        self._gave_up_at = -1
        self.failure: OSError | None = None
        self.left_out = 0
        # Not at the first use: that may be in a signal handler, which may have interrupted the start of another thread.
        threading.Thread(target=self._write_all, name="output", daemon=True).start()

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    @property
    def behind(self) -> bool:
        """Whether output still waits for its reader."""
        return self._written < self._accepted

    def write(self, content: Any, /) -> int:
        """Take bytes to be written, or leave them out."""
        content = bytes(content)
        if content and self.failure is None:
            if self._accepted - self._written + len(content) > MAX_WAITING_BYTES:
                self.left_out += 1
            else:
                self._accepted += len(content)
                self._put(content)
        return len(content)

    def flush(self) -> None:
        """Wait for the reader, within patience."""
        self.drain(self._patience)

    def drain(self, seconds: float) -> bool:
        """Wait until everything is written, or the reader stops reading.

        Args:
            seconds: without any progress after which to give up.

        Returns:
            Whether everything is written.
        """
        if not seconds or not self._backlog or self.failure is not None or self._written == self._gave_up_at:
            return not self._backlog and self.failure is None
        all_written = threading.Event()
        self._put(all_written)
        while True:
            before = self._written
            if all_written.wait(seconds):
                return self.failure is None
            if self._written == before:
                self._gave_up_at = before
                return False

    def end(self) -> None:
        """Let the thread end once everything is written.

        Nothing may be written any more.
        """
        self._put(None)

    def _put(self, item: bytes | threading.Event | None) -> None:
        self._backlog.append(item)
        self._wake_ups.put(None)

    def _write_all(self) -> None:
        while True:
            self._wake_ups.get()
            while self._backlog:  # all of it: a writer may have been interrupted before its own wake-up
                item = self._backlog[0]
                if item is None:
                    return
                if isinstance(item, bytes):
                    self._write_out(item)
                else:
                    item.set()
                self._backlog.popleft()

    def _write_out(self, content: bytes) -> None:
        rest = memoryview(content)
        while rest and self.failure is None:
            try:
                done = os.write(self._descriptor, rest[:_CHUNK_BYTES])
            except BlockingIOError:  # another process has made the pipe a non-blocking one
                select.select([], [self._descriptor], [])
            except OSError as error:
                self.failure = error
            else:
                self._written += done
                rest = rest[done:]


def guest_stream(stream: Any, *, patience: float) -> io.TextIOWrapper | None:
    """A text stream to the same descriptor, by a `GuestStream`.

    What `stream` still holds is written first.

    Returns:
        None for a stream without a descriptor.
    """
    try:
        descriptor = stream.fileno()
        stream.flush()
    except (AttributeError, OSError, ValueError):
        return None
    raw: Any = GuestStream(descriptor, patience=patience)
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return io.TextIOWrapper(raw, encoding=encoding, errors="replace", write_through=True)


def open_missing_streams() -> None:
    """Open the null device for each closed standard stream.

    Otherwise the next file to be opened would take its descriptor, and with it whatever is printed by C code.
    """
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDWR)  # gets the lowest free number: this very one
            os.set_inheritable(null, null == descriptor)
            setattr(sys, name, open(null, mode, encoding="utf-8", closefd=False))  # noqa: SIM115
