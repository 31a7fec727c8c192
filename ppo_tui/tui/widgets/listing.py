"""A list of rows with a cursor."""

from __future__ import annotations

from collections.abc import Sequence

from textual import events
from textual.content import Content
from textual.message import Message

from ..controller import Controller
from .panel import Panel, fit


class Listing(Panel):
    """As many rows as fit, always with the cursor among them.

    Args:
        empty: its text without rows.
    """

    class Moved(Message):
        """The cursor stands elsewhere."""

    class Chosen(Message):
        """The mouse chose the row under the cursor."""

    def __init__(self, controller: Controller, *, empty: str, id: str | None = None) -> None:
        super().__init__(controller, id=id)
        self._empty = empty
        self._heading = Content("")
        self._rows: Sequence[Content] = ()
        self.cursor = 0

    def show(self, heading: Content, rows: Sequence[Content], cursor: int | None = None) -> None:
        """Take new rows, and a new place of the cursor if given."""
        self._heading, self._rows = heading, rows
        self.cursor = max(0, min(self.cursor if cursor is None else cursor, len(rows) - 1))
        self.renew()

    def say(self, empty: str) -> None:
        """Change the text without rows."""
        self._empty = empty

    def move(self, across: int, down: int) -> None:
        before = self.cursor
        self.cursor = max(0, min(self.cursor + down, len(self._rows) - 1))
        if self.cursor != before:
            self.renew()
            self.post_message(self.Moved())

    def draw(self, width: int, height: int) -> Content:
        if not self._rows:
            return fit(Content.assemble((self._empty, "$quiet")), width)
        first = self._first(height - 1)
        shown = self._rows[first : first + max(1, height - 1)]
        lines = [Content("  ") + self._heading.stylize("$quiet")]
        for number, row in enumerate(shown, start=first):
            here = number == self.cursor
            lines.append(
                Content.assemble(("▸ " if here else "  ", "bold $primary"), row.stylize("bold") if here else row)
            )
        return Content("\n").join(fit(line, width) for line in lines)

    def on_click(self, event: events.Click) -> None:
        row = self._first(self.content_size.height - 1) + event.y - self.gutter.top - 1
        if 0 <= row < len(self._rows):
            self.move(0, row - self.cursor)
            if event.chain > 1:
                self.post_message(self.Chosen())

    def on_mouse_scroll_down(self) -> None:
        self.move(0, 1)

    def on_mouse_scroll_up(self) -> None:
        self.move(0, -1)

    def _first(self, room: int) -> int:
        return min(max(0, self.cursor - room // 2), max(0, len(self._rows) - room))
