"""A program in a pseudo-terminal, with its output read and counted."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from ppo_tui.errors import RunFailedError

ROOT = Path(__file__).resolve().parents[1]

LOOK_SECONDS = 0.1
"""Interval of the checks of a condition outside the output."""

_CHUNK_BYTES = 65_536
_TAIL_BYTES = 4_096


class Terminal:
    """A run of `command` in a pseudo-terminal of 120×40 cells.

    A context manager that ends it.

    Args:
        folder: its working directory.
        environment: its variables; by default those of this process. Modules are kept compiled, as for any user.

    Attributes:
        bytes_written: by the program so far.
        started: when the program was started, on the clock of `time.perf_counter`.
    """

    COLUMNS, LINES = 120, 40

    def __init__(
        self, command: Sequence[str], *, folder: Path = ROOT, environment: Mapping[str, str] | None = None
    ) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", self.LINES, self.COLUMNS, 0, 0))
        variables = {**(os.environ if environment is None else environment)}
        variables |= {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
        for name in ("COLUMNS", "LINES", "NO_COLOR", "CI", "PYTHONDONTWRITEBYTECODE"):
            variables.pop(name, None)
        self.bytes_written = 0
        self._tail = b""
        self.started = time.perf_counter()
        try:
            self.process = subprocess.Popen(
                command, stdin=slave, stdout=slave, stderr=slave, cwd=folder, env=variables, start_new_session=True
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
        """Read the output until `condition` holds.

        Raises:
            RunFailedError: the program ended before, or after `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while not condition():
            if not self.read_for(LOOK_SECONDS) or time.monotonic() > deadline:
                raise RunFailedError(f"the condition did not become true; the last output: {self._tail!r}")

    def read_until_text(self, *alternatives: str, timeout: float) -> None:
        """Read the output until one of these texts has been written.

        Raises as `read_until` does.
        """
        wanted = [text.encode() for text in alternatives]
        deadline = time.monotonic() + timeout
        while not any(text in self._tail for text in wanted):
            if not self._read_once(LOOK_SECONDS) or time.monotonic() > deadline:
                raise RunFailedError(f"{alternatives} did not show; the last output: {self._tail!r}")

    def read_to_end(self, *, timeout: float) -> int:
        """Read the output to the program's end; return its exit code.

        Raises as `read_until` does.
        """
        deadline = time.monotonic() + timeout
        while self._read_once(LOOK_SECONDS):
            if time.monotonic() > deadline:
                raise RunFailedError(f"no exit within {timeout:.0f} s; the last output: {self._tail!r}")
        return self.process.wait(timeout=timeout)

    def forget(self) -> None:
        """Look for texts in later output only."""
        self._tail = b""

    def read_for(self, seconds: float) -> bool:
        """Read all output of this time; False at the program's end."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if not self._read_once(left):
                return False
        return True

    def _read_once(self, seconds: float) -> bool:
        """Read one piece of output; False at the program's end.

        Without any output within `seconds` it returns True.
        """
        if not select.select([self._master], [], [], seconds)[0]:
            return True
        try:
            chunk = os.read(self._master, _CHUNK_BYTES)
        except OSError:  # on Linux: the other side is closed
            return False
        self.bytes_written += len(chunk)
        self._tail = (self._tail + chunk)[-max(_TAIL_BYTES, len(chunk)) :]
        return bool(chunk)
