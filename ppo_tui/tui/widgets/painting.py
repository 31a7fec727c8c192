"""Repaint changed cells, if possible past Textual's compositor."""

from __future__ import annotations

from collections.abc import Sequence

from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

PAINTS_DIRECTLY = True
"""Whether cells can be painted past the compositor, so that pictures can lie over others."""

try:
    from .direct_painting import is_uncovered, paint_directly
except ImportError:  # another version of Textual: paint through its compositor
    PAINTS_DIRECTLY = False

    def paint_directly(widget: Widget, pieces: Sequence[tuple[int, int, Strip]]) -> bool:
        return False

    def is_uncovered(widget: Widget) -> bool:
        return False


def repaint(widget: Widget, pieces: Sequence[tuple[int, int, Strip]]) -> None:
    """Show pieces of a widget's content.

    The widget's ``render_line`` must return them too from now on.

    Args:
        pieces: line and column of the content, and the cells there, as `filtered`.
    """
    if not paint_directly(widget, pieces):
        widget.refresh(*(Region(column, line, strip.cell_length, 1) for line, column, strip in pieces))


class Filters:
    """The filters of a widget's lines, in its present style.

    Without colour, or in plain characters, where the user wants that.
    """

    def __init__(self, widget: Widget) -> None:
        self._filters = widget.get_line_filters()
        self._background = widget.background_colors[1]

    def apply(self, strip: Strip) -> Strip:
        for line_filter in self._filters:
            strip = strip.apply_filter(line_filter, self._background)
        return strip
