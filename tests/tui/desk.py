"""A screen with a fake session, keys, and a clock under control."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from textual.app import App
from textual.pilot import Pilot
from textual.widget import Widget
from textual.widgets import Static

from ppo_tui.protocol import Event, RunFinished, RunState
from ppo_tui.tui.app import PpoTuiApp
from ppo_tui.tui.terminal_app import Terminal
from ppo_tui.tui.widgets.chart import Chart
from ppo_tui.tui.widgets.panel import Panel
from tests.tui.fake import FakeSession, recorded

FAILURE = RunFinished(
    state=RunState.FAILED,
    exit_code=3,
    reason="worker 2 died\n  see workers.log",
    step=2048,
    update=2,
    details="Traceback (most recent call last):\n  …\nBrokenPipeError: pipe",
)
DONE = RunFinished(state=RunState.FINISHED, exit_code=0, reason="", step=10_000_000, update=9766, elapsed=15_848.0)


def characters(app: App[None]) -> str:
    """The characters of the whole screen."""
    return "\n".join(strip.text for strip in app.screen._compositor.render_strips())


class Desk:
    """An app with its fake session; its clock stands until moved."""

    def __init__(self, events: list[Event], terminal: Terminal | None = None, **options) -> None:
        self.now = 0.0
        self.session = FakeSession(events)
        self.app = PpoTuiApp(self.session, clock=lambda: self.now, **options)
        self.app.terminal = terminal
        self.pilot: Pilot[None]

    async def say(self, *events: Event) -> None:
        self.session.put(*events)
        self.app.tick()
        await self.pilot.pause()

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.pilot.pause()

    async def click(self, target: Widget | type[Widget] | str, offset: tuple[int, int] = (1, 0)) -> None:
        await self.pilot.click(target, offset=offset)
        await self.pilot.pause()

    async def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.app.tick()
        await self.pilot.pause()

    def charts_shown(self) -> list[str]:
        return [chart.spec.id for chart in self.app.screen_stack[0].query(Chart) if chart.region.area]

    def text(self, panel: type[Panel]) -> str:
        """The text of a panel of the main screen."""
        widget = self.app.main.query_one(panel)
        return widget.draw(*widget.content_size).plain

    def said(self, selector: str) -> str:
        """The text of a line on the topmost screen."""
        return str(self.app.screen.query_one(selector, Static).content)

    @property
    def picture(self) -> str:
        return characters(self.app)


@asynccontextmanager
async def desk(
    *events: Event, size: tuple[int, int] = (120, 40), notifications: bool = False, **options
) -> AsyncIterator[Desk]:
    """The desk of a test; without `fps` there is no game."""
    made = Desk(list(events) or list(recorded(30)), **{"fps": 0.0, **options})
    async with made.app.run_test(size=size, notifications=notifications) as pilot:
        made.pilot = pilot
        await made.say()
        yield made
