"""The main screen: the run's state and course, in panels."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.message import Message
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Input

from ...protocol import RunState
from .. import keys
from ..controller import Controller
from ..widgets.banner import Banner
from ..widgets.chart import Chart
from ..widgets.chart_grid import ChartGrid
from ..widgets.events import Events
from ..widgets.filter_line import FilterLine
from ..widgets.game import Game
from ..widgets.header import Header, StatusLine
from ..widgets.key_line import KeyLine
from ..widgets.metrics_table import MetricsTable
from ..widgets.panel import Panel
from ..widgets.plain import Container
from ..widgets.settings import Settings
from ..widgets.tiles import Tiles
from ..widgets.workers import Workers
from .charts import ChartActions, ChartScreen, MetricPicker
from .game import GameScreen

CHART_SECONDS = 0.5
"""Shortest time between two repaints of the charts."""

PANELS = ("charts", "workers", "settings", "events", "metrics", "game")
"""The panels of the keys 1, 2, 3 …"""


class MainScreen(ChartActions, Screen[None]):
    """The main screen's panels; commands to the run belong to the app."""

    BINDINGS: ClassVar[list[BindingType]] = [*keys.bindings(keys.TRAIN)]
    # Textual annotates both as variables of instances by mistake.
    HORIZONTAL_BREAKPOINTS: ClassVar[list[tuple[int, str]] | None] = [  # pyright: ignore[reportIncompatibleVariableOverride]
        (0, "-tiny"),
        (60, "-narrow"),
        (70, "-medium"),
        (110, "-wide"),
    ]
    VERTICAL_BREAKPOINTS: ClassVar[list[tuple[int, str]] | None] = [  # pyright: ignore[reportIncompatibleVariableOverride]
        (0, "-flat"),
        (16, "-low"),
        (34, "-high"),
        (60, "-tall"),
    ]

    class ChartZoomed(Message):
        """A request for the whole screen for the chosen chart."""

    class SettingsZoomed(Message):
        """A request for the whole screen for the settings."""

    def __init__(self, controller: Controller, clock: Callable[[], float], *, ascii: bool = False) -> None:
        super().__init__()
        self._controller = controller
        self._clock = clock
        self._charts_at = float("-inf")
        self._panel = PANELS[0]
        self._header = Header(controller, id="header")
        self._status = StatusLine(controller, id="status")
        self._banner = Banner(controller, id="banner")
        self._tiles = Tiles(controller, id="tiles")
        self.charts = ChartGrid(controller.view, ascii=ascii, id="charts")
        self.game = Game(controller, id="game")
        self.set_class(bool(controller.game_missing), "-game-off")
        self._workers = Workers(controller, id="workers")
        self._settings = Settings(controller, id="settings")
        self._events = Events(controller, id="events")
        self._metrics = MetricsTable(controller, id="metrics")
        self._filter = FilterLine("events")
        self._banner.display = False

    def compose(self) -> ComposeResult:
        yield self._status
        yield self._header
        yield self._banner
        yield self._tiles
        yield Container(self.charts, self.game, id="middle")
        yield self._metrics
        yield Container(self._workers, self._settings, self._events, id="bottom")
        yield self._filter
        yield KeyLine()

    def on_mount(self) -> None:
        self._show_panel()

    @property
    def chart(self) -> Chart:
        return self.charts.chosen

    def renew_charts(self) -> None:
        self.charts.renew()

    # ── Painting ────────────────────────────────────────────────────────────────────────────────────────────

    def renew(self) -> None:
        """Bring the panels up to date.

        Each repaints only if it reads differently, charts at most twice a second.
        """
        finished = None if self._controller.session.reading_history else self._controller.view.finished
        if finished and not self._banner.display:
            self._show_end(finished.state)
        elif self._banner.display and not finished:
            self._hide_end()
        for panel in (self._header, self._status, self._banner, self._tiles, *self._text_panels.values()):
            panel.renew()
        now = self._clock()
        if finished or now - self._charts_at >= CHART_SECONDS:
            self._charts_at = now
            # One chart over the whole screen is painted in place of the grid below it.
            (self.app.screen if isinstance(self.app.screen, ChartScreen) else self).renew_charts()

    @property
    def _text_panels(self) -> dict[str, Panel]:
        """The panels of text.

        Charts and the game move and repaint by themselves.
        """
        panels = (self._workers, self._settings, self._events, self._metrics)
        return {panel.id or "": panel for panel in panels}

    def _show_end(self, state: RunState) -> None:
        self._banner.display = True
        self._banner.add_class(f"-{state}")
        self.refresh_bindings()

    def _hide_end(self) -> None:
        """Hide the banner: the run goes on after all."""
        self._banner.display = False
        self._banner.remove_class(*(f"-{state}" for state in RunState))
        self.refresh_bindings()

    def renew_clock(self) -> None:
        """Bring the running times up to date."""
        self._header.renew()
        self._status.renew()

    # ── Keys ────────────────────────────────────────────────────────────────────────────────────────────────

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Disable keys while a line is typed, and changes without effect."""
        if isinstance(self.focused, Input):
            return False
        obeyed = self._controller.session.can_steer and not self._controller.view.finished
        return None if action == "nudge" and not obeyed else True

    def action_move(self, across: int, down: int) -> None:
        """The arrows: among the charts up and down, along their curves sideways."""
        if self._panel == "charts":
            if down:
                self.charts.choose_next(down)
                self.charts.renew()
            else:
                self.action_cursor(across)
        elif self._panel == "game":
            self.action_choose_env(down or across)
        else:
            self._text_panels[self._panel].move(across, down)

    def action_page(self, direction: int) -> None:
        if panel := self._text_panels.get(self._panel):
            panel.page(direction)

    def action_end(self, direction: int) -> None:
        if panel := self._text_panels.get(self._panel):
            panel.end(direction)

    def action_nudge(self, direction: int) -> None:
        self._controller.nudge(direction)
        self._settings.renew()

    def action_metrics(self) -> None:

        def toggle(metric: str | None) -> None:
            if metric is not None:
                self.charts.toggle_metric(metric)

        self.app.push_screen(MetricPicker(self.charts), toggle)

    def action_filter(self) -> None:
        self._panel = "events"
        self._show_panel()
        self._filter.show()

    def on_input_changed(self, message: Input.Changed) -> None:
        self._events.filter = message.value
        self._events.renew()

    # ── The game ────────────────────────────────────────────────────────────────────────────────────────────

    def action_game(self) -> None:
        if self._game_is_off():
            return
        self._show_game(not self.game.display)
        if not self.game.display and self._panel == "game":
            self._panel = "charts"
            self._show_panel()

    def _show_game(self, shown: bool) -> None:
        self.set_class(not shown, "-game-off")
        self.set_class(shown, "-game-on")
        self.game.renew()

    def action_zoom_game(self) -> None:
        if not self._game_is_off():
            self.app.push_screen(GameScreen(self._controller))

    def _game_is_off(self) -> bool:
        if missing := self._controller.game_missing:
            self.notify(missing)
        return bool(missing)

    def on_game_zoomed(self) -> None:
        self.action_zoom_game()

    def action_choose_env(self, direction: int) -> None:
        self._controller.choose_env(direction)
        self.game.renew()

    # ── Panels ──────────────────────────────────────────────────────────────────────────────────────────────

    def action_panel(self, number: int) -> None:
        name = PANELS[number - 1]
        if name == "game":
            if self._game_is_off():
                return
            self._show_game(True)
        self._panel = name
        self._show_panel()

    def action_next_panel(self, direction: int) -> None:
        shown = [panel for panel in PANELS if panel in ("charts", self._panel) or self._to_be_seen(panel)]
        self._panel = shown[(shown.index(self._panel) + direction) % len(shown)]
        self._show_panel()

    def _to_be_seen(self, panel: str) -> bool:
        if panel == "game":
            return self.game.display
        return panel != "metrics" or self.maximised

    @property
    def maximised(self) -> bool:
        return self.has_class("-maximised")

    def action_maximise(self) -> None:
        """Give the panel all the room, or put it back.

        Charts, settings and the game have screens of their own.
        """
        if self._panel == "charts":
            self.post_message(self.ChartZoomed())
        elif self._panel == "game":
            self.action_zoom_game()
        elif self._panel == "settings" and not self.maximised:
            self.post_message(self.SettingsZoomed())
        else:
            self._maximise(not self.maximised)

    def action_back(self) -> None:
        if self._events.filter:
            self._filter.clear_and_close()
        else:
            self._maximise(False)

    def _maximise(self, maximised: bool) -> None:
        self.set_class(maximised, "-maximised")
        if self._panel == "metrics" and not maximised:
            self._panel = "charts"
        self._show_panel()

    def _show_panel(self) -> None:
        """Mark the panel with the keyboard.

        The table of metrics is only there with all the room.
        """
        if self._panel == "metrics":
            self.add_class("-maximised")
        elif self._panel in ("charts", "game"):
            self.remove_class("-maximised")
        # A class of the screen itself has all its widgets styled again, which delays the key: change none needlessly.
        self.set_class(self._panel == "metrics", "-at-metrics")
        for panel in (self.game, *self._text_panels.values()):
            panel.set_class(panel.id == self._panel, "-focused")
        self.charts.has_keys = self._panel == "charts"
        self.charts.renew()  # a key is answered at once, however lately they were painted
        self.call_after_refresh(self.renew)

    def on_click(self, event: events.Click) -> None:
        """Select a panel by a click, maximise it by a second one."""
        widget: Widget | None = event.widget
        while widget is not None and widget.id not in PANELS:
            widget = widget.parent if isinstance(widget.parent, Widget) else None
        if widget is None:
            return
        self._panel = widget.id or PANELS[0]
        self._show_panel()
        if event.chain == 2:
            self.action_maximise()
