"""The base of all screens above the main one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Generic, TypeVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Input

from .. import keys
from ..controller import Controller
from ..topics import Explains, Topic
from ..widgets.filter_line import FilterLine, matches
from ..widgets.header import Header
from ..widgets.key_line import KeyLine
from ..widgets.listing import Listing
from ..widgets.plain import Static, Vertical
from .once import Page

T = TypeVar("T")


class RunScreen(Page[None]):
    """A whole screen about the run, above the main one."""

    def __init__(self, controller: Controller) -> None:
        super().__init__()
        self.controller = controller
        self.header = Header(controller, id="header")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Disable keys while a line is typed."""
        return not isinstance(self.focused, Input)

    def on_screen_resume(self, event: events.ScreenResume) -> None:  # Textual calls it after a subclass's own
        self.call_after_refresh(self.renew)

    def renew(self) -> None:
        """Bring it up to date, as new events have come."""
        self.header.renew()

    def action_back(self) -> None:
        self.dismiss()


class ListScreen(Explains, RunScreen, Generic[T]):
    """A list with a cursor, a filter, and details of one item."""

    BINDINGS: ClassVar[list[BindingType]] = [*keys.bindings(keys.LIST)]
    NAME = ""
    EMPTY = ""

    def __init__(self, controller: Controller) -> None:
        super().__init__(controller)
        self._listing = Listing(controller, empty=self.EMPTY, id="listing")
        self._details = Static(id="details")
        self._filter = FilterLine(self.NAME.lower())
        self._items: Sequence[T] = ()

    # For subclasses:

    def items(self) -> Sequence[T]:
        """All of them, in the order of the list."""
        raise NotImplementedError

    def heading(self) -> str:
        raise NotImplementedError

    def row(self, item: T) -> Content:
        """The line of one item; the filter searches its words."""
        raise NotImplementedError

    def identity(self, item: T) -> object:
        """The identity of an item in a changing list, for the cursor."""
        return item

    def describe(self, item: T) -> Content:
        """The details of `item`, below the list."""
        raise NotImplementedError

    def choose(self, item: T) -> None:
        """Act on Enter; nothing unless a subclass overrides it."""

    def topics(self) -> tuple[list[Topic], int]:
        return [Topic(f"panel/{self.NAME.lower()}")], 0

    def between(self) -> Sequence[Widget]:
        """Widgets between the list and the details; none by default."""
        return ()

    # ────────

    def compose(self) -> ComposeResult:
        yield self.header
        with Vertical(id="body"):
            yield self._listing
            yield from self.between()
            yield self._details
        yield self._filter
        yield KeyLine()

    def renew(self) -> None:
        super().renew()
        everything = [(item, self.row(item)) for item in self.items()]
        shown = [(item, row) for item, row in everything if matches(self._filter.value, row.plain)]
        count = f"{len(shown)} of {len(everything)}" if self._filter.value else f"{len(everything)}"
        self.fill([item for item, _ in shown], [row for _, row in shown], f"{self.NAME} · {count}")

    def fill(self, items: Sequence[T], rows: Sequence[Content], title: str) -> None:
        """Show other items; the cursor stays with its own if possible."""
        at = self._listing.cursor
        if (chosen := self.chosen) is not None:
            known = self.identity(chosen)
            at = next((index for index, item in enumerate(items) if self.identity(item) == known), at)
        self._items = items
        self._listing.entitle(title)
        self._listing.show(Content(self.heading()), rows, at)
        self._describe()

    @property
    def chosen(self) -> T | None:
        """The item under the cursor."""
        return self._items[self._listing.cursor] if self._items else None

    def _describe(self) -> None:
        self._details.update(self.describe(self.chosen) if self.chosen is not None else Content(""))

    def on_listing_moved(self) -> None:
        self._describe()

    def on_listing_chosen(self) -> None:
        self.action_choose()

    def on_input_changed(self, message: Input.Changed) -> None:
        self.renew()

    def action_choose(self) -> None:
        if self.chosen is not None:
            self.choose(self.chosen)

    def action_move(self, across: int, down: int) -> None:
        self._listing.move(across, down)

    def action_page(self, direction: int) -> None:
        self._listing.page(direction)

    def action_end(self, direction: int) -> None:
        self._listing.end(direction)

    def action_filter(self) -> None:
        self._filter.show()

    def action_back(self) -> None:
        if self._filter.value:
            self._filter.clear_and_close()
        else:
            super().action_back()
