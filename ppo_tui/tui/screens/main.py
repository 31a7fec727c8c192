"""The main screen: the run's state and course, in panels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar, cast

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.geometry import Offset
from textual.message import Message
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Input

from ...protocol import RunState
from .. import keys
from ..controller import Controller
from ..topics import GAME_TOPICS, HEADER_TOPICS, Explains, Topic
from ..widgets.alarm_line import AlarmLine
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
from ..widgets.tiles import Tile, Tiles
from ..widgets.workers import Workers
from .charts import ChartActions, ChartScreen, MetricPicker
from .game import GameScreen

if TYPE_CHECKING:
    from ..terminal_app import TerminalApp

_DOTS = 100
"""Of a curve's width, about: in a hundredth of the time that it shows, it grows by one."""

CHART_SECONDS = 1.0, 5.0
"""Shortest time between two repaints of the charts, at the beginning of a run and long after it."""

PANELS = ("charts", "workers", "settings", "events", "metrics", "game")
"""The panels of the keys 1, 2, 3 …"""

TALL, VAST = 60, 170
"""Rows from which on there is room for the table of metrics; columns from which on for a large game.

Breakpoints cannot say so: of one direction only one holds.
"""


class MainScreen(Explains, ChartActions, Screen[None]):
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
    ]

    class ChartZoomed(Message):
        """A request for the whole screen for the chosen chart."""

    class SettingsZoomed(Message):
        """A request for the whole screen for the settings."""

    class Watched(Message):
        """A request to watch the policy of the ended run."""

    class Left(Message):
        """There was nothing on this screen to go back from."""

    class Explained(Message):
        """A request for the card of one of these topics."""

        def __init__(self, topics: Sequence[Topic], index: int) -> None:
            super().__init__()
            self.topics, self.index = topics, index

    def __init__(self, controller: Controller, clock: Callable[[], float], *, ascii: bool = False) -> None:
        super().__init__()
        self._controller = controller
        self._clock = clock
        self._charts_at, self._charts_due, self._charts_marks = float("-inf"), False, 0
        self._panel = PANELS[0]
        self._pointed: tuple[str, Topic] | None = None  # the panel and the thing that were clicked last
        self._header = Header(controller, id="header")
        self._status = StatusLine(controller, id="status")
        self._alarm = AlarmLine(controller, id="alarm")
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
        self._filtered: Events | MetricsTable = self._events
        self._banner.display = False

    def compose(self) -> ComposeResult:
        yield self._status
        yield self._header
        yield self._alarm
        yield self._banner
        yield self._tiles
        yield Container(self.charts, self.game, id="middle")
        yield Container(self._workers, self._metrics, self._settings, self._events, id="bottom")
        yield self._filter
        yield KeyLine()

    def on_mount(self) -> None:
        self._show_panel()

    def on_resize(self, event: events.Resize) -> None:
        self.set_class(event.size.height >= TALL, "-tall")
        self.set_class(event.size.width >= VAST, "-vast")

    @property
    def chart(self) -> Chart:
        return self.charts.chosen

    def renew_charts(self) -> None:
        self.charts.renew()

    # ── Painting ────────────────────────────────────────────────────────────────────────────────────────────

    def renew(self) -> None:
        """Bring the panels up to date.

        Each repaints only if it reads differently, charts no oftener than they grow by a dot.
        """
        finished = None if self._controller.session.reading_history else self._controller.view.finished
        if finished and not self._banner.display:
            self._show_end(finished.state)
        elif self._banner.display and not finished:
            self._hide_end()
        if not self._is_hidden:
            for panel in (
                self._header,
                self._status,
                self._alarm,
                self._banner,
                self._tiles,
                *self._text_panels.values(),
            ):
                panel.renew()
        self._charts_due = True
        self._renew_charts_in_time(at_once=finished is not None)

    def _renew_charts_in_time(self, *, at_once: bool = False) -> None:
        """Paint news in the charts, the last ones before a silence too."""
        now = self._clock()
        if self._charts_due and (at_once or now - self._charts_at >= self._charts_pause):
            self._charts_due, self._charts_at, self._charts_marks = False, now, len(self._controller.view.marks)
            if isinstance(self.app.screen, ChartScreen):  # over the whole screen
                self.app.screen.renew_charts()
            elif not self._is_hidden:
                self.renew_charts()

    @property
    def _charts_pause(self) -> float:
        """Seconds between two repaints.

        They are few where somebody looks closely, and after an edit or a rewind.
        """
        least, most = CHART_SECONDS
        is_close = isinstance(self.app.screen, ChartScreen) or self.charts.chart_view.span is not None
        if is_close or self._charts_marks != len(self._controller.view.marks):
            return least
        return min(most, max(least, self._controller.elapsed / _DOTS))

    @property
    def _is_hidden(self) -> bool:
        """Whether a page without any transparency lies above it."""
        stack = self.app.screen_stack
        above = stack[stack.index(self) + 1 :] if self in stack else []
        return any(screen.styles.background.a == 1 for screen in above)

    def on_screen_resume(self) -> None:
        """Catch up with the run after having been hidden."""
        self._charts_at = float("-inf")
        self.renew()

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
        if not self._is_hidden:
            self._header.renew()
            self._status.renew()
        self._renew_charts_in_time()

    # ── Keys ────────────────────────────────────────────────────────────────────────────────────────────────

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Disable keys while a line is typed, and those without effect."""
        if isinstance(self.focused, Input):
            return False
        if action == "magnify":
            return self._panel == "charts"
        if action == "watch":
            return self._controller.can_be_watched
        if action == "nudge":
            return (True if self._controller.can_steer else None) if self._panel == "settings" else False
        return True

    def action_move(self, across: int, down: int) -> None:
        """The arrows: among the charts up and down, along their curves sideways."""
        self._pointed = None
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

    def action_watch(self) -> None:
        self.post_message(self.Watched())

    def action_metrics(self) -> None:

        def toggle(metric: str | None) -> None:
            if metric is not None:
                self.charts.toggle_metric(metric)

        self.app.push_screen(MetricPicker(self.charts), toggle)

    def show_metric(self, key: str) -> None:
        """Choose the chart of a metric; add one if there is none."""
        self._panel = "charts"
        self.charts.show_metric(key)
        self._show_panel()

    def action_filter(self) -> None:
        """Filter the metrics in their panel, else the events."""
        if self._panel != "metrics":
            self._panel = "events"
            self._show_panel()
        wanted = self._metrics if self._panel == "metrics" else self._events
        if wanted is not self._filtered:
            self._filter.clear_and_close()
            self._filtered.filter = ""
            self._filtered = wanted
        self._filter.show(self._panel)

    def on_input_changed(self, message: Input.Changed) -> None:
        self._filtered.filter = message.value
        self._filtered.renew()

    # ── The game ────────────────────────────────────────────────────────────────────────────────────────────

    def action_game(self) -> None:
        if self._controller.clip_player.fps <= 0:
            self._game_is_off()
            return
        self._show_game(not self._to_be_seen("game"))
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

    def action_gaze(self) -> None:
        if not self._game_is_off():
            self._controller.clip_player.choose_gaze()
            self._show_game(True)

    # ── Panels ──────────────────────────────────────────────────────────────────────────────────────────────

    def action_panel(self, number: int) -> None:
        name = PANELS[number - 1]
        self._pointed = None
        if name == "game":
            if self._controller.clip_player.fps <= 0:
                self._game_is_off()
                return
            self._show_game(True)
        self._panel = name
        self._show_panel()

    def action_next_panel(self, direction: int) -> None:
        shown = [panel for panel in PANELS if panel in ("charts", self._panel) or self._to_be_seen(panel)]
        self._pointed = None
        self._panel = shown[(shown.index(self._panel) + direction) % len(shown)]
        self._show_panel()

    def _to_be_seen(self, panel: str) -> bool:
        if panel == "game":
            return self.game.display
        return bool(self._text_panels[panel].region.area)

    @property
    def maximised(self) -> bool:
        return self.has_class("-maximised")

    def action_maximise(self) -> None:
        """Give the panel all the room, or put it back.

        Charts, settings and the game have screens of their own.
        """
        if self._alarm.display and self._alarm.unread:
            self._explain_alarm()
        elif self._panel == "charts":
            self.post_message(self.ChartZoomed())
        elif self._panel == "game":
            self.action_zoom_game()
        elif self._panel == "settings" and not self.maximised:
            self.post_message(self.SettingsZoomed())
        else:
            self._maximise(not self.maximised)

    def action_back(self) -> None:
        if self._filter.value:
            self._filter.clear_and_close()
        elif self.maximised:
            self._maximise(False)
        else:
            self.post_message(self.Left())

    def _maximise(self, maximised: bool) -> None:
        self.set_class(maximised, "-maximised")
        cast("TerminalApp", self.app).garbage_due.set()
        if self._panel == "metrics" and not (maximised or self.has_class("-tall")):
            self._panel = "charts"
        self._show_panel()

    def _show_panel(self) -> None:
        """Mark the panel with the keyboard.

        The table of metrics takes all the room in a terminal that is not tall.
        """
        if self._panel == "metrics" and not self.has_class("-tall"):
            self.add_class("-maximised")
        elif self._panel in ("charts", "game"):
            self.remove_class("-maximised")
        for panel in (self.game, *self._text_panels.values()):
            panel.set_class(panel.id == self._panel, "-focused")
        self.charts.has_keys = self._panel == "charts"
        self.charts.renew()  # a key is answered at once, however lately they were painted
        self.refresh_bindings()  # some keys are those of a panel
        self.call_after_refresh(self.renew)

    # ── Cards ───────────────────────────────────────────────────────────────────────────────────────────────

    def topics(self) -> tuple[list[Topic], int]:
        """Everything on the screen, and the thing clicked or under the cursor."""
        of_panels: dict[str, Sequence[Topic]] = {
            "header": HEADER_TOPICS,
            "alarm": self._alarm.topics(),
            "tiles": [topic for tile in self._tiles.tiles if tile.region.area for topic in tile.topics()],
            "charts": self.charts.topics()[0],
            **{name: panel.topics() for name, panel in self._text_panels.items()},
            "game": () if self._controller.game_missing else GAME_TOPICS,
        }
        here = self._pointed[0] if self._pointed else self._panel
        everything = [topic for topics in of_panels.values() for topic in topics]
        before = sum(len(topics) for topics in list(of_panels.values())[: list(of_panels).index(here)])
        if here == "charts":
            return everything, before + self.charts.topics()[1]
        chosen = self._pointed[1] if self._pointed else self._topic_of(here)
        own = list(of_panels[here])
        return everything, min(before + (own.index(chosen) if chosen in own else 0), len(everything) - 1)

    def _topic_of(self, panel: str) -> Topic | None:
        """The topic under the cursor of a panel of text."""
        return self._text_panels[panel].topic if panel in self._text_panels else None

    def _explain_alarm(self) -> None:
        """Show the cards of the alarms, the most severe first."""
        topics = self._alarm.topics()
        self._alarm.mark_read()
        self.post_message(self.Explained(topics, 0))

    def on_alarm_line_asked(self) -> None:
        self._explain_alarm()

    def _point_at(self, event: events.Click) -> bool:
        """Remember the clicked thing; in head and tiles show its card."""
        widget: Widget | None = event.widget
        while widget is not None and not isinstance(widget, Panel):
            widget = widget.parent if isinstance(widget.parent, Widget) else None
        at = event.get_content_offset(widget) if widget else None
        if isinstance(widget, Tile):
            at = at or Offset(0, 0)  # its frame counts too
        if widget is None or at is None or (topic := widget.topic_at(at.x, at.y)) is None:
            return False
        place = "tiles" if isinstance(widget, Tile) else widget.id or ""
        if place not in ("header", "tiles", *self._text_panels):
            return False
        self._pointed = (place, topic)
        if place not in ("header", "tiles"):
            return False
        self.post_message(self.Explained(*self.topics()))
        self._pointed = None
        return True

    def on_click(self, event: events.Click) -> None:
        """Select a panel by a click, maximise it by a second one."""
        if self._point_at(event):
            return
        widget: Widget | None = event.widget
        while widget is not None and widget.id not in PANELS:
            widget = widget.parent if isinstance(widget.parent, Widget) else None
        if widget is None:
            return
        self._panel = widget.id or PANELS[0]
        self._show_panel()
        if event.chain == 2:
            self.action_maximise()
