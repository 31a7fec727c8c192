"""A program in a terminal of its own, which reads everything that the program writes and counts it."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

from ppo_tui.errors import RunFailedError

ROOT = Path(__file__).resolve().parents[1]

LOOK_SECONDS = 0.1
"""How often a condition is looked at that is not about the output."""

_CHUNK_BYTES = 65_536
_TAIL_BYTES = 4_096


class Terminal:
    """Runs `command` in a pseudo-terminal of 120×40 cells, as a context manager that ends it.

    Attributes:
        bytes_written: by the program so far.
        started: when the program was started, on the clock of `time.perf_counter`.
    """

    COLUMNS, LINES = 120, 40

    def __init__(self, command: Sequence[str]) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", self.LINES, self.COLUMNS, 0, 0))
        environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
        for name in ("COLUMNS", "LINES", "NO_COLOR", "CI"):
            environment.pop(name, None)
        self.bytes_written = 0
        self._tail = b""
        self.started = time.perf_counter()
        try:
            self.process = subprocess.Popen(
                command, stdin=slave, stdout=slave, stderr=slave, cwd=ROOT, env=environment, start_new_session=True
            )
        except BaseException:
            os.close(self._master)
            raise
        finally:
            os.close(slave)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._master)

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def read_until(self, condition: Callable[[], bool], *, timeout: float) -> None:
        """Take in the output until `condition` holds.

        Raises:
            RunFailedError: the program ended before, or `timeout` seconds went by.
        """
        deadline = time.monotonic() + timeout
        while not condition():
            if not self.read_for(LOOK_SECONDS) or time.monotonic() > deadline:
                raise RunFailedError(f"the program in the terminal went another way; its last output: {self._tail!r}")

    def read_until_text(self, *alternatives: str, timeout: float) -> None:
        """Take in the output until one of these texts has been written; raises as `read_until` does."""
        wanted = [text.encode() for text in alternatives]
        deadline = time.monotonic() + timeout
        while not any(text in self._tail for text in wanted):
            if not self._read_once(LOOK_SECONDS) or time.monotonic() > deadline:
                raise RunFailedError(f"{alternatives} did not show; the last output: {self._tail!r}")

    def read_to_end(self, *, timeout: float) -> int:
        """Take in the output until the program leaves, and return its exit code; raises as `read_until` does."""
        deadline = time.monotonic() + timeout
        while self._read_once(LOOK_SECONDS):
            if time.monotonic() > deadline:
                raise RunFailedError(f"the program did not leave; its last output: {self._tail!r}")
        return self.process.wait(timeout=timeout)

    def forget(self) -> None:
        """Look for texts from here on only."""
        self._tail = b""

    def read_for(self, seconds: float) -> bool:
        """Take in all that is written in this time; False when the program has left."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if not self._read_once(left):
                return False
        return True

    def _read_once(self, seconds: float) -> bool:
        """Take in one piece of output, if there is one within this time; False when the program has left."""
        if not select.select([self._master], [], [], seconds)[0]:
            return True
        try:
            chunk = os.read(self._master, _CHUNK_BYTES)
        except OSError:  # how Linux reports that nobody holds the other side any more
            return False
        self.bytes_written += len(chunk)
        self._tail = (self._tail + chunk)[-max(_TAIL_BYTES, len(chunk)) :]
        return bool(chunk)
