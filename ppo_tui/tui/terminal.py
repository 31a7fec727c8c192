"""From the command line to the screen and back: signals, loggers, and the thread that must end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import stat
import sys
from collections.abc import Iterator

from .app import PpoTuiApp
from .controller import Controller
from .session import Session
from .spectator import default_fps
from .view import Kind

SWITCH_INTERVAL = 0.0005
"""Seconds after which a thread hands over: keeps keys prompt while the learner runs Python (default 0.005)."""


def run_screen(session: Session, *, fps: float | None = None) -> int:
    """Show `session` until the user leaves or the run is told to end. Returns the exit code for the process.

    Call it from the main thread: signal handlers belong there.

    Args:
        fps: frames a second of the live game, 0 for none; by default what suits the terminal's connection.
    """
    app = PpoTuiApp(session, fps=default_fps(os.environ) if fps is None else fps)
    with _switch_interval(SWITCH_INTERVAL), _captured_logging(app.run_controller):
        try:
            asyncio.run(_run(app))
        finally:
            session.close(app.patience)
    return app.return_code or 0


async def _run(app: PpoTuiApp) -> None:
    loop = asyncio.get_running_loop()

    def on_terminate() -> None:
        app.call_later(app.terminate)

    def on_hang_up() -> None:
        _let_go_of_terminal()
        app.call_later(app.hang_up)

    # Textual restores the terminal after exceptions, but these two signals would end the process under it.
    handlers = {signal.SIGTERM: on_terminate, signal.SIGHUP: on_hang_up} if os.name == "posix" else {}
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    try:
        await app.run_async()
    finally:
        for number in handlers:
            loop.remove_signal_handler(number)


def _let_go_of_terminal() -> None:
    """Point the standard streams at nothing: writing to a terminal that is gone fails, and would block the app.

    Files and pipes stay. That a stream is a terminal shows in its kind of file, as `os.isatty` denies it from the
    moment when the other side hangs up.
    """
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        with contextlib.suppress(OSError):  # a stream that was closed before
            if stat.S_ISCHR(os.fstat(descriptor).st_mode):
                os.dup2(nothing, descriptor)
    os.close(nothing)


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
