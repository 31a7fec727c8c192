"""Repaint changed cells, if possible past Textual's compositor."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from .plain import Plain

if TYPE_CHECKING:
    from ..terminal_app import TerminalApp

PAINTS_DIRECTLY = True
"""Whether cells can be painted past the compositor, so that pictures can lie over others."""

try:
    from .direct_painting import is_uncovered, paint_directly, paint_now, painting_together
except ImportError:  # another version of Textual: paint through its compositor
    PAINTS_DIRECTLY = False

    def paint_directly(widget: Plain, pieces: Sequence[tuple[int, int, Strip]]) -> bool:
        return False

    def is_uncovered(widget: Plain) -> bool:
        return False

    def painting_together(app: TerminalApp) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def paint_now(widget: Plain) -> None:
        """Nothing is held back."""


def repaint(widget: Plain, pieces: Sequence[tuple[int, int, Strip]]) -> None:
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
        segments = list(strip)
        for line_filter in self._filters:
            segments = line_filter.apply(segments, self._background)
        return Strip(segments, strip.cell_length)  # a strip is expensive: one for all filters
