"""A line for a filter, effective with every letter."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widgets import Input


class FilterLine(Input):
    """A line shown on demand: Enter keeps the filter, Escape clears it.

    Both give the keyboard back.
    """

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", show=False)]

    def __init__(self, what: str) -> None:
        super().__init__(placeholder=_hint(what), compact=True, id="filter")
        self.display = False

    def show(self, what: str = "") -> None:
        """Show it, perhaps for something else."""
        if what:
            self.placeholder = _hint(what)
        self.display = True
        self.focus()

    def clear_and_close(self) -> None:
        self.value = ""
        self._close()

    def action_leave(self) -> None:
        self.clear_and_close()

    def on_input_submitted(self) -> None:
        self._close()

    def _close(self) -> None:
        if self.display:
            self.screen.set_focus(None)
            self.display = bool(self.value)


def matches(wanted: str, text: str) -> bool:
    """Tell whether `text` has every word, in any order and case."""
    folded = text.casefold()
    return all(word in folded for word in wanted.casefold().split())


def _hint(what: str) -> str:
    return f"filter the {what} (enter keeps it, esc clears it)"
