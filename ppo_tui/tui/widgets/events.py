"""The newest notable events: checkpoints, edits, alarms, best games."""

from __future__ import annotations

from textual.content import Content

from .. import formats
from ..view import Kind, LogEntry
from .panel import Panel, fit

_SYMBOLS = {
    Kind.STATE: ("•", "$quiet"),
    Kind.EPISODE: ("★", "$primary"),
    Kind.CHECKPOINT: ("↓", "$success"),
    Kind.EDIT: ("±", "$secondary"),
    Kind.INFO: ("i", "$quiet"),
    Kind.WARNING: ("!", "bold $warning"),
    Kind.ERROR: ("✗", "bold $error"),
}


_TEXT_AT = 10
"""Where the text begins, behind time and symbol."""


def event_line(entry: LogEntry) -> Content:
    """Time, symbol and text of one entry."""
    symbol, style = _SYMBOLS[entry.kind]
    loud = style if entry.kind in (Kind.WARNING, Kind.ERROR) else ""
    return Content.assemble(
        (f"{formats.duration(entry.elapsed):>7} ", "$quiet"), (f"{symbol} ", style), (entry.text, loud)
    )


class Events(Panel):
    """As many events as fit, the newest at the bottom."""

    def on_mount(self) -> None:
        self.border_title = "Events"

    def draw(self, width: int, height: int) -> Content:
        if width < 1 or height < 1:
            return Content("")
        newest = [event_line(entry) for entry in list(self.run.view.log)[-height:]]
        if height > 3:
            newest = [line for entry in newest for line in _wrapped(entry, width)][-height:]
        return Content("\n").join(fit(line, width) for line in newest)


def _wrapped(line: Content, width: int) -> list[Content]:
    """`line` in as many lines as it needs, the text kept clear of the time."""
    if line.cell_length <= width or width < 2 * _TEXT_AT:
        return [line]
    first, *rest = line[_TEXT_AT:].wrap(width - _TEXT_AT)
    return [line[:_TEXT_AT] + first, *(Content(" " * _TEXT_AT) + each for each in rest)]
