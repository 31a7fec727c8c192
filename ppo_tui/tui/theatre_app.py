"""The Textual app of `ppo-tui watch`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

from textual.binding import Binding, BindingType
from textual.command import Hits, Provider
from textual.screen import Screen

from . import keys
from .app import PpoTuiApp
from .palette import RunCommands, Target
from .screens.help import HelpScreen
from .screens.theatre import TheatreScreen
from .session import WatchSession
from .theatre import TheatreController


class TheatreCommands(RunCommands):
    """The commands of the palette, without settings and charts."""

    KEYS = keys.THEATRE

    async def search(self, query: str) -> Hits:
        async for hit in super().search(query if query.strip().isalpha() else "".join(filter(str.isalpha, query))):
            yield hit

    def _metrics(self) -> Iterator[Target]:
        return iter(())

    def _settings(self) -> Iterator[Target]:
        return iter(())


_ACTIONS = {key.action.partition("(")[0] for key in keys.THEATRE}


class TheatreApp(PpoTuiApp, inherit_bindings=False):
    """Trained policies at play, on the screen.

    Args:
        session: of the engine that plays.
        options: as for `PpoTuiApp`.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        *keys.bindings_of((key for key in keys.THEATRE if keys.APP in key.contexts), keys.APP),
        Binding(keys.INTERRUPT, "interrupt", "Quit", show=False, priority=True),
    ]

    COMMANDS: ClassVar[set[type[Provider] | Callable[[], type[Provider]]]] = {TheatreCommands}

    def __init__(self, session: WatchSession, **options: Any) -> None:
        super().__init__(session, **options)
        fps = self.controller.clip_player.fps
        self.theatre = TheatreController(session, self.controller.clock, fps=fps)
        self.theatre.messages = self.controller.messages
        self._own = self.controller = self.theatre

    def get_default_screen(self) -> Screen[None]:
        return TheatreScreen(self.theatre)

    @property
    def theatre_screen(self) -> TheatreScreen:
        first = self.screen_stack[0]
        assert isinstance(first, TheatreScreen), "the theatre is never popped"
        return first

    @property
    def labels(self) -> Mapping[str, str]:
        return {"hold": "Go on"} if self.theatre.programme.held else {}

    def take_news(self) -> None:
        if not self.screen_stack:  # the app is closing
            return
        self.theatre.poll()
        self.theatre_screen.renew()
        self.theatre_screen.renew_facts()
        while self.theatre.problems:
            self.notify(self.theatre.problems.popleft(), severity="warning", timeout=6)
        self.leave_when_due()

    def play(self) -> None:
        if self.screen_stack and self.screen is self.theatre_screen:
            self.theatre_screen.play()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer nothing about training."""
        return action in _ACTIONS or not hasattr(PpoTuiApp, f"action_{action}") or action == "interrupt"

    def action_help(self) -> None:
        self.push_screen(HelpScreen(self.user_keys, keys.THEATRE, ascii=self.look.ascii))
