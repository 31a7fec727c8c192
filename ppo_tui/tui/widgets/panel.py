"""A panel of text; only changed lines are repainted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import zip_longest

from textual.content import Content
from textual.geometry import Size
from textual.strip import Strip
from textual.style import Style
from textual.visual import Visual
from textual.widget import Widget

from ..controller import Controller
from ..topics import Topic
from .line_strips import LineStrips
from .painting import Filters, repaint
from .plain import Plain

_BLANK = Content("")

_Look = tuple[Size, Style, str]

FAR = 1_000_000
"""Rows that lie beyond the end of every list."""


class Panel(Plain, Widget):
    """Base of the screen's text panels, drawn for their size."""

    def __init__(self, controller: Controller, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.controller = controller
        self._shown: list[Content] = []
        self._strips: dict[int, Strip] = {}
        self._look: _Look | tuple[()] = ()
        self._drawn_from: object = None
        self._line_strips: LineStrips | None = None  # in the present look, and the filters likewise
        self._filters: Filters | None = None

    def draw(self, width: int, height: int) -> Content:
        """The text for `width` × `height` cells; blank by default."""
        return Content("")

    def drawn_from(self) -> object:
        """The sources of the text: nothing is drawn while they are equal.

        None where only drawing tells.
        """
        return None

    def topics(self) -> Sequence[Topic]:
        """The things in it with a card; none by default."""
        return ()

    @property
    def topic(self) -> Topic | None:
        """The one of them under the cursor; by default the first."""
        return next(iter(self.topics()), None)

    def topic_at(self, x: int, y: int) -> Topic | None:
        """The thing in column `x` of line `y`; by default `topic`."""
        return self.topic

    def move(self, across: int, down: int) -> None:
        """Answer the arrow keys; nothing by default."""

    def page(self, direction: int) -> None:
        """Answer the page keys, likewise."""
        self.move(0, direction * max(1, self.content_size.height - 1))

    def end(self, direction: int) -> None:
        """Answer home and end, likewise."""
        self.move(0, direction * FAR)

    def lines(self, width: int, height: int) -> list[Content]:
        """The lines of `draw`."""
        return self.draw(width, height).split("\n")

    def renew(self) -> None:
        """Repaint the changed lines, if visible."""
        if self._look and self._drawn_from is not None and self._drawn_from == self.drawn_from():
            return  # in another look, Textual asks for its lines
        look = self._present_look()
        size = look[0]
        if not size.area:
            self._look = ()  # what it shows next is drawn anew, as the text may have changed while it was hidden
            return
        changed = self._draw_anew(look)
        if changed is None or (changed and self.text_selection is not None):
            self.refresh()
        elif changed:
            if self._filters is None:
                self._filters = Filters(self)
            repaint(self, [(y, 0, self._filters.apply(self._line(y, size.width))) for y in changed if y < size.height])

    def render_line(self, y: int) -> Strip:
        """A line of the content.

        Textual would render all lines anew for one that has changed, or for a new border.
        """
        if self.text_selection is not None:  # which reaches over lines
            return super().render_line(y)
        look = self._present_look()
        if self._look != look:
            self._draw_anew(look)
        return self._line(y, look[0].width).apply_offsets(0, y)

    def _line(self, y: int, width: int) -> Strip:
        """The strip of a line, made once."""
        if y not in self._strips:
            line = self._shown[y] if y < len(self._shown) and width > 0 else _BLANK  # of no width Textual makes none
            if self._line_strips is None:
                self._line_strips = LineStrips(self.visual_style)
            if line.cell_length <= width and "\t" not in line.plain:
                self._strips[y] = self._line_strips.strip(line, width)
            else:
                self._strips[y] = Visual.to_strips(self, line, width, 1, self.visual_style)[0]
        return self._strips[y]

    def _draw_anew(self, look: _Look) -> list[int] | None:
        """Draw, and return the changed lines; None for all."""
        shown = self._shown
        self._drawn_from = self.drawn_from()
        self._shown = self.lines(*look[0])
        if look != self._look:
            self._look = look
            self._strips.clear()
            self._line_strips = self._filters = None
            return None
        pairs = enumerate(zip_longest(self._shown, shown, fillvalue=_BLANK))
        changed = [y for y, (new, old) in pairs if new is not old and _fingerprint(new) != _fingerprint(old)]
        for y in changed:
            self._strips.pop(y, None)
        return changed

    def _present_look(self) -> _Look:
        """Size, style and theme: they change the look of unchanged text."""
        return self.content_size, self.visual_style, self.app.theme

    def render(self) -> Content:
        return self.draw(*self.content_size)


class KeptLine:
    """A line, drawn anew only after a change of its sources."""

    def __init__(self) -> None:
        self._source: object = None
        self._line = _BLANK

    def drawn(self, source: object, draw: Callable[[], Content]) -> Content:
        """The line for this source; never None."""
        if source != self._source:
            self._source, self._line = source, draw()
        return self._line


class LinedPanel(Panel):
    """A panel drawn line by line: subclasses give `lines`."""

    def draw(self, width: int, height: int) -> Content:
        return Content("\n").join(self.lines(width, height))


def _fingerprint(content: Content) -> tuple[object, ...]:
    """Everything visible of a content. Contents compare by text alone."""
    return content.plain, tuple(content.spans)


def fit(content: Content, width: int) -> Content:
    """`content` in exactly `width` cells of one line."""
    if "\n" in content.plain:  # a name or a state of others may hold any
        content = Content(" ").join(content.split("\n"))
    return content.truncate(width, ellipsis=True, pad=True)


def bar(share: float, width: int, style: str = "$primary") -> Content:
    """A bar of `width` cells, legible without colour.

    It is heavy as far as `share` (0..1), and light beyond.
    """
    return _bar(round(min(max(share, 0.0), 1.0) * width), width, style)


@lru_cache(maxsize=1024)
def _bar(full: int, width: int, style: str) -> Content:
    return Content.assemble(("━" * full, style), ("─" * (width - full), "$shadow"))
