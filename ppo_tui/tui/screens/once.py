"""Screens to be left once, however often they are told to.

A repeated key, a paste or a fast mouse tells them so again before they are gone. Their result is all that they do:
then nothing happens twice, either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from textual import events
from textual.await_complete import AwaitComplete
from textual.screen import ModalScreen, Screen, ScreenResultType

# Textual looks for styles along the first bases that are widgets, so this one is none.
_Mixin = Screen[Any] if TYPE_CHECKING else object


class _Styled(_Mixin):
    """A mixin for screens shown repeatedly; the first of the bases."""

    _styled_for: tuple[object, ...] = ()

    def on_screen_resume(self, event: events.ScreenResume) -> None:
        """Look for the styles of its widgets only after a new theme.

        It takes as long as to paint the screen.
        """
        now = self.app.theme, self.app.app_focus
        event.refresh_styles = now != self._styled_for
        self._styled_for = now


class Page(_Styled, Screen[ScreenResultType]):
    """A whole screen above the main one."""

    def dismiss(self, result: ScreenResultType | None = None) -> AwaitComplete:
        """Leave it, if it is the topmost screen."""
        return super().dismiss(result) if self.is_active else AwaitComplete.nothing()


class Dialog(_Styled, ModalScreen[ScreenResultType]):
    """A box above the screen."""

    def dismiss(self, result: ScreenResultType | None = None) -> AwaitComplete:
        """Leave it, if it is the topmost screen."""
        return super().dismiss(result) if self.is_active else AwaitComplete.nothing()
