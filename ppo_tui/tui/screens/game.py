"""The game with the whole screen to itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType

from .. import keys
from ..controller import Controller
from ..topics import GAME_TOPICS, Explains, Topic
from ..widgets.game import Game
from ..widgets.key_line import KeyLine
from .once import Page


class GameScreen(Explains, Page[None]):
    """Picture and policy as large as the terminal allows."""

    BINDINGS: ClassVar[list[BindingType]] = [*keys.bindings(keys.GAME)]

    def __init__(self, controller: Controller) -> None:
        super().__init__()
        self._controller = controller
        self.game = Game(controller)

    def compose(self) -> ComposeResult:
        yield self.game
        yield KeyLine()

    def topics(self) -> tuple[Sequence[Topic], int]:
        return GAME_TOPICS, 0

    def action_choose_env(self, direction: int) -> None:
        self._controller.choose_env(direction)
        self.game.renew()

    def on_game_zoomed(self) -> None:
        self.dismiss()
