"""Textual's driver for a terminal, made to outlast the terminal and to write no more than it has to."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import IO

from textual.app import App
from textual.drivers.linux_driver import LinuxDriver
from textual.events import Resize
from textual.message import Message
from textual.messages import InBandWindowResize

from .terminal_diff import TerminalDiff


class LastingDriver(LinuxDriver):
    """A driver that loses what it cannot write.

    Textual writes in a thread of its own, behind a short queue. When the terminal goes away that thread would die of
    the failing write, the queue fill up, and the next thing drawn, or the way out, wait for ever.
    """

    def __init__(
        self, app: App[object], *, debug: bool = False, mouse: bool = True, size: tuple[int, int] | None = None
    ) -> None:
        super().__init__(app, debug=debug, mouse=mouse, size=size)
        self._file = _Lenient(self._file)  # type: ignore[assignment]
        self._difference = TerminalDiff()

    def write(self, data: str) -> None:
        if reduced := self._difference.reduce(data):
            super().write(reduced)

    def process_message(self, message: Message) -> None:
        if isinstance(message, Resize | InBandWindowResize):
            self.forget_picture()
        super().process_message(message)

    def forget_picture(self) -> None:
        """What the terminal shows is not known any more: it moves its lines when it is resized."""
        self._difference.forget()

    def run_input_thread(self) -> None:
        """As Textual's, but that the terminal cannot be read means that it is gone, and is no error of the program."""
        try:
            super().run_input_thread()
        except OSError:
            os.kill(os.getpid(), signal.SIGHUP)


class _Lenient:
    """As much of a text stream as the driver uses, without its failures."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError):
            self._stream.write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.flush()

    def fileno(self) -> int:
        return self._stream.fileno()
