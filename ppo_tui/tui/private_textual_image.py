"""Private interfaces of textual-image: its sixels, and Kitty's placeholders.

Its widgets send a whole picture, enlarged, for each change, and look for the size of cells on the way; its package of
renderables asks the terminal while it is imported. Importing this file raises ImportError where a name is missing; the
game is then drawn in half blocks.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from PIL import Image
from textual_image._sixel import image_to_sixels

from .pixels import Indexed


@contextlib.contextmanager
def _no_terminal() -> Iterator[None]:
    """Keep a library from asking the terminal."""
    before = sys.__stdout__
    sys.__stdout__ = None  # type: ignore[misc]
    try:
        yield
    finally:
        sys.__stdout__ = before  # type: ignore[misc]


with _no_terminal():
    from textual_image.renderable.tgp import _NUMBER_TO_DIACRITIC, _PLACEHOLDER

MOST_CELLS = len(_NUMBER_TO_DIACRITIC)
"""Most lines and columns of a picture in placeholders."""


def placeholders(line: int, columns: int) -> list[str]:
    """The cells of a line of a picture in Kitty's protocol.

    Each names its place in the picture; the number of the picture is the cell's colour.
    """
    start = chr(_PLACEHOLDER) + chr(_NUMBER_TO_DIACRITIC[line])
    return [start + chr(_NUMBER_TO_DIACRITIC[column]) for column in range(columns)]


def sixels(picture: Indexed) -> str:
    """A picture as sixels, in its own size."""
    image = Image.fromarray(picture.numbers)
    image.putpalette(picture.colours.tobytes())
    return image_to_sixels(image)
