"""Text in cells of a terminal: wide characters take two. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from rich.cells import cell_len, set_cell_size


def cut(text: str, width: int) -> str:
    """`text` in at most `width` cells, with an ellipsis for the rest."""
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, width - 1).rstrip() + "…" if width > 0 else ""


def padded(text: str, width: int, *, right: bool = False) -> str:
    """`text` in exactly `width` cells, cut or filled up with spaces.

    Args:
        right: it stands at the right edge.
    """
    text = cut(text, width)
    spaces = " " * (width - cell_len(text))
    return spaces + text if right else text + spaces


def longest(texts: Iterable[str]) -> int:
    """The cells of the longest text, 0 without any."""
    return max(map(cell_len, texts), default=0)
