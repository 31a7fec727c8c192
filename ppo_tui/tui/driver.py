"""A driver for Textual: differences only, and no error without a terminal."""

from __future__ import annotations

import os
import signal

from textual.drivers.linux_driver import LinuxDriver
from textual.events import Resize
from textual.message import Message
from textual.messages import InBandWindowResize

from .app import PpoTuiApp


class LastingDriver(LinuxDriver):
    """Textual's driver, with the app's `TerminalDiff` in front of the terminal."""

    def __init__(
        self, app: PpoTuiApp, *, debug: bool = False, mouse: bool = True, size: tuple[int, int] | None = None
    ) -> None:
        super().__init__(app, debug=debug, mouse=mouse, size=size)
        self._difference = app.terminal_diff

    def write(self, data: str) -> None:
        if reduced := self._difference.reduce(data):
            super().write(reduced)

    def process_message(self, message: Message) -> None:
        if isinstance(message, Resize | InBandWindowResize):
            self._difference.forget()  # a terminal moves its lines when it is resized
        super().process_message(message)

    def run_input_thread(self) -> None:
        """Read keys; take an unreadable terminal for gone."""
        try:
            super().run_input_thread()
        except OSError:
            os.kill(os.getpid(), signal.SIGHUP)
