"""The main screen over a record, with keys to move in time."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.binding import BindingType

from .. import keys
from ..controller import Controller
from ..session import ReplaySession
from .main import MainScreen


class ReplayScreen(MainScreen):
    """The main screen of a replay, without keys for steering."""

    BINDINGS: ClassVar[list[BindingType]] = [*keys.bindings(keys.REPLAY)]

    def __init__(
        self, controller: Controller, clock: Callable[[], float], session: ReplaySession, *, ascii: bool = False
    ) -> None:
        super().__init__(controller, clock, ascii=ascii)
        self._session = session

    def action_pause_replay(self) -> None:
        self._session.toggle_pause()
        self.renew_clock()

    def action_speed(self, direction: int) -> None:
        self._session.change_speed(direction)
        self.renew_clock()

    def action_seek(self, direction: int) -> None:
        self._session.seek(direction)

    def action_seek_to(self, share: float) -> None:
        self._session.seek_to(share * self._session.duration)
