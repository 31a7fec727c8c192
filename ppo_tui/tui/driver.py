"""A driver for Textual: differences only, any input, any terminal or none."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import signal
import sys
import termios

from textual.drivers.linux_driver import LinuxDriver
from textual.events import Resize
from textual.geometry import Region
from textual.message import Message
from textual.messages import InBandWindowResize

from ..system.terminals import has_input
from .app import PpoTuiApp
from .pixels import Graphics, cell_size, kitty_deletion, without_answers
from .private_textual import KeyReader
from .terminal_diff import SYNC_END, SYNC_START

RESTORE = "\x1b[?2004l\x1b[?7h\x1b[?1000l\x1b[?1003l\x1b[?1015l\x1b[?1006l\x1b[<u\x1b[?1049l\x1b[?25h\x1b[?1004l"
"""What a terminal is told at the end: no paste marks, wrapping, no mouse, its own keys, its own screen, a cursor."""

_ASK_CELL = "\x1b[16t"

_TICK_SECONDS = 0.1


class LastingDriver(LinuxDriver):
    """Textual's driver, with the app's `TerminalDiff` in front of the terminal.

    Attributes:
        graphics: the protocol of the terminal's pictures; None for none.
        cell: width and height of a cell in pixels; None while unknown.
        pictures: numbers in use by Kitty's protocol.
        charts: the user wants the charts in pixels too.
    """

    def __init__(
        self, app: PpoTuiApp, *, debug: bool = False, mouse: bool = True, size: tuple[int, int] | None = None
    ) -> None:
        super().__init__(app, debug=debug, mouse=mouse, size=size)
        self._difference = app.terminal_diff
        self._refresh = functools.partial(app.refresh, layout=True)
        self._stopped = self._closed = True
        self._suspended = False
        self._unsent: list[str] = []
        self.graphics = app.answer.graphics
        self.cell = app.answer.cell
        self.pictures: set[int] = set()
        self.charts = app.answer.charts
        self._typed = app.answer.typed
        app.terminal = self

    def start_application_mode(self) -> None:
        self._stopped = self._closed = False
        super().start_application_mode()

    def stop_application_mode(self) -> None:
        self._stopped = True
        if self.graphics is Graphics.KITTY:
            self._put("".join(map(kitty_deletion, sorted(self.pictures))))
        super().stop_application_mode()
        self._send()

    def suspend_application_mode(self) -> None:
        super().suspend_application_mode()
        self._suspended = True

    def resume_application_mode(self) -> None:
        """Start again after a suspension, or take the terminal anew.

        A process that others have stopped continues without having been suspended, and a shell may have used the
        terminal meanwhile.
        """
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # the screen has ended
            return
        if self._suspended:
            self._suspended = False
            super().resume_application_mode()
        else:  # later, as the signal may come in the middle of anything, of this too
            loop.call_soon_threadsafe(self._take_anew)

    def _take_anew(self) -> None:
        if not self._stopped:
            super().suspend_application_mode()
            super().resume_application_mode()
            self._refresh()

    def close(self) -> None:
        if not self._closed:  # a second time it would wait for a thread that is gone
            self._closed = True
            super().close()

    def give_back(self) -> None:
        """Give the terminal back, unless already done."""
        if not self._stopped:
            with contextlib.suppress(Exception):
                self.stop_application_mode()
            self.exit_event.set()
            if self.attrs_before is not None:
                with contextlib.suppress(termios.error):
                    termios.tcsetattr(self.fileno, termios.TCSANOW, self.attrs_before)
            self.close()
            if sys.__stderr__ is not None:
                sys.__stderr__.write(RESTORE)
                sys.__stderr__.flush()
        self.close()

    def write(self, data: str) -> None:
        if reduced := self._difference.reduce(data):
            self._put(reduced)

    def _put(self, data: str) -> None:
        """Send `data` with all else of this turn of the loop.

        Each piece would wake the thread that writes, which takes a core from the training.
        """
        self._unsent.append(data)
        if len(self._unsent) == 1:
            try:
                asyncio.get_running_loop().call_soon(self._send)
            except RuntimeError:  # the screen has ended
                self._send()

    def _send(self) -> None:
        data = "".join(self._unsent).replace(SYNC_END + SYNC_START, "")
        self._unsent.clear()
        if data and not self._closed:
            super().write(data)

    def draw(self, commands: str, at: Region | None = None) -> None:
        """Send a picture's commands; those of sixels cover cells `at`."""
        if self._stopped:
            return
        move = f"\x1b[{at.y + 1};{at.x + 1}H" if at else ""
        self._put(f"{SYNC_START}{move}{commands}{SYNC_END}")
        if at:
            self._difference.forget_cells(at.y + 1, at.x + 1, at.height, at.width)

    def measure_cells(self) -> None:
        """Look for the size of cells anew, after a resize.

        Where only the terminal itself can tell it, it is unknown until its answer.
        """
        if self.graphics is Graphics.SIXEL:
            self.cell = cell_size(self.fileno)
            if self.cell is None:
                self._put(_ASK_CELL)

    def process_message(self, message: Message) -> None:
        # The size is the system's, as any bytes may look like a report of one, and a terminal of a million lines
        # would take all memory.
        if not isinstance(message, Resize | InBandWindowResize):
            super().process_message(message)

    def run_input_thread(self) -> None:
        """Read keys; take an unreadable terminal for gone."""
        try:
            reader = KeyReader()
        except NotImplementedError:
            reader = None
        try:
            if reader is None:
                super().run_input_thread()
            else:
                self._read_keys(reader)
        except OSError:
            os.kill(os.getpid(), signal.SIGHUP)

    def _read_keys(self, reader: KeyReader) -> None:
        for message in reader.feed(self._typed):
            self.process_message(message)
        while not self.exit_event.is_set():
            messages = []
            if has_input(self.fileno, _TICK_SECONDS):
                try:
                    data = os.read(self.fileno, 4096)
                except BlockingIOError:  # somebody has made the terminal so
                    continue
                if not data:
                    return
                data, cell = without_answers(data)
                self.cell = cell or self.cell
                messages = reader.feed(data)
            for message in (*messages, *reader.pass_time()):
                self.process_message(message)
