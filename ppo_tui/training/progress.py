"""The line of progress of a training, on terminals and in notebooks."""

from __future__ import annotations

import importlib
import logging
import sys
import time
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from ..console import PrintableConsole
from ..expectations import MEAN_RETURN
from ..guest_stream import GuestStream, guest_stream
from ..plotting import formats
from ..protocol import Event, RolloutProgress, RunFinished, RunStarted, StateChanged, UpdateFinished
from ..streams import stream_below

_logger = logging.getLogger(__name__)

READER_SECONDS = 1.0
"""Time for a terminal to show something more of the line after the end, to be waited for."""

NOTEBOOK_SECONDS = 0.25
"""Shortest time between two pictures of the line in a notebook."""


class _Speed(ProgressColumn):
    """Steps per second as measured by the engine, without pauses."""

    def render(self, task: Task) -> Text:
        fps = task.fields["fps"]
        return Text(f"{fps:,.0f} steps/s" if fps else f"{formats.NOTHING} steps/s", style="progress.data.speed")


class ProgressLine:
    """State, steps, mean return, speed and time left, from events.

    Args:
        console: draws it, once the bar is started.
        columns: more of them, at the end.
        redirect_stdout: let what the process prints scroll above the line.
        fields: first values for `columns`.

    Attributes:
        bar: Rich's.
    """

    def __init__(self, console: Console, *columns: ProgressColumn, redirect_stdout: bool = True, **fields: Any) -> None:
        self.bar = Progress(
            TextColumn("[bold]{task.fields[state]:<8}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("return {task.fields[score]}"),
            _Speed(),
            TimeRemainingColumn(elapsed_when_finished=True),
            *columns,
            console=console,
            refresh_per_second=4,
            speed_estimate_period=60,
            expand=True,
            redirect_stdout=redirect_stdout,
        )
        self._task = self.bar.add_task("", total=None, state="starting", score=formats.NOTHING, fps=0.0, **fields)

    def emit(self, event: Event) -> None:
        match event:
            case RunStarted():
                self.update(total=event.total_steps)
            case RolloutProgress():
                self.update(completed=event.step, fps=event.fps)
            case UpdateFinished(metrics=metrics):
                self.update(completed=event.step, score=formats.score(metrics.get(MEAN_RETURN), 1))
            case StateChanged(state=state) | RunFinished(state=state):
                self.update(state=str(state))

    def update(self, **fields: Any) -> None:
        """Change the content of the line."""
        self.bar.update(self._task, **fields)


class ProgressSink(Protocol):
    """A sink to be closed when the run is over."""

    def emit(self, event: Event, /) -> None: ...

    def close(self) -> None: ...


class TerminalProgress:
    """The line on a terminal's stderr, below the output of the process.

    Args:
        console: draws it.
        stream: the bytes that `console` writes to, where a thread writes them.
    """

    libraries = ("rich",)

    def __init__(self, console: Console, stream: GuestStream | None = None) -> None:
        self._line = ProgressLine(console, redirect_stdout=_is_terminal(sys.stdout))
        self._stream = stream

    def emit(self, event: Event) -> None:
        """Show `event`.

        Raises:
            OSError: the terminal is gone.
        """
        if self._stream is not None and self._stream.failure is not None:
            self.close()
            raise OSError(f"nobody can read stderr any more ({self._stream.failure.strerror})")
        if isinstance(event, RunStarted):
            self._line.bar.start()
        self._line.emit(event)

    def close(self) -> None:
        """Draw the line for the last time.

        A terminal that is gone, or stopped by Ctrl+S, changes nothing about the run's result.
        """
        try:
            self._line.bar.stop()
        except Exception as error:
            _logger.warning("the line of progress failed at its end: %s", error)
        if self._stream is not None:
            self._stream.drain(READER_SECONDS)
            self._stream.end()


class NotebookProgress:
    """The line in a notebook's cell, without widgets.

    Rich's own live display needs ipywidgets in the kernel and in the browser; an output with an id needs neither.
    """

    def __init__(self, console: Console) -> None:
        self._line = ProgressLine(console)
        self._cell: Any = None
        self._drawn = 0.0

    def emit(self, event: Event) -> None:
        self._line.emit(event)
        now = time.monotonic()
        if isinstance(event, RunStarted):
            self._cell = importlib.import_module("IPython.display").display(self._line.bar, display_id=True)
        elif now - self._drawn >= NOTEBOOK_SECONDS:
            self._draw(now)

    def _draw(self, now: float) -> None:
        if self._cell is not None:
            self._cell.update(self._line.bar)
        self._drawn = now

    def close(self) -> None:
        try:
            self._draw(time.monotonic())
        except Exception as error:  # the run has its result already
            _logger.warning("the line of progress failed at its end: %s", error)


def progress_sink() -> ProgressSink | None:
    """Choose the line for this process; None without anybody to see it."""
    try:
        console = PrintableConsole(stderr=True)
        if console.is_jupyter:
            return NotebookProgress(console)
        if not console.is_terminal:
            return None
        if (text := guest_stream(stream_below(sys.stderr), patience=0.0)) is None:
            return TerminalProgress(console)
        console.file = text
        stream: Any = text.buffer
        return TerminalProgress(console, stream)
    except Exception as error:  # as for COLUMNS=², or an odd object in place of stderr
        _logger.warning("progress is not shown: %s", error)
        return None


def _is_terminal(stream: Any) -> bool:
    """Whether a standard stream, of any kind or none, is a terminal."""
    try:
        return bool(stream.isatty())
    except (AttributeError, OSError, ValueError):  # closed, or an object of the caller's
        return False
