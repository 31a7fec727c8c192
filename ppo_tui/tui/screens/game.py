"""The game with the whole screen to itself."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import Footer

from ..controller import Controller
from ..widgets.game import Game


class GameScreen(Screen[None]):
    """Picture and policy as large as the terminal allows."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,m,v,V,q", "dismiss", "Back", key_display="esc"),
        Binding("right_square_bracket", "choose(1)", "Next env", key_display="]"),
        Binding("left_square_bracket", "choose(-1)", "Previous env", key_display="["),
        Binding("space,p", "pause", "Pause", key_display="p"),
    ]

    def __init__(self, run: Controller) -> None:
        super().__init__()
        self._run = run
        self._game = Game(run)

    def compose(self) -> ComposeResult:
        yield self._game
        yield Footer(compact=True, show_command_palette=False)

    def action_choose(self, direction: int) -> None:
        self._run.choose_game(direction)
        self._game.renew()

    def action_pause(self) -> None:
        if not self._run.view.finished:
            self._run.toggle_pause()

    def on_game_zoomed(self) -> None:
        self.dismiss()
