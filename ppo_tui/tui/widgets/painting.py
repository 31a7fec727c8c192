"""Painting past Textual's compositor: for what changes often, on a screen that shares its cores with the training.

A line that goes through the compositor has all widgets of the screen looked through for what else to paint; that takes
many times as long as the line.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from textual._compositor import CompositorUpdate
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget


class PaintedSpans(CompositorUpdate):
    """Pieces of lines, to be written where they belong on the terminal.

    Args:
        spans: row and column of the terminal, from 0, and what stands there.
    """

    def __init__(self, spans: Iterable[tuple[int, int, Strip]]) -> None:
        self._spans = list(spans)

    @property
    def cells(self) -> int:
        """How many cells are painted."""
        return sum(strip.cell_length for _, _, strip in self._spans)

    def render_segments(self, console: Console) -> str:
        return "".join(f"\x1b[{row + 1};{column + 1}H{strip.render(console)}" for row, column, strip in self._spans)


def is_uncovered(widget: Widget) -> bool:
    """Whether all of the widget is to be seen: no dialog, no notification, no end of the screen hides any of it."""
    if widget.screen is not widget.app.screen:
        return False
    region, rows = widget.region, widget.screen._compositor.layers_visible
    if region.y < 0 or region.bottom > len(rows):
        return False
    for row in range(region.y, region.bottom):
        for above, seen, _ in rows[row]:  # the topmost first
            if above is widget:
                if seen != region:
                    return False
                break
            if seen.overlaps(region):
                return False
        else:
            return False
    return True


def repaint(widget: Widget, pieces: Sequence[tuple[int, int, Strip]]) -> None:
    """Show pieces of a widget's content, which its ``render_line`` returns from now on as well.

    Args:
        pieces: line and column of the content, and what stands there, as `filtered`.
    """
    regions = [Region(column, line, strip.cell_length, 1) for line, column, strip in pieces]
    if not is_uncovered(widget):
        widget.refresh(*regions)
        return
    left, top = widget.content_region.offset
    spans = [(top + line, left + column, strip) for line, column, strip in pieces]
    widget.app._display(widget.screen, PaintedSpans(spans))
    widget._styles_cache.set_dirty(*(region.translate(widget.content_offset) for region in regions))


def filtered(widget: Widget, strip: Strip) -> Strip:
    """As this terminal shows it: without colour, or in plain characters, where the user wants that."""
    for line_filter in widget.get_line_filters():
        strip = strip.apply_filter(line_filter, widget.background_colors[1])
    return strip
