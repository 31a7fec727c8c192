"""The screen of `ppo-tui watch`: a small theatre."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.screen import Screen

from ...plotting import formats
from .. import keys
from ..theatre import TheatreController
from ..widgets.game import Game
from ..widgets.key_line import KeyLine
from ..widgets.plain import Horizontal
from ..widgets.theatre import ScoreBars, TheatreHeader

STAGE_COLUMNS = 38
"""Least columns of a stage."""

_MOST_BARS = 10


class TheatreScreen(Screen[None]):
    """Policies at play, with their scores below."""

    BINDINGS: ClassVar[list[BindingType]] = [*keys.bindings(keys.WATCH)]

    def __init__(self, controller: TheatreController) -> None:
        super().__init__()
        self._theatre = controller
        self._header = TheatreHeader(controller, id="theatre-header")
        self.stages = [Game(controller, player, title=" ") for player in controller.players]
        self._bars = ScoreBars(controller, id="scores")

    def compose(self) -> ComposeResult:
        yield self._header
        yield Horizontal(*self.stages, id="stages")
        yield self._bars
        yield KeyLine()

    def on_mount(self) -> None:
        self.on_resize()
        self.renew()

    def on_resize(self) -> None:
        """Give the scores a third of the height at most."""
        self._bars.styles.height = 2 + min(_MOST_BARS, len(self._theatre.choices), max(2, self.size.height // 4))

    def renew(self) -> None:
        """Bring the head, the stages' titles and the scores up to date."""
        theatre = self._theatre
        playing = theatre.playing
        names = playing.checkpoints if playing else theatre.programme.checkpoints
        for number, stage in enumerate(self.stages):
            shown = number < len(names)
            stage.display = shown
            if shown:
                stage.title = theatre.choice(names[number]).title
                if (ended := theatre.returned.get(number)) is not None:
                    stage.title += f" · return {formats.number(ended)}"
                stage.name_env()
        self._header.renew()
        self._bars.renew()

    def play(self) -> None:
        """Move the stages on by a frame."""
        for stage in self.stages:
            stage.play()

    def renew_facts(self) -> None:
        """Show the numbers of the present frames."""
        for stage in self.stages:
            if stage.display:
                stage.renew_facts()

    def action_hold(self) -> None:
        self._theatre.toggle_hold()
        self.refresh_bindings()
        self.renew()

    def action_speed(self, direction: int) -> None:
        self._theatre.change_speed(direction)
        self.renew()

    def action_next_game(self) -> None:
        self._theatre.next_game()
        self.renew()

    def action_checkpoint(self, direction: int) -> None:
        if not self._theatre.move(direction):
            self.notify(f"there is no {'later' if direction > 0 else 'earlier'} checkpoint", timeout=2)
        self.renew()

    def action_beside(self) -> None:
        if not self._theatre.change_stages(max(1, self.size.width // STAGE_COLUMNS)):
            self.notify("there is no earlier checkpoint to show beside it", timeout=2)
        self.renew()

    def action_greedy(self) -> None:
        self._theatre.toggle_greedy()
        self.renew()

    async def action_quit(self) -> None:
        await self.app.run_action("app.quit")

    def action_gaze(self) -> None:
        self._theatre.choose_gaze()
        self.renew()
