"""All runs of this directory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from textual import work
from textual.binding import BindingType
from textual.content import Content
from textual.timer import Timer
from textual.widget import Widget

from ...errors import UsageError
from ...plotting import formats
from ...plotting.series import Series
from ...runs import RunDirectory
from ...runs.history import recorded_metrics
from ...runs.registry import RunSummary, list_runs
from ...text import one_line
from .. import keys
from ..chart_view import ChartView
from ..controller import Controller
from ..widgets.overlay import Overlay, RunCurves, run_letter
from .charts import ChartActions
from .run_screen import ListScreen

REFRESH_SECONDS = 5.0
"""How often the runs are looked at again while the screen shows them."""


class RunsScreen(ChartActions, ListScreen[RunSummary]):
    """All runs, the newest first, with a chart of the marked ones.

    The returns of marked runs lie over one another.

    Files are read in a thread, so that a slow disk does not stop the screen.
    """

    BINDINGS: ClassVar[list[BindingType]] = [*keys.bindings(keys.RUNS)]

    NAME = "Runs"
    EMPTY = "no runs in ./runs"

    def __init__(self, controller: Controller, *, ascii: bool = False) -> None:
        super().__init__(controller)
        self._runs: Sequence[RunSummary] = ()
        self._marked: list[str] = []
        self._overlay = Overlay(ChartView(ascii=ascii), id="overlay")
        self._overlay.display = False
        self._reading: Timer | None = None

    def on_mount(self) -> None:
        self._reading = self.set_interval(REFRESH_SECONDS, self._read)

    def on_screen_resume(self) -> None:
        self._read()
        if self._reading:
            self._reading.resume()

    def on_screen_suspend(self) -> None:
        if self._reading:
            self._reading.pause()

    @work(thread=True, exclusive=True)
    def _read(self) -> None:
        runs = list_runs()
        curves = {path: _metrics_of(path) for path in tuple(self._marked)}
        self.app.call_from_thread(self._show, runs, curves)

    def _show(self, runs: Sequence[RunSummary], curves: Mapping[str, dict[str, Series]]) -> None:
        self._runs = runs
        self.renew()
        self._overlay.display = bool(self._marked)
        names = {run.path: one_line(run.name) for run in runs}
        marked = [RunCurves(names.get(path, path), curves.get(path, {})) for path in self._marked]
        self.call_after_refresh(self._overlay.show, marked)

    @property
    def chart(self) -> Overlay:
        return self._overlay

    def renew_charts(self) -> None:
        self._overlay.renew()

    def action_move(self, across: int, down: int) -> None:
        """Choose a run by down and up, move the cursor by across."""
        if across:
            self.action_cursor(across)
        else:
            super().action_move(across, down)

    def between(self) -> Sequence[Widget]:
        return (self._overlay,)

    def items(self) -> Sequence[RunSummary]:
        return self._runs

    def heading(self) -> str:
        return f"  {'name':<28} {'state':<9} {'environment':<20} {'steps':>7} {'return':>7} {'best':>7} {'age':>9}"

    def row(self, item: RunSummary) -> Content:
        return Content.assemble(
            (f"{self._sign(item)} ", "bold $primary"),
            f"{one_line(item.name):<28.28} {item.state:<9} {one_line(item.env):<20.20} ",
            f"{formats.count(item.step):>7} {formats.number(item.last_return):>7} ",
            f"{formats.number(item.best_return):>7} ",
            (f"{formats.duration(item.age_seconds):>9}", "$quiet"),
        )

    def _sign(self, item: RunSummary) -> str:
        """The run's letter in the chart, or a point for this run."""
        if item.path in self._marked:
            return run_letter(self._marked.index(item.path))
        here = self.controller.view.started is not None and self.controller.view.started.run_dir == item.path
        return "•" if here else " "

    def describe(self, item: RunSummary) -> Content:
        done = f"{item.step:,}" + (f" of {item.total_steps:,}" if item.total_steps else "")
        facts = [
            f"{done} steps",
            f"seed {item.seed}" if item.seed is not None else "",
            f"pid {item.pid}" if item.pid else "",
        ]
        lines = [
            Content.assemble((one_line(item.path), "bold"), f"  {' · '.join(filter(None, facts))}"),
            Content.assemble(("enter adds or removes its curve below; • is this screen's run", "$quiet")),
        ]
        return Content("\n").join(lines)

    def choose(self, item: RunSummary) -> None:
        if item.path in self._marked:
            self._marked.remove(item.path)
        else:
            self._marked.append(item.path)
        self.renew()
        self._read()


def _metrics_of(path: str) -> dict[str, Series]:
    """The curves of the run in this directory; none without a file."""
    try:
        return recorded_metrics(RunDirectory(Path(path)))
    except (OSError, UsageError):
        return {}
