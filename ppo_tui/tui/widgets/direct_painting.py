"""Paint lines past the compositor, by private interfaces of Textual.

All private interfaces of Textual stand in this file and in `private_textual`.

For each line the compositor looks through all widgets of the screen, which takes many times as long as the line
itself: too long for frequent changes, on cores shared with the training.

Importing this file raises ImportError where Textual lacks one of these interfaces; `painting` then does without.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

from rich.console import Console
from textual._compositor import Compositor, CompositorUpdate
from textual._styles_cache import StylesCache
from textual.app import App
from textual.geometry import Region
from textual.screen import Screen
from textual.strip import Strip
from textual.widget import Widget


def _require_private_names() -> None:
    """Raise ImportError for a missing private name."""
    of_classes = ((App, "_display"), (Compositor, "layers_visible"), (StylesCache, "set_dirty"))
    of_instances = (
        (Screen, "_compositor"),
        (Widget, "_styles_cache"),
        (Widget, "_repaint_required"),
        (Widget, "_layout_required"),
    )
    missing = [name for owner, name in of_classes if not hasattr(owner, name)]
    missing += [name for owner, name in of_instances if name not in owner.__init__.__code__.co_names]
    if missing:
        raise ImportError(f"this version of Textual has no {', '.join(missing)}")


_require_private_names()


class PaintedSpans(CompositorUpdate):
    """Pieces of lines, and their places on the terminal.

    Args:
        spans: row and column of the terminal, from 0, and the cells there.
    """

    def __init__(self, spans: Iterable[tuple[int, int, Strip]]) -> None:
        self._spans = list(spans)

    def render_segments(self, console: Console) -> str:
        return "".join(f"\x1b[{row + 1};{column + 1}H{strip.render(console)}" for row, column, strip in self._spans)


def paint_directly(widget: Widget, pieces: Sequence[tuple[int, int, Strip]]) -> bool:
    """Paint pieces of a widget's content at once.

    Returns False, and paints nothing, where the widget is covered.
    """
    if not is_uncovered(widget):
        return False
    left, top = widget.content_region.offset
    spans = PaintedSpans((top + line, left + column, strip) for line, column, strip in pieces)
    widget.app._display(widget.screen, cast(Any, spans))  # takes updates of the compositor too, unlike its annotation
    offset = widget.content_offset
    regions = (Region(column, line, strip.cell_length, 1) for line, column, strip in pieces)
    widget._styles_cache.set_dirty(*(region.translate(offset) for region in regions))
    return True


def is_uncovered(widget: Widget) -> bool:
    """Tell whether all of the widget is visible.

    It is not below a dialog or a notification, nor beyond the screen's end, and its screen stands: of a screen that
    has just come, single lines would lie over the one before.
    """
    screen = widget.screen
    if screen is not widget.app.screen or screen._repaint_required or screen._layout_required:
        return False
    region, rows = widget.region, screen._compositor.layers_visible
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
