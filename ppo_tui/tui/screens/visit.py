"""The main screen of another run, visited from this screen's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.binding import BindingType

from .. import keys
from ..controller import Controller
from ..session import ReplaySession
from .main import MainScreen
from .replay import ReplayScreen


class VisitScreen(MainScreen):
    """The main screen of a run in another process."""

    BINDINGS: ClassVar[list[BindingType]] = [*keys.bindings(keys.VISIT)]


class ReplayVisitScreen(ReplayScreen):
    """The main screen of an ended run."""

    BINDINGS: ClassVar[list[BindingType]] = [*keys.bindings(keys.VISIT)]


def visit_of(controller: Controller, clock: Callable[[], float], *, ascii: bool) -> MainScreen:
    """The screen for a visit of the controller's run."""
    session = controller.session
    if isinstance(session, ReplaySession):
        return ReplayVisitScreen(controller, clock, session, ascii=ascii)
    return VisitScreen(controller, clock, ascii=ascii)
