"""Every command of the palette, on every page: none of them ends the screen."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from textual.app import App
from textual.pilot import Pilot

from ppo_tui.protocol import TRANSIENT, RunFinished, RunState, StateChanged, encode
from ppo_tui.tui.app import PpoTuiApp
from ppo_tui.tui.session import ReplaySession
from ppo_tui.tui.session.idle import StartSession
from ppo_tui.tui.start_app import StartApp
from ppo_tui.tui.theatre_app import TheatreApp
from tests.tui.desk import DONE
from tests.tui.fake import FakeSession, recorded, started
from tests.tui.test_runs import make_ended
from tests.tui.test_theatre import FakeTheatre, playing, returned

LEAVING = ("Quit", "Detach", "Leave", "Open", "Start", "Watch leave")
"""Commands that are meant to leave the screen, or to ask whether to."""


def live(record: Path) -> App:
    return PpoTuiApp(FakeSession(recorded(20)), fps=15.0)


def paused(record: Path) -> App:
    return PpoTuiApp(FakeSession([*recorded(20), StateChanged(state=RunState.PAUSED)]), fps=15.0)


def finished(record: Path) -> App:
    return PpoTuiApp(FakeSession([*recorded(20), DONE]), fps=0.0)


def replay(record: Path) -> App:
    return PpoTuiApp(ReplaySession(record), fps=0.0)


def empty(record: Path) -> App:
    return PpoTuiApp(FakeSession(), fps=15.0)


def theatre(record: Path) -> App:
    session = FakeTheatre()
    session.put(started(), playing("step-2"), returned(500.0))
    return TheatreApp(session, fps=15.0)


def start(record: Path) -> App:
    return StartApp(StartSession())


PAGES = {
    "main": (),
    "help": ("question_mark",),
    "settings": ("e",),
    "changes": ("A",),
    "checkpoints": ("C",),
    "runs": ("r",),
    "microscope": ("x",),
    "chart": ("1", "enter"),
    "game": ("V",),
    "card": ("i",),
    "visit": ("r", "enter"),
    "metrics": ("5",),
}
"""The keys that open each page from the main screen."""


@pytest.fixture(scope="module")
def record(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("commands")
    events = [event for event in recorded(20) if not isinstance(event, TRANSIENT)]
    events.append(
        RunFinished(state=RunState.FINISHED, exit_code=0, reason="done", step=20_480, update=20, elapsed=99.0)
    )
    path = folder / "events.jsonl"
    path.write_bytes(b"".join(encode(event) + b"\n" for event in events))
    make_ended(folder / "runs" / "alpha", begun=1.7e9)
    return path


class Page:
    """One page of an app, opened anew whenever a command has left it."""

    def __init__(self, app: App, pilot: Pilot, keys: tuple[str, ...]) -> None:
        self.app, self.pilot, self.keys = app, pilot, keys
        self.kind: type | None = None

    async def open(self) -> bool:
        """Open the page, unless it is open."""
        if self.kind is not None and type(self.app.screen) is self.kind:
            return False
        for _ in range(8):
            if len(self.app.screen_stack) == 1:
                break
            await self.pilot.press("escape")
            await self.pilot.pause()
        for key in self.keys:
            await self.pilot.press(key)
            await self.app.workers.wait_for_complete([w for w in self.app.workers if w.group in ("reading", "opening")])
            await self.pilot.pause()
        self.kind = self.kind or type(self.app.screen)
        return True

    async def commands(self) -> list[tuple[str, Callable[[], object]]]:
        (kind,) = self.app.COMMANDS
        provider = kind(self.app.screen)
        provider._post_init()
        hits = [hit async for hit in provider.discover()] + [hit async for hit in provider.search("chart")]
        return [(str(hit.text), hit.command) for hit in hits]


@contextlib.asynccontextmanager
async def page(app: App, name: str, size: tuple[int, int]) -> AsyncIterator[Page]:
    async with app.run_test(size=size, notifications=True) as pilot:
        if isinstance(app, PpoTuiApp):
            app.tick()
        await pilot.pause()
        yield Page(app, pilot, PAGES[name])


CASES = [
    *((live, name) for name in PAGES),
    *((replay, name) for name in ("main", "runs", "checkpoints", "microscope", "chart", "card")),
    *((finished, name) for name in ("main", "settings", "game")),
    *((make, "main") for make in (paused, empty, theatre, start)),
    (theatre, "help"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("make", "name"), CASES, ids=[f"{make.__name__}-{name}" for make, name in CASES])
async def test_no_command_ends_the_screen(make, name, record, monkeypatch):
    monkeypatch.chdir(record.parent)
    async with page(make(record), name, (80, 24)) as it:
        await it.open()
        found = dict(await it.commands())
        assert found
        for text in found:
            if text.startswith(LEAVING):
                continue
            if await it.open():
                found = dict(await it.commands())
            if text in found:
                print(text)  # shown with a failure
                if inspect.isawaitable(waiting := found[text]()):
                    await waiting
                await it.pilot.pause()
                assert it.app.is_running, text
