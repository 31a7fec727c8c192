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
from ..widgets.chart_grid import ChartGrid
from ..widgets.events import Events
from ..widgets.filter_line import FilterLine
from ..widgets.game import Game
from ..widgets.header import Header, StatusLine
from ..widgets.metrics_table import MetricsTable
from ..widgets.panel import Panel
from ..widgets.settings import Settings
from ..widgets.tiles import Tiles
from ..widgets.workers import Workers
from .charts import ChartActions, ChartScreen, MetricPicker
from .game import GameScreen

CHART_SECONDS = 0.5
"""Shortest time between two repaints of the charts."""

PANELS = ("charts", "workers", "settings", "events", "metrics", "game")
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
        self._game = Game(run, id="game")
        self.set_class(run.game.fps <= 0, "-game-off")
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
        yield Container(self.charts, self._game, id="middle")
        yield self._metrics
        yield Container(self._workers, self._settings, self._events, id="bottom")
        yield self._filter
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        self.charts.ascii = self.app.look.ascii
        self._show_panel()

    # ── Painting ────────────────────────────────────────────────────────────────────────────────────────────

    def renew(self) -> None:
        """Bring the panels up to date; each repaints only if it reads differently, charts at most twice a second."""
        finished = self._run.view.finished
        if finished and not self._banner.display:
            self._show_end(finished.state)
        elif self._banner.display and not finished:
            self._hide_end()
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

    def _hide_end(self) -> None:
        """The run goes on after all: it was resumed, or its replay went back."""
        self._banner.display = False
        self._banner.remove_class(*(f"-{state}" for state in RunState))
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
        if action == "nudge" and (self._run.view.finished or not self._run.session.can_steer):
            return None
        return True

    def action_panel(self, number: int) -> None:
        self._panel = PANELS[number - 1]
        self._show_panel()

    def action_next_panel(self, direction: int) -> None:
        shown = [panel for panel in PANELS if panel == self._panel or self.query_one(f"#{panel}").region.area]
        self._panel = shown[(shown.index(self._panel) + direction) % len(shown)]
        self._show_panel()

    def action_move(self, across: int, down: int) -> None:
        """In the charts, across moves their cursor and down goes to the next one."""
        if panel := self._panels.get(self._panel):
            panel.move(across, down)
        elif self._panel == "game":
            self.action_choose_env(across or down)
        elif across:
            self.action_cursor(across)
        else:
            self.action_next_chart(down)

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
        """Give the panel all the room, or put it back; some have a screen of their own for it."""
        if self._panel == "settings":
            self.app.action_edit()
        elif self._panel == "charts":
            self.app.push_screen(ChartScreen(self.charts))
        elif self._panel == "game":
            self.action_zoom_game()
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

    def action_game(self) -> None:
        if self._run.game.fps <= 0:
            self.notify("the game is off: it was started with --fps 0")
            return
        shown = self._game.display
        self.set_class(shown, "-game-off")
        self.set_class(not shown, "-game-on")
        self._game.renew()

    def action_zoom_game(self) -> None:
        if self._run.game.fps > 0:
            self.app.push_screen(GameScreen(self._run))

    def on_game_zoomed(self) -> None:
        self.action_zoom_game()

    def action_choose_env(self, direction: int) -> None:
        self._run.choose_game(direction)
        self._game.renew()

    # ── Panels ──────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def maximised(self) -> bool:
        return self.has_class("-maximised")

    def _maximise(self, maximised: bool) -> None:
        self.set_class(maximised, "-maximised")
        if self._panel == "metrics" and not maximised:
            self._panel = PANELS[0]
        self._show_panel()

    def _show_panel(self) -> None:
        """Mark the panel that the keys go to. The metrics are only there with all the room, charts and game without."""
        if self._panel in ("metrics", "charts", "game"):
            self.set_class(self._panel == "metrics", "-maximised")
        for name in PANELS:
            chosen = name == self._panel
            self.set_class(chosen, f"-at-{name}")
            self.query_one(f"#{name}").set_class(chosen, "-focused")
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
        if event.chain == 2 and self._panel not in ("charts", "game"):  # which know what a click means
            self.action_maximise()
