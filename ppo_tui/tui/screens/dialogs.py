"""Screens above the main one: leaving, help, and long texts."""

from __future__ import annotations

import enum
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from ..keys import INTERRUPT_HELP, Key


class Leave(enum.Enum):
    """How to leave a run that goes on."""

    SAVE = "save"
    NOW = "now"


class LeaveDialog(ModalScreen[Leave | None]):
    """Asks how to leave; None stays."""

    AUTO_FOCUS = "OptionList"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "choose('save')"),
        Binding("n", "choose('now')"),
        Binding("escape,q", "choose('stay')"),
    ]

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as box:
            box.border_title = "Leave the run?"
            yield OptionList(
                Option("s  Save a checkpoint and stop", id="save"),
                Option("n  Stop now, without saving", id="now"),
                Option("esc  Stay", id="stay"),
                compact=True,
            )
            yield Static("ctrl+c again stops now", classes="quiet")

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.action_choose(event.option.id or "stay")

    def action_choose(self, choice: str) -> None:
        self.dismiss(None if choice == "stay" else Leave(choice))


class TextScreen(ModalScreen[None]):
    """A text to scroll through, as long as the run likes."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,enter", "dismiss", "Close")]

    def __init__(self, title: str, text: Content, *, at_end: bool = False) -> None:
        super().__init__()
        self._title = title
        self._text = text
        self._at_end = at_end

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog -tall") as box:
            box.border_title = self._title
            box.border_subtitle = "↑↓ scroll · esc closes"
            yield Static(self._text)

    def on_mount(self) -> None:
        box = self.query_one(VerticalScroll)
        box.focus()
        if self._at_end:
            self.call_after_refresh(box.scroll_end, animate=False)


def help_text(keys: tuple[Key, ...]) -> Content:
    """All keys by group, from the table that the bindings are made of."""
    lines: list[Content] = []
    for group in dict.fromkeys(key.group for key in keys if key.help):
        lines.append(Content.assemble((group, "bold $primary")))
        rows = [(key.display, key.help) for key in keys if key.group == group and key.help]
        if group == "Screens":
            rows.append(("ctrl+c", INTERRUPT_HELP))
        lines += [Content.assemble((f"  {display:<7} ", "bold"), text) for display, text in rows]
        lines.append(Content(""))
    lines.append(
        Content.assemble(
            ("Charts ", "bold $primary"), "━ the solid curve lies above, the ╍ dashed one below; each has its own axis."
        )
    )
    lines.append(Content("  Behind a curve lie the raw values; behind the return, every single game."))
    lines.append(
        Content("  ┊ a setting was changed, ▴ a checkpoint was saved, ↶ the run was rewound: the dashed shadow")
    )
    lines.append(Content("  is what it abandoned. The cursor tells what happened near it."))
    return Content("\n").join(lines)
