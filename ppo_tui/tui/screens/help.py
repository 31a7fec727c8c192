"""The help: every key with its sentence, and the signs."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Input

from ..keys import INTERRUPT, INTERRUPT_HELP, KEYS, Key, in_ascii, rows_by_group
from ..widgets.filter_line import FilterLine, matches
from ..widgets.plain import Static, Vertical, VerticalScroll
from .once import Dialog

_TEXT_AT = 12
"""Where the sentences begin, behind the keys."""

_WIDTH = 86
"""Cells of a line where the terminal has as many."""

_SIGNS = (
    ("━ ╍", "Charts: the solid curve lies above, the dashed one below; each has its own axis."),
    ("·", "Behind a curve lie the raw values; behind the return, every single episode."),
    ("┊ ▴ ↶", "A setting was changed, a checkpoint was saved, the run was rewound."),
    ("╌", "What a rewind abandoned is a dashed shadow."),
    ("busy", "Workers: the share of the last rollout that its environments took; the rest it waited for actions."),
    ("◂ ↻ ✗", "Workers: the others wait for this one, it was restarted, it is dead; eps counts episodes."),
    ("★ ↓ ◆ ↶", "Events: best episode, checkpoint, evaluation, rewind."),
    ("± ! ✗ •", "Events: change of a setting, warning, error, state."),
)


class HelpScreen(Dialog[None]):
    """All keys by group, as the user has them."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter,question_mark,f1", "leave", "Close"),
        Binding("slash", "search", "Search"),
        Binding("j", "scroll(1)", show=False),
        Binding("k", "scroll(-1)", show=False),
    ]
    DEFAULT_CSS = """
    HelpScreen .dialog { height: 100%; }
    HelpScreen VerticalScroll { height: 1fr; }
    """

    def __init__(self, keymap: Mapping[str, str], keys: Sequence[Key] = KEYS, *, ascii: bool = False) -> None:
        super().__init__()
        self._keymap, self._keys, self._ascii = keymap, keys, ascii
        self._text = Static(help_text(keymap, _WIDTH, keys=keys, ascii=ascii), id="help-text")
        self._scroll = VerticalScroll(self._text)
        self._filter = FilterLine("keys")
        self._shown = (_WIDTH, "")

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog -tall") as box:
            box.entitle("Keys", "/ search · esc closes")
            yield self._scroll
            yield self._filter

    def on_mount(self) -> None:
        self._scroll.focus()

    def on_screen_resume(self, event: events.ScreenResume) -> None:
        if not self._filter.value:
            self._scroll.scroll_home(animate=False)
        self.call_after_refresh(self._renew)

    def on_resize(self, event: events.Resize) -> None:
        self.call_after_refresh(self._renew)

    def on_input_changed(self, message: Input.Changed) -> None:
        self._renew()

    def on_descendant_blur(self) -> None:
        """Let the arrows scroll again once the line is left."""
        if self.focused is None:
            self._scroll.focus()

    def action_search(self) -> None:
        self._filter.show()

    def action_scroll(self, direction: int) -> None:
        self._scroll.scroll_relative(y=direction, animate=False)

    def action_leave(self) -> None:
        if self._filter.value:
            self._filter.clear_and_close()
        else:
            self.dismiss()

    def _renew(self) -> None:
        width = max(_TEXT_AT + 20, self._scroll.scrollable_content_region.width)
        wanted = (width, self._filter.value)
        if wanted != self._shown:  # laying all lines out again would delay the answer to the key
            self._shown = wanted
            self._text.update(help_text(self._keymap, *wanted, keys=self._keys, ascii=self._ascii))


def help_text(
    keymap: Mapping[str, str], width: int, wanted: str = "", *, keys: Sequence[Key] = KEYS, ascii: bool = False
) -> Content:
    """The keys with every word of `wanted`, by group.

    After the whole table come the signs.

    Sentences that take more than one line of `width` cells go on below their beginning.
    """
    lines: list[Content] = []
    for group, rows in _groups(keymap, keys, ascii):
        found = [(sign, text) for sign, text in rows if matches(wanted, f"{group} {sign} {text}")]
        if found:
            lines.append(Content.assemble((group, "bold $primary")))
            lines += [line for sign, text in found for line in _entry(sign, text, width)]
            lines.append(Content(""))
    return Content("\n").join(lines or [Content.assemble((f"no key has {wanted!r}", "$quiet"))])


def _groups(keymap: Mapping[str, str], keys: Sequence[Key], ascii: bool) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    for group, rows in rows_by_group(keymap, keys, ascii=ascii):
        entries = [(written, in_ascii(key.help) if ascii else key.help) for written, key in rows]
        if group == "Screens":
            entries.append((INTERRUPT, INTERRUPT_HELP))
        yield group, entries
    if keys is KEYS:
        yield "Signs", list(_SIGNS)


def _entry(sign: str, text: str, width: int) -> Iterator[Content]:
    first, *rest = textwrap.wrap(text, width - _TEXT_AT)
    yield Content.assemble((f"  {sign:<{_TEXT_AT - 3}} ", "bold"), first)
    for line in rest:
        yield Content(" " * _TEXT_AT + line)
