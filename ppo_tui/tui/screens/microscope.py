"""The microscope: the learner at work in one update."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content
from textual.geometry import Size

from ...protocol import RunState
from .. import keys
from ..controller import Controller
from ..topics import Explains, Topic
from ..widgets.inspected import PANES
from ..widgets.key_line import KeyLine
from ..widgets.panel import Panel, fit
from ..widgets.plain import Container
from .run_screen import RunScreen

_WIDTH, _HEIGHT = 48, 15
"""Cells of a pane, at least, where there is more than one."""

_MOST_ACROSS = 3


class Layout(NamedTuple):
    """Panes side by side and below one another, and pages of them."""

    across: int
    down: int
    pages: int

    @property
    def on_page(self) -> int:
        """Panes of a page; the last one may have fewer."""
        return math.ceil(len(PANES) / self.pages)


def layout_for(size: Size) -> Layout:
    """The layout of all panes in `size` cells, on few pages."""
    across = min(_MOST_ACROSS, max(1, size.width // _WIDTH))
    down = max(1, min(math.ceil(len(PANES) / across), size.height // _HEIGHT))
    pages = math.ceil(len(PANES) / (across * down))
    return Layout(across, math.ceil(math.ceil(len(PANES) / pages) / across), pages)


_HINTS = (" · n next, esc finishes it", " · n next, esc ends it", " · n next")
"""What to do with an update that has not ended, the longest that has room."""


class Place(Panel):
    """The inspected minibatch, and the page."""

    def __init__(self, controller: Controller, *, id: str | None = None) -> None:
        super().__init__(controller, id=id)
        self.where = ""

    def draw(self, width: int, height: int) -> Content:
        event, view = self.controller.view.inspections.newest, self.controller.view
        text = "no update seen yet"
        if event:
            text = f"update {event.update:,} · epoch {event.epoch} of {event.epochs} · "
            text += f"minibatch {event.minibatch} of {event.minibatches}"
            if not event.done and view.state is RunState.PAUSED:
                room = width - len(self.where) - len(text) - 3
                text += next((hint for hint in _HINTS if len(hint) <= room), "")
        return fit(Content.assemble((f"{self.where}   " if self.where else "", "bold"), text), width)


class MicroscopeScreen(Explains, RunScreen):
    """The learner's newest update, in pictures.

    It is measured while this screen is open, and in a replay as far as the record goes.
    """

    BINDINGS: ClassVar[list[BindingType]] = [*keys.bindings(keys.MICROSCOPE)]

    def __init__(self, controller: Controller, *, ascii: bool = False) -> None:
        super().__init__(controller)
        self._place = Place(controller, id="place")
        self._panes = [kind(controller, ascii=ascii) for kind in PANES]
        self._grid = Container(*self._panes, id="panes")
        self._page = 0

    def compose(self) -> ComposeResult:
        yield self.header
        yield self._place
        yield self._grid
        yield KeyLine()

    def topics(self) -> tuple[Sequence[Topic], int]:
        """All panes, the first one of this page chosen."""
        first = next((number for number, pane in enumerate(self._panes) if pane.display), 0)
        return [topic for pane in self._panes for topic in pane.topics()], first

    def on_mount(self) -> None:
        if self.controller.session.is_record and not self.controller.view.inspections.newest:
            self._page = len(PANES)  # the last one, over all updates, which every record has

    def on_resize(self, event: events.Resize) -> None:
        self._lay_out()

    def renew(self) -> None:
        super().renew()
        self._place.renew()
        for pane in self._panes:
            if pane.display:
                pane.renew()

    def _lay_out(self) -> None:
        """Show the panes of the page."""
        layout = layout_for(Size(self.size.width, self.size.height - 3))
        self._page = min(self._page, layout.pages - 1)
        first = self._page * layout.on_page
        shown = self._panes[first : first + layout.on_page]
        self._grid.styles.grid_size_columns = layout.across
        self._grid.styles.grid_size_rows = max(1, math.ceil(len(shown) / layout.across))
        for pane in self._panes:
            pane.display = pane in shown
            pane.styles.column_span = 1
        shown[-1].styles.column_span = layout.across - (len(shown) - 1) % layout.across
        self._place.where = f"page {self._page + 1} of {layout.pages}" if layout.pages > 1 else ""
        self.call_after_refresh(self.renew)

    # ── Keys ────────────────────────────────────────────────────────────────────────────────────────────────

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "next_minibatch":
            return self.controller.can_step_minibatches
        return super().check_action(action, parameters)

    def action_next_minibatch(self) -> None:
        self.controller.step_minibatch()
        self.header.renew()

    def action_turn(self, direction: int) -> None:
        """Go to the next or the previous page, around the end."""
        pages = layout_for(Size(self.size.width, self.size.height - 3)).pages
        self._page = (self._page + direction) % pages
        self._lay_out()
