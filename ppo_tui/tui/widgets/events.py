"""The newest notable events: checkpoints, edits, alarms, best episodes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from textual.content import Content

from ...plotting import formats
from ..controller import Controller
from ..log_entries import Kind, LogEntry
from ..topics import Topic, of_event
from .filter_line import matches
from .panel import Panel, fit

_SYMBOLS = {
    Kind.STATE: ("•", "$quiet"),
    Kind.EPISODE: ("★", "$primary"),
    Kind.CHECKPOINT: ("↓", "$success"),
    Kind.REWIND: ("↶", "$warning"),
    Kind.EVALUATION: ("◆", "$success"),
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
    """The newest events, as many as fit, until the user scrolls.

    Attributes:
        filter: only events with all of these words are shown; the kind of an event counts as one of its words.
    """

    def __init__(self, controller: Controller, *, id: str | None = None) -> None:
        super().__init__(controller, id=id)
        self.filter = ""
        self._back = 0  # how many of the newest lines lie below the panel
        self._newest: LogEntry | None = None

    def on_mount(self) -> None:
        self.renew()

    def renew(self) -> None:
        log = self.controller.view.log
        self._stay()
        self.entitle(
            f"4 Events · {self.filter!r} {len(self._entries())} of {len(log)}" if self.filter else "4 Events",
            f"{self._back} more below" if self._back else "",
        )
        super().renew()

    def topics(self) -> list[Topic]:
        """The events left by the filter, the newest first."""
        return [of_event(entry) for entry in reversed(self._entries())] or [Topic("panel/events")]

    @property
    def topic(self) -> Topic | None:
        """The newest event in sight."""
        return self.topic_at(0, self.content_size.height - 1)

    def topic_at(self, x: int, y: int) -> Topic | None:
        """The event with line `y`, over all its lines."""
        width, height = self.content_size
        counted = [(entry, len(self._wrap(entry, width))) for entry in self._entries()]
        total = sum(lines for _, lines in counted)
        end = total - self._back
        line = max(0, end - height) + y
        for entry, lines in counted:
            if line < lines:
                return of_event(entry)
            line -= lines
        return of_event(counted[-1][0]) if counted else Topic("panel/events")

    def _wrap(self, entry: LogEntry, width: int) -> list[Content]:
        line = event_line(entry)
        return [line] if self.content_size.height <= 3 else _wrapped(line, width)

    def move(self, across: int, down: int) -> None:
        room = self.content_size.height
        self._back = max(0, min(self._back - down, len(self._lines(self.content_size.width)) - room))
        self.renew()

    def _stay(self) -> None:
        """Stay at the same lines when new ones come below."""
        entries, before = self._entries(), self._newest
        self._newest = entries[-1] if entries else None
        if not self._back or not any(entry is before for entry in entries):
            return
        newer = list(itertools.takewhile(lambda entry: entry is not before, reversed(entries)))
        width = self.content_size.width
        back = self._back + len(self._rows(newer, width))
        self._back = max(0, min(back, len(self._rows(entries, width)) - self.content_size.height))

    def drawn_from(self) -> object:
        return self.controller.view.logged, self.filter, self._back

    def draw(self, width: int, height: int) -> Content:
        if width < 1 or height < 1:
            return Content("")
        lines = self._lines(width, enough=height + self._back)
        lines = lines[: len(lines) - self._back][-height:]
        if not lines and self.filter:
            lines = [Content.assemble((f"no event has {self.filter!r}", "$quiet"))]
        return Content("\n").join(fit(line, width) for line in lines)

    def on_mouse_scroll_down(self) -> None:
        self.move(0, 1)

    def on_mouse_scroll_up(self) -> None:
        self.move(0, -1)

    def _entries(self) -> list[LogEntry]:
        return [entry for entry in self.controller.view.log if matches(self.filter, f"{entry.kind.value} {entry.text}")]

    def _lines(self, width: int, enough: int | None = None) -> list[Content]:
        """The newest lines, at least `enough` if there are as many."""
        entries = self._entries()
        return self._rows(entries if enough is None else entries[-enough:], width)

    def _rows(self, entries: Sequence[LogEntry], width: int) -> list[Content]:
        return [line for entry in entries for line in self._wrap(entry, width)]


def _wrapped(line: Content, width: int) -> list[Content]:
    """`line` in as many lines as needed, indented below the time."""
    if line.cell_length <= width or width < 2 * _TEXT_AT:
        return [line]
    first, *rest = line[_TEXT_AT:].wrap(width - _TEXT_AT)
    return [line[:_TEXT_AT] + first, *(Content(" " * _TEXT_AT) + each for each in rest)]
