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

from .. import keys
from ..controller import Controller
from ..metrics import CHARTS
from ..widgets.banner import Banner
from ..widgets.chart import Chart
from ..widgets.events import Events, event_line
from ..widgets.header import Header
from ..widgets.panel import Panel
from ..widgets.settings import Settings
from ..widgets.tiles import Tiles
from ..widgets.value_input import ValueInput
from ..widgets.workers import Workers
from .dialogs import TextScreen, help_text

CHART_SECONDS = 0.5
"""Shortest time between two repaints of the charts."""

_NEED_A_LIVE_RUN = {"pause", "step", "save", "nudge", "edit"}


class MainScreen(Screen[None]):
    """Shows what the controller knows, and turns keys into its calls."""

    BINDINGS: ClassVar[list[BindingType]] = [*keys.bindings()]
    HORIZONTAL_BREAKPOINTS: ClassVar[list[tuple[int, str]]] = [(0, "-narrow"), (70, "-medium"), (110, "-wide")]
    VERTICAL_BREAKPOINTS: ClassVar[list[tuple[int, str]]] = [(0, "-flat"), (18, "-low"), (34, "-high")]

    def __init__(self, run: Controller, clock: Callable[[], float]) -> None:
        super().__init__()
        self._run = run
        self._clock = clock
        self._charts_at = float("-inf")
        self._chart = 0
        self.ready = False
        """Whether the panels exist."""

    def compose(self) -> ComposeResult:
        yield Header(self._run, id="header")
        yield Banner(self._run, id="banner")
        yield Tiles(self._run, id="tiles")
        with Container(id="charts"):
            for number, spec in enumerate(CHARTS, start=1):
                yield Chart(self._run, spec, number)
        with Container(id="bottom"):
            yield Workers(self._run, id="workers")
            yield Settings(self._run, id="settings")
            yield Events(self._run, id="events")
        yield ValueInput(self._run, id="value")
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        self.query_one(ValueInput).display = False
        self.query_one(Banner).display = False
        self._choose_chart(0)
        self.ready = True

    # ── Painting ────────────────────────────────────────────────────────────────────────────────────────────

    def renew(self) -> None:
        """Bring the panels up to date; each repaints only if it reads differently, charts at most twice a second."""
        finished = self._run.view.finished
        banner = self.query_one(Banner)
        if finished and not banner.display:
            banner.display = True
            banner.add_class(f"-{finished.state}")
            self.query_one(ValueInput).display = False
            self.set_focus(None)
            self.refresh_bindings()
        for panel in self.query(Panel):
            panel.renew()
        now = self._clock()
        if finished or now - self._charts_at >= CHART_SECONDS:
            self._charts_at = now
            for chart in self.query(Chart):
                chart.renew()

    def renew_clock(self) -> None:
        """Bring the running times up to date."""
        self.query_one(Header).renew()

    # ── Keys ────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def typing(self) -> bool:
        return self.query_one(ValueInput).open

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """While a value is typed, keys belong to it; after the end, what steers a run is greyed out."""
        if not self.ready or action not in _ACTIONS:
            return True
        if self.typing:
            return False
        if action == "traceback":
            return bool(self._run.view.finished and self._run.view.finished.details)
        if action in _NEED_A_LIVE_RUN and self._run.view.finished:
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
        self.query_one(Settings).renew()

    def action_nudge(self, direction: int) -> None:
        self._run.nudge(direction)
        self.query_one(Settings).renew()

    def action_edit(self) -> None:
        if field := self._run.editor.field:
            self.query_one(ValueInput).show(field)
            self.refresh_bindings()

    def on_value_input_closed(self) -> None:
        self.query_one(Settings).renew()
        self.refresh_bindings()

    def action_chart(self, index: int) -> None:
        self._choose_chart(index)

    def action_next_chart(self, direction: int) -> None:
        self._choose_chart((self._chart + direction) % len(CHARTS))

    def on_chart_chosen(self, message: Chart.Chosen) -> None:
        self._choose_chart(message.chart.number - 1)

    def action_log_axis(self) -> None:
        list(self.query(Chart))[self._chart].toggle_log_axis()

    def action_maximise(self) -> None:
        self.toggle_class("-maximised")

    def action_events(self) -> None:
        lines = [event_line(entry) for entry in self._run.view.log]
        self.app.push_screen(TextScreen("Events", Content("\n").join(lines), at_end=True))

    def action_traceback(self) -> None:
        if finished := self._run.view.finished:
            self.app.push_screen(TextScreen(finished.reason.splitlines()[0], Content(finished.details), at_end=True))

    def action_help(self) -> None:
        self.app.push_screen(TextScreen("Keys", help_text()))

    async def action_quit(self) -> None:
        await self.app.action_quit()

    def _choose_chart(self, index: int) -> None:
        self._chart = index
        for position, chart in enumerate(self.query(Chart)):
            chart.set_class(position == index, "-chosen")


_ACTIONS = {key.action.partition("(")[0] for key in keys.KEYS}
