"""Paint lines past the compositor, by private interfaces of Textual.

All private interfaces of Textual stand in this file and in `private_textual`.

For each line the compositor looks through all widgets of the screen, which takes many times as long as the line
itself: too long for frequent changes, on cores shared with the training.

Importing this file raises ImportError where Textual lacks one of these interfaces; `painting` then does without.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from rich.console import Console
from textual._compositor import Compositor, CompositorUpdate
from textual._styles_cache import StylesCache
from textual.app import App
from textual.geometry import Region
from textual.screen import Screen
from textual.strip import Strip
from textual.widget import Widget

from .plain import Plain

if TYPE_CHECKING:
    from ..terminal_app import TerminalApp


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


class Place(NamedTuple):
    """The place of a widget on the terminal, until something moves.

    Attributes:
        rows: the layers of its screen, in a new list after every layout.
        uncovered: whether nothing lies above it.
        left, top: of its content on the terminal.
        above: lines of the widget above its content.
    """

    rows: Sequence[Sequence[tuple[Widget, Region, Region]]]
    uncovered: bool
    left: int
    top: int
    above: int

    @classmethod
    def of(cls, widget: Plain) -> Place:
        """The widget's place, looked for anew only after a layout."""
        rows = widget.screen._compositor.layers_visible
        if not isinstance(widget.place, cls) or widget.place.rows is not rows:
            (x, y), inset = widget.region.offset, widget.content_offset
            widget.place = cls(rows, _lies_on_top(widget, rows), x + inset.x, y + inset.y, inset.y)
        return widget.place


def paint_directly(widget: Plain, pieces: Sequence[tuple[int, int, Strip]]) -> bool:
    """Paint pieces of a widget's content at once.

    Returns False, and paints nothing, where the widget is covered.
    """
    if not is_uncovered(widget):
        return False
    _, _, left, top, above = Place.of(widget)
    app = cast("TerminalApp", widget.app)
    spans = [(top + line, left + column, strip) for line, column, strip in pieces]
    if app.spans is None:
        _display(app, spans)
    else:
        app.spans += spans
    widget._styles_cache.set_dirty(*(Region(0, above + line, 1, 1) for line, _, _ in pieces))
    return True


@contextlib.contextmanager
def painting_together(app: TerminalApp) -> Iterator[None]:
    """Paint everything of the block at its end, in one piece.

    Where the block has left the screen, nothing of it.
    """
    app.spans, screens = [], app.screen_stack
    try:
        yield
    finally:
        spans, app.spans = app.spans, None
        if spans and app.screen_stack == screens:
            _display(app, spans)


def paint_now(widget: Plain) -> None:
    """Paint the beginning of `painting_together`: a picture goes over it."""
    app = cast("TerminalApp", widget.app)
    if app.spans:
        spans, app.spans = app.spans, []
        _display(app, spans)


def _display(app: TerminalApp, spans: Iterable[tuple[int, int, Strip]]) -> None:
    app._display(app.screen, cast(Any, PaintedSpans(spans)))  # takes such updates too, unlike its annotation


def is_uncovered(widget: Plain) -> bool:
    """Tell whether all of the widget is visible.

    It is not below a dialog or a notification, nor beyond the screen's end, and its screen stands: of a screen that
    has just come, single lines would lie over the one before.
    """
    screen = widget.screen
    if screen is not widget.app.screen or screen._repaint_required or screen._layout_required:
        return False
    return Place.of(widget).uncovered


def _lies_on_top(widget: Widget, rows: Sequence[Sequence[tuple[Widget, Region, Region]]]) -> bool:
    region = widget.region
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
