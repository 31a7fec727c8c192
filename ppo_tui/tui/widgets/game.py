"""The live game: its picture, and the policy's view of it."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.message import Message

from ...protocol import Gaze
from ..clip_player import ClipPlayer
from ..controller import Controller
from .game_facts import GameFacts, GameObservation
from .game_picture import GamePicture
from .plain import Container

_BESIDE_WIDTH = 40
"""Cells from which on the facts stand beside the picture and not below it."""

_UNDER_HEIGHT = 30
"""Lines from which on all facts have room below the picture of a panel that is higher than wide."""


_EDGES = 6
"""Cells of a border beside its title."""


class Game(Container):
    """The Game panel: shows clips while visible.

    Args:
        player: of its clips; that of the watched environment by default.
        title: what stands in the border, in place of the environment's number.
    """

    class Zoomed(Message):
        """The user clicked on the game."""

    def __init__(
        self, controller: Controller, player: ClipPlayer | None = None, *, title: str = "", id: str | None = None
    ) -> None:
        super().__init__(id=id)
        self.controller = controller
        self._player = player or controller.clip_player
        self.title = title
        self._picture = GamePicture(self._player)
        self._observation = GameObservation(controller, self._player)
        self._facts = GameFacts(controller, self._player)

    def compose(self) -> ComposeResult:
        yield self._picture
        yield self._observation
        yield self._facts

    def on_mount(self) -> None:
        self._observation.display = False
        self.name_env()

    def on_click(self) -> None:
        self.post_message(self.Zoomed())

    def name_env(self) -> None:
        """Name the environment in the border, and its keys."""
        if self.title:
            self.entitle(self.title)
            return
        started, session = self.controller.view.started, self.controller.session
        count = started.num_envs if started else 1
        title = ["6 Game", f"env {self._player.env}" + (f" of {count}" if started else "")]
        if self._player.gaze is not Gaze.NONE:
            title.append(f"gaze: {self._player.gaze}")
        keys = ["[ ] env"] if count > 1 else []
        if session.shows_game:
            keys = ["g gaze", *keys, "V zoom"]
        room = self.size.width - _EDGES
        self.entitle(_joined(title, room), _joined([*keys, "v hide"], room))

    def renew(self) -> None:
        """Show the present frame, or a waiting line."""
        self.name_env()
        pictures, empty = self._is_picture, not self.controller.session.shows_game
        self.set_class(empty, "-empty")
        if (self._picture.display, self._observation.display) != (pictures and not empty, not (pictures or empty)):
            self._picture.display, self._observation.display = pictures and not empty, not (pictures or empty)
        self._picture.renew()
        self._observation.renew()
        self._facts.renew()

    def on_resize(self) -> None:
        width, height = self.content_size
        high = height >= _UNDER_HEIGHT and width < 2 * height
        self.set_class(width >= _BESIDE_WIDTH and not high, "-beside")
        self.set_class(high, "-under")

    def play(self) -> None:
        """Show the next frame, if any; its screen is the topmost."""
        if not (self.size.area and self._player.advance()):
            return
        if self._is_picture != self._picture.display:
            self.renew()
        elif self._is_picture:
            self._picture.renew()
        else:
            self._observation.renew()

    def renew_facts(self) -> None:
        """Show the environment and the frame's numbers.

        Less often than frames, so that they can be read.
        """
        if self.to_be_seen:
            self.name_env()
            self._facts.renew()

    @property
    def _is_picture(self) -> bool:
        return self._player.frame is None or self._player.frame.picture is not None


def _joined(parts: list[str], room: int) -> str:
    """The first parts with room in a border; all without a layout."""
    while len(parts) > 1 and 0 < room < len(" · ".join(parts)):
        parts = parts[:-1]
    return " · ".join(parts)
