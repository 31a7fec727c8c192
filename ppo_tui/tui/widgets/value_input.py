"""A line for the value of a setting, with its description.

After a slip it says what was wrong.
"""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, Static

from ...config.live import LiveField
from ...errors import ConfigError
from ...plotting import formats
from ..controller import Controller


class ValueInput(Vertical):
    """A line shown on demand: Enter drafts the value, Escape leaves."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", show=False)]

    class Closed(Message):
        """The user is done typing."""

    def __init__(self, controller: Controller, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._controller = controller

    def compose(self) -> ComposeResult:
        yield Static(id="value-name")
        yield Input(compact=True, id="value-input")
        yield Static(id="value-error")

    def show(self, field: LiveField) -> None:
        """Begin with the present value of `field`, selected: typing replaces it."""
        self.query_one("#value-name", Static).update(_describe(field))
        self._show_message("")
        entry = self.query_one(Input)
        entry.value = formats.setting(self._controller.editor.drafted(field.key))
        self.display = True
        entry.focus()
        entry.action_select_all()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        try:
            self._controller.editor.draft_typed(event.value)
        except ConfigError as error:
            self._show_message(formats.one_line(str(error)))
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
        self.query_one("#value-error", Static).update(Content(text or "Enter drafts it, Esc leaves it"))
        self.set_class(bool(text), "-wrong")


def _describe(field: LiveField) -> Content:
    low, high = formats.setting(field.live.low), formats.setting(field.live.high)
    off = ", or off" if field.live.optional else ""
    return Content.assemble((field.key, "bold"), f"  {field.description} Usual: {low} to {high}{off}.")
