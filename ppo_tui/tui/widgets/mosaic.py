"""Several environments at once, in small pictures."""

from __future__ import annotations

import itertools
import math

from textual import events
from textual.app import ComposeResult
from textual.message import Message

from ...plotting import formats
from ..clip_player import ClipPlayer
from ..controller import Controller
from .game_facts import GameObservation
from .game_picture import GamePicture
from .plain import Container

TILE = (29, 14)
"""Least columns and lines of a tile."""

MOST_TILES = 16


class MosaicTile(Container):
    """One environment: its picture, or the bars of its observation."""

    class Chosen(Message):
        """The user clicked on the environment `env`."""

        def __init__(self, env: int) -> None:
            super().__init__()
            self.env = env

    def __init__(self, controller: Controller, player: ClipPlayer) -> None:
        super().__init__()
        self._controller, self.player = controller, player
        self._picture = GamePicture(player)
        self._observation = GameObservation(controller, player)

    def compose(self) -> ComposeResult:
        yield self._picture
        yield self._observation

    def on_mount(self) -> None:
        self._observation.display = False
        self.renew_facts()

    def on_click(self, event: events.Click) -> None:
        event.stop()
        self.post_message(self.Chosen(self.player.env))

    def play(self) -> None:
        """Show the next frame, if there is one."""
        if not self.player.advance():
            return
        pictures = self.player.picture is not None
        if self._picture.display != pictures:
            self._picture.display, self._observation.display = pictures, not pictures
        self._picture.renew()
        self._observation.renew()

    def renew_facts(self) -> None:
        """Name the environment, its score and its last return in the border."""
        frame, env = self.player.frame, self.player.env
        self.set_class(env == self._controller.clip_player.env, "-chosen")
        score = f" · {formats.number(frame.score)}" if frame else " · …"
        returns = self._controller.view.last_returns.get(env)
        self.entitle(f"env {env}{score}", f"last {formats.number(returns[-1])}" if returns else "")


class Mosaic(Container):
    """Tiles of the watched environment and its neighbours.

    They share the frames a second of a single game: each tick moves one tile on.
    """

    def __init__(self, controller: Controller) -> None:
        super().__init__()
        self._controller = controller
        self._turns = itertools.count()

    async def show(self, width: int, height: int) -> None:
        """Lay out tiles around the chosen environment, as many as fit."""
        started, main = self._controller.view.started, self._controller.clip_player
        count = started.num_envs if started else 1
        columns, lines = tiles_for(count, width, height)
        room = columns * lines
        first = main.env // room * room
        envs = range(first, min(count, first + room))
        if [tile.player.env for tile in self.tiles] == list(envs):
            return
        await self.remove_children()
        session, clock = self._controller.session, self._controller.clock
        players = [ClipPlayer(session, clock, main.fps, env, pinned=True) for env in envs]
        self._controller.players = [main, *players]
        main.beside = tuple(env for env in envs if env != main.env)
        self.styles.grid_size_columns, self.styles.grid_size_rows = columns, lines
        await self.mount_all([MosaicTile(self._controller, player) for player in players])

    def leave(self) -> None:
        """Let no other environment be watched."""
        main = self._controller.clip_player
        self._controller.players, main.beside = [main], ()

    async def clear(self) -> None:
        """Take the tiles away, while the chosen environment is watched alone."""
        self.leave()
        await self.remove_children()

    @property
    def tiles(self) -> list[MosaicTile]:
        return [child for child in self.children if isinstance(child, MosaicTile)]

    def play(self) -> None:
        """Move the next tile on by a frame."""
        if self.to_be_seen and (tiles := self.tiles):
            tiles[next(self._turns) % len(tiles)].play()

    def renew_facts(self) -> None:
        """Bring the borders up to date, and the wish to the engine."""
        main = self._controller.clip_player
        if self.to_be_seen:
            main.beside = tuple(tile.player.env for tile in self.tiles if tile.player.env != main.env)
            for tile in self.tiles:
                tile.renew_facts()


def tiles_for(count: int, width: int, height: int) -> tuple[int, int]:
    """Columns and lines of tiles for `count` environments.

    On a screen of this size, each tile is as large as possible.
    """
    most = min(count, MOST_TILES, max(1, width // TILE[0]) * max(1, height // TILE[1]))
    shapes = [
        (columns, math.ceil(most / columns))
        for columns in range(1, most + 1)
        if width // columns >= TILE[0] and height // math.ceil(most / columns) >= TILE[1]
    ]
    return max(shapes or [(1, 1)], key=lambda shape: min(width / shape[0], 2 * height / shape[1]))
