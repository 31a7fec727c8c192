"""Screens above the main one: leaving, questions, and long texts."""

from __future__ import annotations

import enum
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Input
from textual.widgets.option_list import Option

from ..widgets.plain import OptionList, Static, Vertical, VerticalScroll
from .once import Dialog


class Leave(enum.Enum):
    """The ways to leave a run without ending it by itself."""

    DETACH = "detach"
    SAVE = "save"
    NOW = "now"


class LeaveDialog(Dialog[Leave | None]):
    """A question how to leave; None stays.

    Args:
        can_detach: offer to leave the screen alone.
    """

    AUTO_FOCUS = "OptionList"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("d", "choose('detach')"),
        Binding("s", "choose('save')"),
        Binding("n", "choose('now')"),
        Binding("escape,q", "choose('stay')"),
        Binding("j", "cursor(1)"),
        Binding("k", "cursor(-1)"),
    ]

    def __init__(self, *, can_detach: bool) -> None:
        super().__init__()
        self._can_detach = can_detach
        detach = [Option("d  Detach: leave the screen, the run continues", id="detach")] if can_detach else []
        self._options = OptionList(
            *detach,
            Option("s  Save a checkpoint and stop", id="save"),
            Option("n  Stop now, without saving", id="now"),
            Option("esc  Stay", id="stay"),
            compact=True,
        )

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as box:
            box.entitle("Leave the run?")
            yield self._options
            yield Static("ctrl+c again stops now", classes="quiet")

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.action_choose(event.option.id or "stay")

    def action_cursor(self, direction: int) -> None:
        self._options.action_cursor_down() if direction > 0 else self._options.action_cursor_up()

    def action_choose(self, choice: str) -> None:
        if choice != "detach" or self._can_detach:
            self.dismiss(None if choice == "stay" else Leave(choice))


class ConfirmDialog(Dialog[bool]):
    """A question before a step without an easy way back."""

    AUTO_FOCUS = "OptionList"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("y", "answer(True)"), Binding("escape,q,n", "answer(False)")]

    def __init__(self, question: str, text: str, yes: str) -> None:
        super().__init__()
        self._question, self._text = question, text
        self._options = OptionList(Option(f"y  {yes}", id="yes"), Option("esc  Stay", id="no"), compact=True)

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as box:
            box.entitle(self._question)
            yield Static(self._text)
            yield self._options

    def on_mount(self) -> None:
        self._options.highlighted = 1

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(event.option.id == "yes")

    def action_answer(self, yes: bool) -> None:
        self.dismiss(yes)


class CountDialog(Dialog[int | None]):
    """A question for a number from 1 on; None when dismissed."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)")]
    AUTO_FOCUS = "Input"

    def __init__(self, question: str) -> None:
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as box:
            box.entitle(self._question)
            yield Input(placeholder="10", compact=True, restrict=r"\d{0,9}")
            yield Static("enter starts, esc stays", classes="quiet")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        count = int(event.value or "0")
        if count:
            self.dismiss(count)


class TextScreen(Dialog[None]):
    """A text to scroll through, as long as the run likes."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,enter", "dismiss", "Close")]

    def __init__(self, title: str, text: Content, *, at_end: bool = False) -> None:
        super().__init__()
        self._at_end = at_end
        self._box = VerticalScroll(Static(text), classes="dialog -tall")
        self._box.entitle(title, "↑↓ scroll · esc closes")

    def compose(self) -> ComposeResult:
        yield self._box

    def on_mount(self) -> None:
        self._box.focus()
        if self._at_end:
            self.call_after_refresh(self._box.scroll_end, animate=False)

    def on_screen_resume(self, event: events.ScreenResume) -> None:
        if not self._at_end:
            self._box.scroll_home(animate=False)
