"""The screen of a run: head, tiles, charts, workers, settings, events."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Footer, Input

from ...protocol import RunState
from .. import keys
from ..controller import Controller
from ..widgets.banner import Banner
from ..widgets.chart import Chart
from ..widgets.chart_grid import ChartGrid
from ..widgets.events import Events
from ..widgets.filter_line import FilterLine
from ..widgets.header import Header, StatusLine
from ..widgets.metrics_table import MetricsTable
from ..widgets.panel import Panel
from ..widgets.settings import Settings
from ..widgets.tiles import Tiles
from ..widgets.workers import Workers
from .charts import ChartActions, ChartScreen, MetricPicker

CHART_SECONDS = 0.5
"""Shortest time between two repaints of the charts."""

PANELS = ("charts", "workers", "settings", "events", "metrics")
"""What the keys 1, 2, 3 … go to."""


class MainScreen(ChartActions, Screen[None]):
    """Shows what the controller knows, and moves among its panels. What steers the run belongs to the app."""

    BINDINGS: ClassVar[list[BindingType]] = [*keys.bindings(keys.TRAIN)]
    HORIZONTAL_BREAKPOINTS: ClassVar[list[tuple[int, str]]] = [
        (0, "-tiny"),
        (60, "-narrow"),
        (70, "-medium"),
        (110, "-wide"),
    ]
    VERTICAL_BREAKPOINTS: ClassVar[list[tuple[int, str]]] = [(0, "-flat"), (16, "-low"), (34, "-high"), (60, "-tall")]

    def __init__(self, run: Controller, clock: Callable[[], float]) -> None:
        super().__init__()
        self._run = run
        self._clock = clock
        self._charts_at = float("-inf")
        self._panel = PANELS[0]
        self._header = Header(run, id="header")
        self._status = StatusLine(run, id="status")
        self._banner = Banner(run, id="banner")
        self._tiles = Tiles(run, id="tiles")
        self.charts = ChartGrid(run.view, id="charts")
        self._workers = Workers(run, id="workers")
        self._settings = Settings(run, id="settings")
        self._events = Events(run, id="events")
        self._metrics = MetricsTable(run, id="metrics")
        self._filter = FilterLine("events")
        self._banner.display = False

    def compose(self) -> ComposeResult:
        yield self._status
        yield self._header
        yield self._banner
        yield self._tiles
        yield self.charts
        yield self._metrics
        yield Container(self._workers, self._settings, self._events, id="bottom")
        yield self._filter
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        self._show_panel()

    # ── Painting ────────────────────────────────────────────────────────────────────────────────────────────

    def renew(self) -> None:
        """Bring the panels up to date; each repaints only if it reads differently, charts at most twice a second."""
        finished = self._run.view.finished
        if finished and not self._banner.display:
            self._show_end(finished.state)
        for panel in (self._header, self._status, self._banner, self._tiles, *self._panels.values()):
            panel.renew()
        now = self._clock()
        if finished or now - self._charts_at >= CHART_SECONDS:
            self._charts_at = now
            self.charts.renew()

    @property
    def _panels(self) -> dict[str, Panel]:
        """The panels that are text; charts move and repaint by themselves."""
        panels = (self._workers, self._settings, self._events, self._metrics)
        return {panel.id or "": panel for panel in panels}

    def _show_end(self, state: RunState) -> None:
        self._banner.display = True
        self._banner.add_class(f"-{state}")
        self.refresh_bindings()

    def renew_clock(self) -> None:
        """Bring the running times up to date."""
        self._header.renew()
        self._status.renew()

    # ── Keys ────────────────────────────────────────────────────────────────────────────────────────────────

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys belong to a line that is typed in; what changes a setting is greyed out after the end of the run."""
        if isinstance(self.focused, Input):
            return False
        return None if action == "nudge" and self._run.view.finished else True

    def action_panel(self, number: int) -> None:
        self._panel = PANELS[number - 1]
        self._show_panel()

    def action_next_panel(self, direction: int) -> None:
        shown = [panel for panel in PANELS if panel != "metrics" or self.maximised]
        self._panel = shown[(shown.index(self._panel) + direction) % len(shown)]
        self._show_panel()

    def action_move(self, across: int, down: int) -> None:
        if self._panel == "charts":
            self._move_in_charts(across, down)
        else:
            self._panels[self._panel].move(across, down)

    def _move_in_charts(self, across: int, down: int) -> None:
        """Across moves the cursor over the curves, down and up choose a chart."""
        if across:
            self.action_cursor(across)
        else:
            self.charts.choose_next(down)
            self.charts.renew()

    def action_page(self, direction: int) -> None:
        if panel := self._panels.get(self._panel):
            panel.page(direction)

    def action_end(self, direction: int) -> None:
        if panel := self._panels.get(self._panel):
            panel.end(direction)

    def action_nudge(self, direction: int) -> None:
        self._run.nudge(direction)
        self._settings.renew()

    def action_maximise(self) -> None:
        """Give the panel all the room, or put it back; settings and charts have screens of their own."""
        if self._panel == "settings" and not self.maximised:
            self.app.action_edit()
        elif self._panel == "charts":
            self.app.push_screen(ChartScreen(self._run, self.charts))
        else:
            self._maximise(not self.maximised)

    def action_back(self) -> None:
        if self._events.filter:
            self._filter.clear_and_close()
        else:
            self._maximise(False)

    def action_filter(self) -> None:
        self._panel = "events"
        self._show_panel()
        self._filter.show()

    def on_input_changed(self, message: Input.Changed) -> None:
        self._events.filter = message.value
        self._events.renew()

    def action_metrics(self) -> None:
        self.app.push_screen(MetricPicker(self.charts))

    @property
    def chart(self) -> Chart:
        return self.charts.chosen

    def renew_charts(self) -> None:
        self.charts.renew()

    # ── Panels ──────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def maximised(self) -> bool:
        return self.has_class("-maximised")

    def _maximise(self, maximised: bool) -> None:
        self.set_class(maximised, "-maximised")
        if self._panel == "metrics" and not maximised:
            self._panel = "charts"
        self._show_panel()

    def _show_panel(self) -> None:
        """Mark the panel that the keys go to. The table of metrics is only there with all the room."""
        if self._panel == "metrics":
            self.add_class("-maximised")
        for name in PANELS:
            chosen = name == self._panel
            self.set_class(chosen, f"-at-{name}")
            self.query_one(f"#{name}").set_class(chosen, "-focused")
        self.charts.renew()
        self.call_after_refresh(self.renew)

    def on_click(self, event: events.Click) -> None:
        """A click goes to a panel, a second one gives it all the room."""
        widget: Widget | None = event.widget
        while widget is not None and widget.id not in PANELS:
            widget = widget.parent if isinstance(widget.parent, Widget) else None
        if widget is None:
            return
        self._panel = widget.id or PANELS[0]
        self._show_panel()
        if event.chain == 2:
            self.action_maximise()
