"""The game with the whole screen to itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType

from .. import keys
from ..controller import Controller
from ..topics import GAME_TOPICS, Explains, Topic
from ..widgets.game import Game
from ..widgets.key_line import KeyLine
from ..widgets.mosaic import Mosaic, MosaicTile
from .once import Page

MOSAIC_SIZE = (120, 40)
"""A screen of this size shows all environments at once to begin with."""


class GameScreen(Explains, Page[None]):
    """Picture and policy as large as the terminal allows, or all environments."""

    BINDINGS: ClassVar[list[BindingType]] = [*keys.bindings(keys.GAME)]

    def __init__(self, controller: Controller) -> None:
        super().__init__()
        self._controller = controller
        self._single = Game(controller)
        self._mosaic = Mosaic(controller)
        self._mosaic.display = False
        self._wants_mosaic = True

    def compose(self) -> ComposeResult:
        yield self._single
        yield self._mosaic
        yield KeyLine()

    def topics(self) -> tuple[Sequence[Topic], int]:
        return GAME_TOPICS, 0

    @property
    def game(self) -> Game | Mosaic:
        """The visible one."""
        return self._mosaic if self._mosaic.display else self._single

    @property
    def _has_room(self) -> bool:
        started = self._controller.view.started
        (wide, high), size = MOSAIC_SIZE, self.app.size  # this screen has none yet when it is opened
        return started is not None and started.num_envs > 1 and size.width >= wide and size.height >= high

    async def on_resize(self, event: events.Resize) -> None:
        await self._arrange()

    def on_unmount(self) -> None:
        self._mosaic.leave()

    async def _arrange(self) -> None:
        """Show the mosaic if there is room, else the chosen environment."""
        shown = self._wants_mosaic and self._has_room and not self._controller.session.only_watches
        self._mosaic.display, self._single.display = shown, not shown
        if shown:
            await self._mosaic.show(self.app.size.width, self.app.size.height - 1)
        else:
            await self._mosaic.clear()
            self._single.renew()
        self.refresh_bindings()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer the mosaic only with room for it."""
        return self._has_room if action == "mosaic" else True

    async def action_mosaic(self) -> None:
        self._wants_mosaic = not self._wants_mosaic
        await self._arrange()

    async def action_choose_env(self, direction: int) -> None:
        self._controller.choose_env(direction)
        await self._arrange()
        self.game.renew_facts()

    def action_gaze(self) -> None:
        self._controller.clip_player.choose_gaze()
        self._single.renew()

    def on_game_zoomed(self) -> None:
        self.dismiss()

    async def on_mosaic_tile_chosen(self, message: MosaicTile.Chosen) -> None:
        self._controller.clip_player.env = message.env
        await self.action_mosaic()
