"""A line for the value of a setting, with its description.

After a slip it says what was wrong.
"""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.widgets import Input

from ...config.live import LiveField
from ...errors import ConfigError
from ...plotting import formats
from ...text import one_line
from ..controller import Controller
from .plain import Static, Vertical


class ValueInput(Vertical):
    """A line shown on demand: Enter drafts the value, Escape leaves."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", show=False)]

    class Closed(Message):
        """The user is done typing."""

    def __init__(self, controller: Controller, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._controller = controller
        self._heading = Static()
        self._entry = Input(compact=True, id="value-input")
        self._hint = Static(id="value-error")

    def compose(self) -> ComposeResult:
        yield self._heading
        yield self._entry
        yield self._hint

    def show(self, field: LiveField) -> None:
        """Begin with the present value of `field`, selected: typing replaces it."""
        self._heading.update(_describe(field))
        self._show_message("")
        value = self._controller.editor.drafted(field.key)
        self._entry.value = "off" if value is None else str(value)  # with all its digits: enter alone changes nothing
        self.display = True
        self._entry.focus()
        self._entry.action_select_all()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        try:
            self._controller.editor.draft_typed(event.value)
        except ConfigError as error:
            self._show_message(one_line(str(error)))
        else:
            self._close()

    def on_input_changed(self) -> None:
        self._show_message("")

    def action_leave(self) -> None:
        self._close()

    def _close(self) -> None:
        self.screen.set_focus(None)
        self.display = False
        self.post_message(self.Closed())

    def _show_message(self, text: str) -> None:
        self._hint.update(text or "enter drafts it, esc leaves it")
        self.set_class(bool(text), "-wrong")


def _describe(field: LiveField) -> Content:
    low, high = formats.setting(field.live.low), formats.setting(field.live.high)
    off = ", or off" if field.live.optional else ""
    return Content.assemble((field.key, "bold"), f"  {field.description} Allowed: {low} to {high}{off}.")
