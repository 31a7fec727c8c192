"""The last line: the keys of this screen."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

from textual import events
from textual.content import Content
from textual.screen import Screen
from textual.widget import Widget

from .plain import Plain

if TYPE_CHECKING:
    from ..terminal_app import TerminalApp

_MARGIN = 1
"""Cells between two entries."""

_KEPT = ("back", "dismiss", "help", "quit")
"""Actions of the keys that stay where not all have room: they tell of the others, and the way out."""


class Entry(NamedTuple):
    """One key of the line; a disabled one does nothing now."""

    key: str
    display: str
    label: str
    enabled: bool
    kept: bool

    @property
    def width(self) -> int:
        return len(self.display) + 1 + len(self.label)


class KeyLine(Plain, Widget):
    """The keys with a label, as many as fit, in their order.

    Those for help and for leaving stay in any case.

    Textual's `Footer` shows the same with a widget for each key, built again at each change of screen or focus: that
    took longer than all other work for a key.
    """

    ALLOW_SELECT = False
    DEFAULT_CSS = """
    KeyLine { dock: bottom; height: 1; padding: 0 1; text-wrap: nowrap; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._entries: list[Entry] = []

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, self._renew)

    def on_unmount(self) -> None:
        self.screen.bindings_updated_signal.unsubscribe(self)

    def _renew(self, screen: Screen[object]) -> None:
        labels = cast("TerminalApp", self.app).labels
        first_of_action: dict[str, Entry] = {}
        for _, binding, enabled, _ in screen.active_bindings.values():
            if binding.show:
                display = self.app.get_key_display(binding)
                kept = binding.action in _KEPT
                label = labels.get(binding.action, binding.description)
                entry = Entry(binding.key, display, label, enabled, kept)
                first_of_action.setdefault(binding.action, entry)
        entries = list(first_of_action.values())
        if entries != self._entries:
            self._entries = entries
            self.refresh()

    @property
    def _seen(self) -> list[Entry]:
        """The entries with room in the line."""
        left = self.content_size.width + _MARGIN
        seen = set()
        for entry in sorted(self._entries, key=lambda entry: not entry.kept):
            left -= entry.width + _MARGIN
            if left < 0:
                break
            seen.add(entry)
        return [entry for entry in self._entries if entry in seen]

    def render(self) -> Content:
        return Content(" " * _MARGIN).join(
            Content.assemble(
                (entry.display, f"bold {'' if entry.enabled else 'dim '}$footer-key-foreground"),
                (f" {entry.label}", f"{'' if entry.enabled else 'dim '}$footer-description-foreground"),
            )
            for entry in self._seen
        )

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Press the clicked key; ring the bell for a disabled one."""
        start = self.content_region.x - self.region.x
        for entry in self._seen:
            if start <= event.x < start + entry.width:
                self.app.simulate_key(entry.key) if entry.enabled else self.app.bell()
            start += entry.width + _MARGIN
