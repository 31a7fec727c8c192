"""The app as its terminal sees it: theme, characters, size, messages."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from textual import events, on
from textual.app import ScreenError, SystemCommand
from textual.await_complete import AwaitComplete
from textual.binding import Binding
from textual.driver import Driver
from textual.errors import NoWidget
from textual.filter import LineFilter
from textual.geometry import Size
from textual.notifications import SeverityLevel
from textual.screen import Screen
from textual.strip import Strip
from textual.theme import ThemeProvider

from ..text import printable
from . import keys, theme
from .palette import Palette
from .pixels import Answer
from .private_textual import ReportingApp, forget_lines
from .screen_options import Look
from .terminal_diff import TerminalDiff
from .theme import PlainCharacters, SafeCharacters
from .widgets.game_pixels import PixelTerminal

LARGEST = Size(1000, 500)
"""The largest screen in cells; a terminal of more shows it in a corner. A stray size could take all memory."""

_KEPT_SYSTEM_COMMANDS = {"Theme", "Screenshot"}


class Terminal(PixelTerminal, Protocol):
    """A driver able to restore its terminal, and to draw pictures."""

    def give_back(self) -> None:
        """Give the terminal back, unless already done."""

    def measure_cells(self) -> None:
        """Look for the size of cells anew, after a resize."""


class TerminalApp(ReportingApp):
    """An app in the user's look, on any terminal.

    Args:
        look: theme and characters.
        keymap: the user's own keys, as `keys.load_keymap` gives them.
        answer: the terminal's, to the question what it can draw.

    Attributes:
        terminal: set by a driver that can give it back.
        garbage_due: set whenever a page or dialog is left, or panels are laid out anew.
        spans: waiting to be painted together; None where each is painted at once.
    """

    NOTIFICATION_TIMEOUT = 3.0

    def __init__(self, look: Look | None, keymap: Mapping[str, str] | None, answer: Answer | None) -> None:
        self.look = look or Look()
        chosen = theme.BY_NAME[self.look.theme]
        super().__init__(ansi_color=chosen.ansi)
        self.user_keys = dict(keymap or {})
        self.terminal: Terminal | None = None
        self.answer = answer or Answer()
        self.terminal_diff = TerminalDiff()
        self.garbage_due = asyncio.Event()
        self.spans: list[tuple[int, int, Strip]] | None = None
        self._own_filters: list[LineFilter] = [SafeCharacters(), *([PlainCharacters()] if self.look.ascii else [])]
        for own in theme.THEMES:
            self.register_theme(own)
        self.theme = chosen.name
        self.set_keymap(self.user_keys)

    @property
    def labels(self) -> Mapping[str, str]:
        """Labels of keys, by action, other than the table's."""
        return {}

    def toggle_pixel_charts(self) -> bool:
        """Draw charts in pixels, or in characters again.

        False where the terminal draws none; a notification says why.
        """
        if self.terminal is None or self.terminal.graphics is None:
            self.notify(f"the charts stay in characters: {self.answer.reason or 'the terminal draws no pixels'}")
            return False
        self.terminal.charts = not self.terminal.charts
        return True

    def pop_screen(self) -> AwaitComplete:
        left, leaving = self.screen, super().pop_screen()
        if not self.is_screen_installed(left):
            forget_lines(left)
        self.garbage_due.set()
        return leaving

    def get_css_variables(self) -> dict[str, str]:
        return theme.with_own_colours(super().get_css_variables(), ansi=self.current_theme.ansi)

    def get_line_filters(self) -> Sequence[LineFilter]:
        return [*super().get_line_filters(), *self._own_filters]

    @property
    def size(self) -> Size:
        return Size(*map(min, super().size, LARGEST))

    async def on_event(self, event: events.Event) -> None:
        if isinstance(event, events.Resize) and event.size != (size := Size(*map(min, event.size, LARGEST))):
            event = events.Resize(size, size)
        if not (isinstance(event, events.MouseEvent) and self._points_at_remains(event)):
            await super().on_event(event)

    def _points_at_remains(self, event: events.MouseEvent) -> bool:
        """Tell whether a removed widget, without a parent, is below the mouse."""
        try:
            widget, _ = self.get_widget_at(event.x, event.y)
        except (NoWidget, ScreenError):
            return False
        return not widget.is_attached

    def on_resize(self) -> None:
        """Forget the painted cells: they were laid out for the old size."""
        self.terminal_diff.forget()
        if self.terminal:
            self.terminal.measure_cells()

    @on(Driver.SignalResume)
    def paint_anew(self) -> None:
        """Paint the whole screen: after Ctrl+Z the terminal's is empty."""
        self.terminal_diff.forget()
        self.screen.refresh()

    def notify(
        self,
        message: str,
        *,
        title: str = "",
        severity: SeverityLevel = "information",
        timeout: float | None = None,
        markup: bool = False,
    ) -> None:
        """Show a message for a moment; it is text, whatever `markup` says."""
        super().notify(message, title=title, severity=severity, timeout=timeout, markup=False)

    def get_key_display(self, binding: Binding) -> str:
        display = super().get_key_display(binding)
        return keys.in_ascii(display) if self.look.ascii else display

    def deliver_screenshot(
        self, filename: str | None = None, path: str | None = None, time_format: str | None = None
    ) -> str | None:
        """Save a picture of the screen, in the current directory.

        Textual would take a folder for downloads, which a server has none of.
        """
        if not self.screen_stack:  # the app is closing
            return None
        return super().deliver_screenshot(filename, path or ".", time_format)

    def on_delivery_complete(self, event: events.DeliveryComplete) -> None:
        event.prevent_default()  # Textual would say it in markup
        self.notify(f"Saved screenshot to {event.path}", title="Screenshot")

    def on_delivery_failed(self, event: events.DeliveryFailed) -> None:
        event.prevent_default()  # Textual would not say why
        self.notify(f"The screenshot was not saved: {event.exception}", title="Screenshot", severity="error")

    def copy_to_clipboard(self, text: str) -> None:
        super().copy_to_clipboard(printable(text, lines=True))

    def search_themes(self) -> None:
        self.push_screen(Palette(providers=[ThemeProvider], placeholder="Search for themes…"))

    def get_system_commands(self, screen: Screen[object]) -> Iterator[SystemCommand]:
        for command in super().get_system_commands(screen):
            if command.title in _KEPT_SYSTEM_COMMANDS:
                yield command
