"""A panel: text drawn from the run, of which only the lines are repainted that read differently."""

from __future__ import annotations

from textual.content import Content
from textual.geometry import Region
from textual.strip import Strip
from textual.visual import Visual
from textual.widget import Widget

from ..controller import Controller
from .painting import filtered, is_uncovered, paint

FAR = 1_000_000
"""Rows that lie beyond the end of every list."""


class Panel(Widget):
    """Base of the screen's text panels. They write for the size that they have."""

    def __init__(self, run: Controller, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.run = run
        self._shown: list[Content] | None = None

    def draw(self, width: int, height: int) -> Content:
        """The text for `width` × `height` cells; blank unless a panel says otherwise."""
        return Content("")

    def move(self, across: int, down: int) -> None:
        """The arrow keys; a panel that has nothing to move through stays as it is."""

    def page(self, direction: int) -> None:
        """The page keys, likewise."""
        self.move(0, direction * max(1, self.content_size.height - 1))

    def end(self, direction: int) -> None:
        """Home and end, likewise."""
        self.move(0, direction * FAR)

    def renew(self) -> None:
        """Repaint the lines that have changed, if they are to be seen."""
        if not self.content_size.area:
            return
        lines, shown = self.draw(*self.content_size).split("\n"), self._shown
        if shown is None or len(lines) != len(shown):
            self.refresh()
            return
        pairs = enumerate(zip(lines, shown, strict=True))
        changed = [y for y, (new, old) in pairs if _fingerprint(new) != _fingerprint(old)]
        if not changed:
            return
        width = self.content_size.width
        regions = [Region(0, y, width, 1) for y in changed]
        if is_uncovered(self):
            self._shown = lines
            paint(self, ((y, 0, self._as_strip(lines[y], width)) for y in changed))
            self._set_dirty(*regions)  # what Textual keeps of them has gone out of date
            self.refresh(repaint=False)
        else:
            self.refresh(*regions)

    def _as_strip(self, line: Content, width: int) -> Strip:
        return filtered(self, Visual.to_strips(self, line, width, 1, self.visual_style)[0])

    def entitle(self, title: str = "", subtitle: str = "") -> None:
        """Write into the border. Textual repaints the whole panel for each title that it is given, new or not."""
        if (title, subtitle) != (self.border_title or "", self.border_subtitle or ""):
            self.border_title, self.border_subtitle = title, subtitle

    def render(self) -> Content:
        content = self.draw(*self.content_size)
        self._shown = list(content.split("\n"))
        return content


def _fingerprint(content: Content) -> tuple[object, ...]:
    """What makes two contents look the same: they compare by their text alone."""
    return content.plain, tuple(content.spans)


def fit(content: Content, width: int) -> Content:
    """`content` in exactly `width` cells."""
    return content.truncate(width, ellipsis=True, pad=True)


def bar(share: float, width: int, style: str = "$primary") -> Content:
    """A bar of `width` cells, heavy as far as `share` (0..1) and light beyond: legible without colour."""
    full = round(min(max(share, 0.0), 1.0) * width)
    return Content.assemble(("━" * full, style), ("─" * (width - full), "$shadow"))
