"""The screen of a run: head, tiles, charts, workers, settings, events."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Footer

from ...protocol import RunState
from .. import keys
from ..controller import Controller
from ..widgets.banner import Banner
from ..widgets.chart_grid import ChartGrid
from ..widgets.events import Events, event_line
from ..widgets.game import Game
from ..widgets.header import Header
from ..widgets.panel import Panel
from ..widgets.settings import Settings
from ..widgets.tiles import Tiles
from ..widgets.value_input import ValueInput
from ..widgets.workers import Workers
from .charts import ChartActions, ChartScreen, MetricPicker
from .dialogs import TextScreen, help_text
from .game import GameScreen

CHART_SECONDS = 0.5
"""Shortest time between two repaints of the charts."""

NEED_A_LIVE_RUN = {"pause", "step", "save", "nudge", "edit"}


class MainScreen(ChartActions, Screen[None]):
    """Shows what the controller knows, and turns keys into its calls."""

    KEYS: ClassVar[tuple[keys.Key, ...]] = keys.KEYS
    BINDINGS: ClassVar[list[BindingType]] = [*keys.bindings()]
    HORIZONTAL_BREAKPOINTS: ClassVar[list[tuple[int, str]]] = [(0, "-narrow"), (70, "-medium"), (110, "-wide")]
    VERTICAL_BREAKPOINTS: ClassVar[list[tuple[int, str]]] = [(0, "-flat"), (18, "-low"), (34, "-high")]

    def __init__(self, run: Controller, clock: Callable[[], float]) -> None:
        super().__init__()
        self._run = run
        self._clock = clock
        self._charts_at = float("-inf")
        self._header = Header(run, id="header")
        self._banner = Banner(run, id="banner")
        self._tiles = Tiles(run, id="tiles")
        self.charts = ChartGrid(run.view, id="charts")
        self._game = Game(run, id="game")
        self.set_class(bool(run.game_missing), "-game-off")
        self._workers = Workers(run, id="workers")
        self._settings = Settings(run, id="settings")
        self._events = Events(run, id="events")
        self._value = ValueInput(run, id="value")
        self._banner.display = self._value.display = False

    def compose(self) -> ComposeResult:
        yield self._header
        yield self._banner
        yield self._tiles
        yield Container(self.charts, self._game, id="middle")
        yield Container(self._workers, self._settings, self._events, id="bottom")
        yield self._value
        yield Footer(compact=True, show_command_palette=False)

    # ── Painting ────────────────────────────────────────────────────────────────────────────────────────────

    def renew(self) -> None:
        """Bring the panels up to date; each repaints only if it reads differently, charts at most twice a second."""
        finished = self._run.view.finished
        if finished and not self._banner.display:
            self._show_end(finished.state)
        elif self._banner.display and not finished:
            self._hide_end()
        panels: list[Panel] = [
            self._header,
            self._banner,
            *self._tiles.tiles,
            self._workers,
            self._settings,
            self._events,
        ]
        for panel in panels:
            panel.renew()
        now = self._clock()
        if finished or now - self._charts_at >= CHART_SECONDS:
            self._charts_at = now
            self.charts.renew()

    def _show_end(self, state: RunState) -> None:
        self._banner.display = True
        self._banner.add_class(f"-{state}")
        self._value.display = False
        self.set_focus(None)
        self.refresh_bindings()

    def _hide_end(self) -> None:
        """The run goes on after all: it was resumed, or its replay went back."""
        self._banner.display = False
        self._banner.remove_class(*(f"-{state}" for state in RunState))
        self.refresh_bindings()

    def renew_clock(self) -> None:
        """Bring the running times up to date."""
        self._header.renew()

    # ── Keys ────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def typing(self) -> bool:
        return self._value.open

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """While a value is typed, keys belong to it; after the end, what steers a run is greyed out."""
        if action not in _ACTIONS:
            return True
        if self.typing:
            return False
        if action == "traceback":
            return bool(self._run.view.finished and self._run.view.finished.details)
        session = self._run.session
        if action == "detach":
            return session.can_detach
        if action == "take_control":
            return session.live and not (session.owns_run or session.can_steer)
        if action in NEED_A_LIVE_RUN and (self._run.view.finished or not session.can_steer):
            return None
        return True

    def action_pause(self) -> None:
        self._run.toggle_pause()
        self.renew_clock()

    def action_step(self) -> None:
        self._run.step()
        self.renew_clock()

    def action_save(self) -> None:
        self._run.save()
        self.renew_clock()

    def action_select(self, direction: int) -> None:
        self._run.editor.select(direction)
        self._settings.renew()

    def action_nudge(self, direction: int) -> None:
        self._run.nudge(direction)
        self._settings.renew()

    def action_edit(self) -> None:
        if field := self._run.editor.field:
            self._value.show(field)
            self.refresh_bindings()

    def on_value_input_closed(self) -> None:
        self._settings.renew()
        self.refresh_bindings()

    def action_game(self) -> None:
        if missing := self._run.game_missing:
            self.notify(missing)
            return
        shown = self._game.display
        self.set_class(shown, "-game-off")
        self.set_class(not shown, "-game-on")
        self._game.renew()

    def action_zoom_game(self) -> None:
        if missing := self._run.game_missing:
            self.notify(missing)
        else:
            self.app.push_screen(GameScreen(self._run))

    def on_game_zoomed(self) -> None:
        self.action_zoom_game()

    def action_choose_env(self, direction: int) -> None:
        self._run.choose_game(direction)
        self._game.renew()

    def action_maximise(self) -> None:
        self.app.push_screen(ChartScreen(self.charts))

    def action_metrics(self) -> None:
        self.app.push_screen(MetricPicker(self.charts))

    def action_events(self) -> None:
        lines = [event_line(entry) for entry in self._run.view.log]
        self.app.push_screen(TextScreen("Events", Content("\n").join(lines), at_end=True))

    def action_traceback(self) -> None:
        if finished := self._run.view.finished:
            self.app.push_screen(TextScreen(finished.reason.splitlines()[0], Content(finished.details), at_end=True))

    def action_help(self) -> None:
        self.app.push_screen(TextScreen("Keys", help_text(tuple(dict.fromkeys((*self.KEYS, *keys.CHART_KEYS))))))

    def action_detach(self) -> None:
        self.app.detach()

    def action_take_control(self) -> None:
        self._run.session.take_control()

    async def action_quit(self) -> None:
        await self.app.action_quit()


_ACTIONS = {key.action.partition("(")[0] for key in (*keys.KEYS, *keys.REPLAY_KEYS)}
