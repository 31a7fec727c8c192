"""Run the screen in the terminal: signals, loggers, and the session's end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import io
import logging
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import FrameType
from typing import Any

from ..errors import ScreenFailedError
from ..runs.hangup import ignore_hangups, leave_terminal, sighup_when_terminal_closes
from .app import PpoTuiApp
from .clip_player import default_fps
from .controller import Messages
from .driver import LastingDriver
from .garbage import collect_garbage
from .log_entries import Kind
from .pixels import Answer, ask, reason_against
from .private_textual import Failure, strips_without_caches
from .screen_options import ScreenOptions
from .session import Session, WatchSession
from .session.idle import StartSession
from .session_app import STOP_SECONDS, Departure

_log = logging.getLogger(__name__)

_ENDS = (signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True)
class Outcome:
    """The end of the screen.

    Attributes:
        exit_code: that of the process, unless the run goes on in it.
        handing_over: the run is stopping, to be continued by another process.
        failure: what ended a lost screen.
    """

    exit_code: int
    departure: Departure
    handing_over: bool = False
    failure: Failure | None = None


def frame_rate(options: ScreenOptions) -> float:
    """Frames per second of the live game; 0 for none.

    As chosen, or as suits the terminal's connection.
    """
    return default_fps(os.environ) if options.fps is None else options.fps


def ask_for_pixels(options: ScreenOptions, messages: Messages) -> Answer:
    """Ask the terminal for its pictures, unless pixels are unwanted.

    A message says why those that were asked for are not to be had.
    """
    reason = reason_against(options, os.environ)
    if not reason:
        answer = ask(os.environ)
        reason = "" if answer.graphics else "the terminal draws none"
    else:
        answer = Answer()
        if not reason_against(replace(options, pixels="charts"), os.environ):
            reason += "; --pixels charts asks it all the same"
    wanted = options.pixels == "charts" or (options.pixels == "on" and options.fps != 0)
    if reason and wanted:
        messages.append((Kind.WARNING, f"--pixels {options.pixels}: {reason}; all is drawn in characters"))
    return replace(answer, reason=reason, charts=options.pixels == "charts" and not reason)


def run_screen(session: Session, options: ScreenOptions | None = None) -> Outcome:
    """Show `session` until the user leaves or the run ends.

    Or until the terminal disappears.

    A run of this process is over when this returns, unless the terminal went away or the screen failed.
    Call it from the main thread: signal handlers belong there.

    Raises:
        ScreenFailedError: the screen of a run elsewhere failed.
    """
    unobeyed: deque[int] = deque()
    try:
        outcome, patience = _show(session, options or ScreenOptions(), unobeyed)
    except BaseException as error:  # whatever it is, it is no reason to stop a run
        outcome, patience = _lost(Failure.of(error)), STOP_SECONDS
    if not (session.owns_run and outcome.departure in (Departure.HUNG_UP, Departure.LOST)):
        session.close(patience)
    elif unobeyed:  # it is meant for the run, which goes on; once, as a second one would end it at once
        os.kill(os.getpid(), unobeyed[0])
    if outcome.failure and not session.owns_run:
        raise ScreenFailedError(
            f"the screen failed: {outcome.failure.summary}",
            hint="the run that it showed continues; --debug shows the traceback",
        ) from outcome.failure.error
    if outcome.failure:  # free all of the screen: its frames hang on the exception, and the run may last for days
        outcome = replace(outcome, failure=replace(outcome.failure, error=None))
        gc.collect()
    return outcome


def _lost(failure: Failure) -> Outcome:
    return Outcome(ScreenFailedError.exit_code, Departure.LOST, failure=failure)


def _show(session: Session, options: ScreenOptions, unobeyed: deque[int]) -> tuple[Outcome, float]:
    """Show `session`; return the outcome, and seconds to wait for the run.

    Args:
        unobeyed: signals to end that came too late for the screen are added.
    """
    # What is left of a lost screen complains when it is collected as garbage, which may be at any time.
    sys.unraisablehook = _log_finalizer
    messages: Messages = deque(maxlen=100)
    answer = ask_for_pixels(options, messages)
    with _captured_logging(messages), _kept_signals(), _own_terminal(messages):
        choices: dict[str, Any] = {
            "look": options.look,
            "keymap": options.keymap,
            "messages": messages,
            "answer": answer,
        }
        app = _app_class(session)(session, fps=frame_rate(options), **choices)
        if "TEXTUAL_DRIVER" not in os.environ:  # which names the one that talks to a browser
            app.driver_class = LastingDriver
        raised: Failure | None = None
        try:
            asyncio.run(_run(app, unobeyed))
        except BaseException as error:
            raised = Failure.of(error)
        finally:
            if app.terminal:
                app.terminal.give_back()
    if app.departure is not Departure.LOST:  # for a reason, whatever was raised on the way out
        return Outcome(app.return_code or 0, app.departure, app.handing_over), app.patience
    failure = raised or app.failure or Failure.unknown()
    return replace(_lost(failure), handing_over=app.handing_over), app.patience


def _app_class(session: Session) -> type[PpoTuiApp]:
    match session:
        case StartSession():
            from .start_app import StartApp

            return StartApp
        case WatchSession():
            from .theatre_app import TheatreApp

            return TheatreApp
    return PpoTuiApp


@contextlib.contextmanager
def _kept_signals() -> Iterator[None]:
    """Restore the handlers of all signals, those of Textual's included."""
    numbers = (*_ENDS, signal.SIGHUP, signal.SIGTSTP, signal.SIGCONT, signal.SIGWINCH)
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


async def _run(app: PpoTuiApp, unobeyed: deque[int]) -> None:
    loop = asyncio.get_running_loop()

    def on_end(number: int, _: FrameType | None) -> None:
        unobeyed.append(number)
        if not loop.is_closed():
            loop.call_soon_threadsafe(app.call_later, obey)  # an app that is leaving may never call it

    def obey() -> None:
        number = unobeyed.popleft()
        app.terminate(signal.Signals(number).name, 128 + number)

    def on_hang_up(*_: object) -> None:
        # The kernel also sends SIGCONT after a hang-up, upon which Textual would start its driver once more. Python
        # would complain of the default here if it has come already.
        signal.signal(signal.SIGCONT, lambda *_: None)
        leave_terminal()
        loop.call_soon_threadsafe(app.call_later, app.hang_up)

    # Textual restores the terminal after exceptions, but these signals would end the process under it. A handler of the
    # loop would leave a gap at its end, in which a signal has its default effect.
    loop.set_exception_handler(lambda _, context: _log_stray(context))
    for number in _ENDS:
        signal.signal(number, on_end)
    signal.signal(signal.SIGHUP, on_hang_up)  # a terminal that closes may hang up several times
    collector = asyncio.create_task(collect_garbage(app))
    try:
        with sighup_when_terminal_closes(), strips_without_caches():
            await app.run_async()
    finally:
        collector.cancel()
        ignore_hangups()


def _log_stray(context: Mapping[str, Any]) -> None:
    """Log an unawaited exception; drop it without a log."""
    if _log.hasHandlers():
        _log.warning(context.get("message") or "an error of the screen", exc_info=context.get("exception"))


def _log_finalizer(failed: sys.UnraisableHookArgs) -> None:
    """Log an exception nobody can catch, in one line.

    Python reports its own harmless races here, too.
    """
    if _log.hasHandlers():
        _log.warning("%s: %r", failed.err_msg or "an error of the screen", failed.exc_value)


@contextlib.contextmanager
def _own_terminal(messages: Messages) -> Iterator[None]:
    """Reserve the terminal for the screen.

    Lines that C code writes to descriptors 1 and 2 become events.

    Textual draws on ``sys.__stderr__`` and asks ``sys.__stdout__`` for the size, which for that time are a stream of
    their own to the same terminal.
    """
    before = sys.__stdout__, sys.__stderr__, sys.stderr
    if None in before or os.name != "posix" or not os.isatty(2):
        yield
        return
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(1), os.dup(2), os.dup(2)]
    reader, writer = os.pipe()
    for descriptor in (1, 2):
        os.dup2(writer, descriptor)
    os.close(writer)
    screen = _LenientStream(os.fdopen(kept[2], "wb"), encoding="utf-8", errors="replace", line_buffering=True)
    sys.__stdout__ = sys.__stderr__ = sys.stderr = screen  # type: ignore[misc]
    listener = threading.Thread(target=_forward_lines, args=(reader, messages), name="stray output", daemon=True)
    listener.start()
    try:
        yield
    finally:
        sys.__stdout__, sys.__stderr__, sys.stderr = before  # type: ignore[misc]
        screen.close()
        for descriptor, original in zip((1, 2), kept[:2], strict=True):
            os.dup2(original, descriptor)
            os.close(original)


_LOST = (OSError, ValueError)
"""Errors of writing to a lost terminal, and to a closed file."""


class _LenientStream(io.TextIOWrapper):
    """A text stream without errors: output to a lost terminal disappears.

    Textual writes in a thread of its own, behind a short queue. When the terminal goes away, that thread would die of
    the failing write, the queue fill up, and the next painting, or the way out, wait for ever.
    """

    def write(self, text: str, /) -> int:
        with contextlib.suppress(*_LOST):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(*_LOST):
            super().flush()

    def close(self) -> None:
        with contextlib.suppress(*_LOST):
            super().close()


def _forward_lines(reader: int, messages: Messages) -> None:
    """Turn lines of a pipe into messages, until its other end closes."""
    with open(reader, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if line.strip():
                messages.append((Kind.INFO, line))


class _ScreenLog(logging.Handler):
    """A handler of log records, from any thread, for the screen's log."""

    def __init__(self, messages: Messages) -> None:
        super().__init__(logging.WARNING)
        self._messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        kind = Kind.ERROR if record.levelno >= logging.ERROR else Kind.WARNING
        self._messages.append((kind, f"{record.name}: {record.getMessage()}"))


@contextlib.contextmanager
def _captured_logging(messages: Messages) -> Iterator[None]:
    """Show warnings and log records in the screen's log alone."""
    root = logging.getLogger()
    talkative = [
        handler
        for handler in root.handlers
        if isinstance(handler, logging.StreamHandler) and handler.stream in (sys.stdout, sys.stderr)
    ]
    ours = _ScreenLog(messages)
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
