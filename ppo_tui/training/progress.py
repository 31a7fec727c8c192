"""The line of progress of a training, on terminals and in notebooks."""

from __future__ import annotations

import importlib
import sys
import time
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from ..console import PrintableConsole
from ..expectations import MEAN_RETURN
from ..plotting import formats
from ..protocol import Event, RolloutProgress, RunFinished, RunStarted, StateChanged, UpdateFinished

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
    """The line on a terminal's stderr, below the output of the process."""

    def __init__(self, console: Console) -> None:
        self._line = ProgressLine(console, redirect_stdout=sys.stdout.isatty())

    def emit(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            self._line.bar.start()
        self._line.emit(event)

    def close(self) -> None:
        self._line.bar.stop()


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
        self._draw(time.monotonic())


def progress_sink() -> ProgressSink | None:
    """Choose the line for this process; None without anybody to see it."""
    console = PrintableConsole(stderr=True)
    if console.is_jupyter:
        return NotebookProgress(console)
    return TerminalProgress(console) if console.is_terminal else None
