"""Screens to be left once, however often they are told to.

A repeated key, a paste or a fast mouse tells them so again before they are gone. Their result is all that they do:
then nothing happens twice, either.
"""

from __future__ import annotations

from textual.await_complete import AwaitComplete
from textual.screen import ModalScreen, Screen, ScreenResultType


class Page(Screen[ScreenResultType]):
    """A whole screen above the main one."""

    def dismiss(self, result: ScreenResultType | None = None) -> AwaitComplete:
        """Leave it, if it is the topmost screen."""
        return super().dismiss(result) if self.is_active else AwaitComplete.nothing()


class Dialog(ModalScreen[ScreenResultType]):
    """A box above the screen."""

    def dismiss(self, result: ScreenResultType | None = None) -> AwaitComplete:
        """Leave it, if it is the topmost screen."""
        return super().dismiss(result) if self.is_active else AwaitComplete.nothing()
