"""Lend the terminal to `ppo-tui watch`, and take it back."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Sequence

from textual.app import App, SuspendNotSupported

from ..boundary import INTERRUPTED
from ..system.processes import own_command


class Lending:
    """The terminal of an app, lent to one program at a time.

    The app lives on meanwhile, and paints nothing.
    """

    def __init__(self, app: App[None]) -> None:
        self._app = app
        self._process: asyncio.subprocess.Process | None = None

    async def run(self, arguments: Sequence[str], taken_back: Callable[[], None]) -> str:
        """Run ``ppo-tui ARGUMENTS`` in the terminal.

        Args:
            taken_back: called before the app paints again.

        Returns:
            Why it could not run, or nothing.
        """
        if self._process is not None:
            return ""
        try:
            with self._app.batch_update(), self._app.suspend(), _interrupts_elsewhere():
                try:
                    await self._run(arguments)
                finally:
                    taken_back()
        except SuspendNotSupported:
            return "this terminal cannot be lent to another program"
        except OSError as error:
            return str(error)
        self._app.refresh(layout=True)
        return ""

    async def _run(self, arguments: Sequence[str]) -> None:
        terminal = sys.__stderr__
        assert terminal is not None, "an app that can be suspended has a terminal"
        terminal.write(f"ppo-tui {shlex.join(arguments)} is starting; ctrl+c goes back\n")
        terminal.flush()
        self._process = await asyncio.create_subprocess_exec(
            *own_command("ppo_tui", *arguments), stdout=terminal.fileno(), stderr=terminal.fileno()
        )
        try:
            if await self._process.wait() not in (0, INTERRUPTED):
                await _read_line(terminal.fileno())  # what it printed would be gone otherwise
        finally:
            self._process = None

    def end(self) -> None:
        """End the program, if there is one."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()


async def _read_line(terminal: int) -> None:
    """Wait until somebody has pressed Enter."""
    with open(terminal, "w", closefd=False) as stream:
        stream.write("\nenter goes back ")
    loop, pressed = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(0, pressed.set)
    try:
        await pressed.wait()
    finally:
        loop.remove_reader(0)


@contextlib.contextmanager
def _interrupts_elsewhere() -> Iterator[None]:
    """Leave Ctrl+C to the program with the terminal."""
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
