"""Lines of text as strips of a widget, many times a second.

Textual would wrap, align and search each line for links, and combine its styles anew every time.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from rich.segment import Segment
from rich.style import Style as CellStyle
from textual.content import Content, Span
from textual.strip import Strip
from textual.style import Style

_Names = tuple[str | Style, ...]


class LineStrips:
    """Converts lines of text, on top of one style.

    Args:
        base: the style below that of the text.

    A line has at most as many cells as there are, and no tabs.
    """

    def __init__(self, base: Style) -> None:
        self._base = base
        self._combined: dict[_Names, CellStyle] = {}

    def strip(self, line: Content, width: int) -> Strip:
        """`line`, with blanks behind it up to `width` cells."""
        text = line.plain
        segments = [Segment(text[start:end], self._style(names)) for start, end, names in stretches(line.spans, text)]
        room = width - line.cell_length
        if room > 0:
            segments.append(Segment(" " * room, self._style(())))
        return Strip(segments, max(width, line.cell_length))

    def _style(self, names: _Names) -> CellStyle:
        if (known := self._combined.get(names)) is None:
            parsed = (Style.parse(name) if isinstance(name, str) else name for name in names)
            known = self._combined[names] = (self._base + Style.combine([self._base, *parsed])).rich_style
        return known


def stretches(spans: Sequence[Span], text: str) -> list[tuple[int, int, _Names]]:
    """Divide `text` into pieces of one style each.

    Returns start, end and styles of each stretch, the uppermost style last.
    """
    found: list[tuple[int, int, _Names]] = []
    at = 0
    for start, end, style in spans:
        if start < at or end > len(text):
            return _overlapping(spans, text)
        if start > at:
            found.append((at, start, ()))
        if end > start:
            found.append((start, end, (style,)))
        at = max(start, end)
    if at < len(text):
        found.append((at, len(text), ()))
    return found


def _overlapping(spans: Sequence[Span], text: str) -> list[tuple[int, int, _Names]]:
    edges = {0, len(text), *(min(edge, len(text)) for start, end, _ in spans for edge in (start, end))}
    return [
        (left, right, tuple(style for start, end, style in spans if start <= left and right <= end))
        for left, right in pairwise(sorted(edges))
    ]
