"""The headless front end: a bar, timestamped lines, or JSON."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from rich.console import Console
from rich.progress import TextColumn

from ..console import PrintableConsole
from ..expectations import MEAN_RETURN, Standing
from ..guest_stream import GuestStream, guest_stream
from ..plotting import formats
from ..protocol import (
    TRANSIENT,
    Alarm,
    CommandRefused,
    Event,
    Level,
    RolloutProgress,
    RunFinished,
    RunStarted,
    RunState,
    StateChanged,
    UpdateFinished,
    encode,
)
from ..streams import PrintableStream, bytes_below, stream_below
from ..text import printable
from ..training.hub import SinkBehind
from ..training.progress import ProgressLine
from .wording import describe, describe_distance, describe_forecast, describe_next

_logger = logging.getLogger(__name__)

READER_SECONDS = 5.0
"""Time in which the reader of stdout must read something, after the end of the run, to be waited for."""

LINE_SECONDS = 5.0
"""Shortest time between two lines of metrics, so that a fast run does not flood a log; the last line always comes."""


_ROOMY = 110
"""Least columns of a terminal for the next milestone behind the bar."""

_AHEAD = 21
"""Its columns: the bar keeps its length while the numbers change."""


class _NextMilestone:
    """The next milestone of a run with a reference, in words."""

    def __init__(self) -> None:
        self._standing = Standing()
        self._fps = 0.0

    def apply(self, event: Event) -> None:
        self._standing.apply(event)
        if isinstance(event, RolloutProgress):
            self._fps = event.fps

    @property
    def text(self) -> str:
        """The next milestone, or nothing: 30 in about 6 min."""
        forecast = self._standing.forecast(self._fps)
        return describe_forecast(forecast) if forecast else ""


class PlainConsole:
    """Timestamped lines, for a stream other than a terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last_line = -LINE_SECONDS
        self._held_back: str | None = None
        self._milestones = _NextMilestone()

    def emit(self, event: Event) -> None:
        self._milestones.apply(event)
        text = describe(event)
        if text is None:
            return
        if isinstance(event, UpdateFinished):
            if event.stop is None and (next_one := self._milestones.text):
                text += f"  {next_one}"
            if time.monotonic() - self._last_line < LINE_SECONDS:
                self._held_back = text
                return
            self._last_line = time.monotonic()
            self._held_back = None
        elif isinstance(event, RunFinished) and self._held_back:
            self._print(self._held_back)
        self._print(text)

    def _print(self, text: str) -> None:
        line = f"{time.strftime('%H:%M:%S')}  {text}"
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        pass


class ProgressConsole:
    """A live progress bar; important events scroll above it."""

    def __init__(self, console: Console) -> None:
        self._roomy = console.width >= _ROOMY
        ahead = [TextColumn("{task.fields[ahead]}")] if self._roomy else []
        self._line = ProgressLine(console, *ahead, ahead="")
        self._milestones = _NextMilestone()

    def emit(self, event: Event) -> None:
        self._milestones.apply(event)
        if isinstance(event, RunStarted):
            self._line.bar.start()
        self._line.emit(event)
        if isinstance(event, UpdateFinished):
            distance = describe_distance(event.stop) if event.stop else ""
            text = distance or self._milestones.text
            self._line.update(ahead=f"{text:<{_AHEAD}}" if text else "")
            if distance and not self._roomy:  # for its sake the bar is shorter
                self._line.update(score=f"{formats.score(event.metrics.get(MEAN_RETURN), 1)}, {distance}")
        elif (text := describe(event)) and not self._is_plain_state(event):
            self._line.bar.console.print(text, markup=False, highlight=False)
        if isinstance(event, RunFinished):
            self.close()

    @staticmethod
    def _is_plain_state(event: Event) -> bool:
        """Tell whether the bar shows all of the event already."""
        return isinstance(event, StateChanged) and not event.reason

    def close(self) -> None:
        self._line.bar.stop()


class JsonConsole:
    """Durable events as lines of JSON, as in ``events.jsonl``.

    In UTF-8 whatever the locale.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def emit(self, event: Event) -> None:
        if not isinstance(event, TRANSIENT):
            self._stream.write(encode(event) + b"\n")
            self._stream.flush()

    def close(self) -> None:
        pass


class QuietConsole:
    """A filter for warnings, errors, and the end of the run."""

    def __init__(self, console: ConsoleSink) -> None:
        self._console = console

    def emit(self, event: Event) -> None:
        if isinstance(event, RunFinished | CommandRefused) or (isinstance(event, Alarm) and event.level != Level.INFO):
            self._console.emit(event)

    def close(self) -> None:
        self._console.close()


class StdoutConsole:
    """A console on stdout; it gives up an absent reader.

    Args:
        stream: the bytes that `console` writes to.
        log: the run's log, which has all lines in any case.
    """

    def __init__(self, console: ConsoleSink, stream: GuestStream, log: Path) -> None:
        self._console, self._stream, self._log = console, stream, log
        self._stalled = False

    def emit(self, event: Event) -> None:
        """Print `event`.

        Raises:
            OSError: stdout cannot be written any more.
            SinkBehind: nobody has read stdout for long, so that lines are left out.
        """
        left_out = self._stream.left_out
        if self._stream.failure is None:
            self._console.emit(event)
        if self._stream.failure is not None:
            self._console.close()  # a progress bar lets go of stderr
            raise OSError(f"nobody can read stdout any more ({self._stream.failure.strerror}); see {self._log}")
        if self._stream.left_out > left_out and not self._stalled:
            self._stalled = True
            raise SinkBehind(f"nobody reads stdout: lines are left out until somebody does; {self._log} has them")
        self._stalled = self._stalled and self._stream.behind

    def close(self) -> None:
        """Close the console, and let its reader read the rest.

        One that reads nothing is not waited for.
        """
        try:
            self._console.close()
        except BaseException:  # the run has its exit code already
            _logger.warning("the output failed at its end", exc_info=True)
        if not self._stream.drain(READER_SECONDS) and self._stream.failure is None:
            _logger.warning("nobody has read the end of stdout; %s has it", self._log)


class ConsoleSink(Protocol):
    """A sink to be closed when the run is over."""

    def emit(self, event: Event) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class LineOptions:
    """The format of a headless run's output.

    Attributes:
        format: one of `LOG_FORMATS`.
        quiet: print only problems and the end of the run.
    """

    format: str = "auto"
    quiet: bool = False


LOG_FORMATS = ("auto", "plain", "json")


@contextlib.contextmanager
def guest_stdout() -> Iterator[GuestStream | None]:
    """Print on stdout without waiting for its reader, or failing for it.

    Yields its bytes, or None where stdout is no file, as in a notebook.
    """
    before = sys.stdout
    text = guest_stream(stream_below(before), patience=0.0)
    if text is None:
        yield None
        return
    sys.stdout = PrintableStream(text)
    stream: Any = text.buffer
    try:
        yield stream
    finally:
        stream.drain(READER_SECONDS)
        sys.stdout = before


def stdout_sink(stream: GuestStream | None, log: Path, lines: LineOptions | None = None) -> ConsoleSink:
    """Choose the console for stdout, in the context of `guest_stdout`."""
    sink = console_sink(lines=lines)
    return sink if stream is None else StdoutConsole(sink, stream, log)


def console_sink(console: Console | None = None, *, lines: LineOptions | None = None) -> ConsoleSink:
    """Choose the console for stdout.

    The bar on a terminal, lines elsewhere, unless `lines` says otherwise.
    """
    console, lines = console or PrintableConsole(), lines or LineOptions()
    if lines.format == "json":
        sink: ConsoleSink = JsonConsole(bytes_below(sys.stdout))
    elif console.is_terminal and lines.format == "auto" and not lines.quiet:
        sink = ProgressConsole(console)
    else:
        sink = PlainConsole(console)
    return QuietConsole(sink) if lines.quiet else sink


def print_next(run: str, state: RunState, update: int) -> None:
    """Print the next commands after the end of a run; see `describe_next`."""
    if text := describe_next(run, state, update):
        print(printable(text))
