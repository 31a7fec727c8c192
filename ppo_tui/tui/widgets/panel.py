"""A panel of text; only changed lines are repainted."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content
from textual.strip import Strip
from textual.visual import Visual
from textual.widget import Widget

from ..controller import Controller
from ..topics import Topic
from .painting import filtered, repaint
from .plain import Plain

FAR = 1_000_000
"""Rows that lie beyond the end of every list."""


class Panel(Plain, Widget):
    """Base of the screen's text panels, drawn for their size."""

    def __init__(self, controller: Controller, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.controller = controller
        self._shown: list[Content] = []
        self._strips: dict[int, Strip] = {}
        self._look: tuple[object, ...] = ()
        self._drawn_from: object = None

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

    def renew(self) -> None:
        """Repaint the changed lines, if visible."""
        if not self.content_size.area:
            self._look = ()  # what it shows next is drawn anew, as the text may have changed while it was hidden
            return
        if (
            self._drawn_from is not None
            and self._drawn_from == self.drawn_from()
            and self._look == self._present_look()
        ):
            return
        changed = self._draw_anew()
        if changed is None or (changed and self.text_selection is not None):
            self.refresh()
        elif changed:
            repaint(self, [(y, 0, filtered(self, self.render_line(y))) for y in changed])

    def render_line(self, y: int) -> Strip:
        """A line of the content.

        Textual would render all lines anew for one that has changed, or for a new border.
        """
        if self.text_selection is not None:  # which reaches over lines
            return super().render_line(y)
        if self._look != self._present_look():
            self._draw_anew()
        if y >= len(self._shown) or not self.content_size.width:
            return Strip.blank(self.content_size.width, self.visual_style.rich_style)
        if y not in self._strips:
            strip = Visual.to_strips(self, self._shown[y], self.content_size.width, 1, self.visual_style)[0]
            self._strips[y] = strip.apply_offsets(0, y)
        return self._strips[y]

    def _draw_anew(self) -> list[int] | None:
        """Draw, and return the changed lines; None for all."""
        look, shown = self._present_look(), self._shown
        self._drawn_from = self.drawn_from()
        self._shown = self.draw(*self.content_size).split("\n")
        if look != self._look or len(shown) != len(self._shown):
            self._look = look
            self._strips.clear()
            return None
        pairs = enumerate(zip(self._shown, shown, strict=True))
        changed = [y for y, (new, old) in pairs if _fingerprint(new) != _fingerprint(old)]
        for y in changed:
            self._strips.pop(y, None)
        return changed

    def _present_look(self) -> tuple[object, ...]:
        """Size, style and theme: they change the look of unchanged text."""
        return self.content_size, self.visual_style, self.app.theme

    def render(self) -> Content:
        return self.draw(*self.content_size)


def _fingerprint(content: Content) -> tuple[object, ...]:
    """Everything visible of a content. Contents compare by text alone."""
    return content.plain, tuple(content.spans)


def fit(content: Content, width: int) -> Content:
    """`content` in exactly `width` cells."""
    return content.truncate(width, ellipsis=True, pad=True)


def bar(share: float, width: int, style: str = "$primary") -> Content:
    """A bar of `width` cells, legible without colour.

    It is heavy as far as `share` (0..1), and light beyond.
    """
    full = round(min(max(share, 0.0), 1.0) * width)
    return Content.assemble(("━" * full, style), ("─" * (width - full), "$shadow"))
