"""Textual's widgets, without markup in their texts.

The names of runs and environments, reasons, filters and tracebacks may hold anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import containers, widgets
from textual.content import Content
from textual.visual import VisualType
from textual.widget import Widget
from textual.widgets.option_list import Option

_MARGINS = 4
"""Most columns that an option takes beside its text."""

# Textual looks for styles along the first bases that are widgets, so this one is none.
_Mixin = Widget if TYPE_CHECKING else object


class Plain(_Mixin):
    """A mixin for titles in plain text; the first of the bases.

    Attributes:
        place: kept here by whoever paints past the compositor.
    """

    place: object = None
    _titles = ("", "")

    def entitle(self, title: str = "", subtitle: str = "") -> None:
        """Write into the border, if the title is new.

        Textual repaints the whole widget for each title that it is given, new or not.
        """
        if (title, subtitle) != self._titles:
            self._titles = title, subtitle
            self.border_title, self.border_subtitle = title, subtitle

    def render_str(self, text_content: str | Content) -> Content:
        return text_content if isinstance(text_content, Content) else Content(text_content)


class Static(Plain, widgets.Static):
    """A text of one or more lines."""

    def __init__(self, content: VisualType = "", *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(content, id=id, classes=classes, markup=False)


class OptionList(Plain, widgets.OptionList):
    """A list of options to choose from."""

    def __init__(self, *options: Option, compact: bool = False) -> None:
        super().__init__(*options, compact=compact, markup=False)

    def action_page_up(self) -> None:
        if has_lines(self):
            super().action_page_up()

    def action_page_down(self) -> None:
        if has_lines(self):
            super().action_page_down()


def has_lines(options: widgets.OptionList) -> bool:
    """Tell whether there is room for any option.

    Textual looks for the lines of options that have none, and fails.
    """
    return options.scrollable_content_region.width > _MARGINS and options.scrollable_content_region.height > 0


class Container(Plain, containers.Container):
    """A box of widgets."""

    @property
    def to_be_seen(self) -> bool:
        """Tell whether it is visible: displayed, and on the active screen."""
        return self.display and self.is_attached and self.screen.is_active


class Horizontal(Plain, containers.Horizontal):
    """Widgets side by side."""


class Vertical(Plain, containers.Vertical):
    """Widgets below one another."""


class VerticalScroll(Plain, containers.VerticalScroll):
    """The same, with more of them than fit."""
