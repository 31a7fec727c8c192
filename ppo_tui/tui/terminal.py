"""From the command line to the screen and back: signals, loggers, and the thread that must end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from ..runs.hangup import ignore_hangups, let_go_of_terminal
from .app import Departure, PpoTuiApp
from .controller import Controller
from .driver import LastingDriver
from .session import Session
from .spectator import default_fps
from .view import Kind

SWITCH_INTERVAL = 0.0005
"""Seconds after which a thread hands over: keeps keys prompt while the learner runs Python (default 0.005)."""


@dataclass(frozen=True)
class Outcome:
    """How the screen ended.

    Attributes:
        exit_code: for the process.
    """

    exit_code: int
    departure: Departure


def run_screen(session: Session, *, fps: float | None = None) -> Outcome:
    """Show `session` until the user leaves, the run is told to end, or the terminal goes away.

    A run of this process is over when this returns, unless the terminal went away: then it goes on.
    Call it from the main thread: signal handlers belong there.

    Args:
        fps: frames a second of the live game, 0 for none; by default what suits the terminal's connection.
    """
    app = PpoTuiApp(session, fps=default_fps(os.environ) if fps is None else fps)
    app.driver_class = LastingDriver
    with _switch_interval(SWITCH_INTERVAL), _captured_logging(app.run_controller):
        try:
            asyncio.run(_run(app))
        finally:
            if not (session.owns_run and app.departure is Departure.HUNG_UP):
                session.close(app.patience)
    return Outcome(app.return_code or 0, app.departure)


async def _run(app: PpoTuiApp) -> None:
    loop = asyncio.get_running_loop()

    def on_hang_up(*_: object) -> None:
        # The kernel continues a process group that it hangs up on, and Textual would then start its driver once more.
        signal.signal(signal.SIGCONT, signal.SIG_DFL)
        let_go_of_terminal()
        loop.call_soon_threadsafe(app.call_later, app.hang_up)

    # Textual restores the terminal after exceptions, but these two signals would end the process under it.
    loop.add_signal_handler(signal.SIGTERM, lambda: app.call_later(app.terminate))
    # A terminal that closes may hang up several times; the loop would leave a moment without any handler.
    signal.signal(signal.SIGHUP, on_hang_up)
    try:
        await app.run_async()
    finally:
        ignore_hangups()
        loop.remove_signal_handler(signal.SIGTERM)


@contextlib.contextmanager
def _switch_interval(seconds: float) -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(seconds)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


class _ScreenLog(logging.Handler):
    """Brings records to the log of the screen, from whatever thread they come."""

    def __init__(self, run: Controller) -> None:
        super().__init__(logging.WARNING)
        self._run = run

    def emit(self, record: logging.LogRecord) -> None:
        kind = Kind.ERROR if record.levelno >= logging.ERROR else Kind.WARNING
        self._run.diagnostics.append((kind, f"{record.name}: {record.getMessage()}"))


@contextlib.contextmanager
def _captured_logging(run: Controller) -> Iterator[None]:
    """Warnings and log records appear in the log of the screen, and nowhere that would write over it."""
    root = logging.getLogger()
    talkative = [
        handler
        for handler in root.handlers
        if isinstance(handler, logging.StreamHandler) and handler.stream in (sys.stdout, sys.stderr)
    ]
    ours = _ScreenLog(run)
    for handler in talkative:
        root.removeHandler(handler)
    root.addHandler(ours)
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.removeHandler(ours)
        for handler in talkative:
            root.addHandler(handler)
