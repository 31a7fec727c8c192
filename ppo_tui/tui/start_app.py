"""The app of the start screen: no run, a choice of one."""

from __future__ import annotations

from textual.screen import Screen

from .app import PpoTuiApp
from .screens.start import StartScreen
from .session.idle import StartSession
from .session_app import Departure

_ACTIONS = {"help", "quit", "interrupt", "command_palette"}
"""The actions of the app that need no run."""


class StartApp(PpoTuiApp):
    """The start screen, with the look and the keys of a run's."""

    def get_default_screen(self) -> Screen[None]:
        session = self.controller.session
        assert isinstance(session, StartSession)
        return StartScreen(self.controller, session)

    def tick(self) -> None:
        """Nothing to do: there is no run."""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action in _ACTIONS:
            return super().check_action(action, parameters)
        return action not in self.actions_of_keys

    def on_start_screen_chosen(self) -> None:
        self.end(Departure.ENDED, 0)
