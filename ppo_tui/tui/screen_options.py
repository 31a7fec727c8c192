"""The user's choice of the screen's look.

This file imports no Textual: the choice is made before the run starts.
"""

from __future__ import annotations

import locale
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..errors import UsageError, did_you_mean
from .keys import load_keymap

PIXELS = ("auto", "on", "charts", "off")
"""The game in pixels: where the terminal can and is near, wherever it can, there with the charts, nowhere."""

THEMES = ("dark", "light", "ansi")
"""The last one uses the 16 colours that the user has given the terminal."""


@dataclass(frozen=True)
class Look:
    """The theme and the characters of the screen.

    Attributes:
        theme: one of `THEMES`.
        ascii: write ASCII characters alone.
    """

    theme: str = THEMES[0]
    ascii: bool = False


@dataclass(frozen=True)
class ScreenOptions:
    """The screen's options from the command line and the user's files.

    Attributes:
        keymap: the user's own keys, as `load_keymap` gives them.
        fps: frames per second of the live game, 0 for none; None suits the terminal's connection.
        pixels: one of `PIXELS`.
    """

    look: Look = field(default_factory=Look)
    keymap: Mapping[str, str] = field(default_factory=dict)
    fps: float | None = None
    pixels: str = PIXELS[0]


def choose_screen(theme: str | None, ascii: bool, fps: float | None, pixels: str | None = None) -> ScreenOptions:
    """The options of the command line, with the user's own keys.

    Raises:
        UsageError: there is no such theme or choice of pixels, or the file of the keys is not valid.
    """
    chosen = PIXELS[0] if pixels is None else pixels
    if chosen not in PIXELS:
        hint = did_you_mean(chosen, PIXELS, otherwise=f"choose one of {', '.join(PIXELS)}")
        raise UsageError(f"--pixels {chosen!r}: there is no such choice", hint=hint)
    return ScreenOptions(choose_look(theme, ascii), load_keymap(), fps, chosen)


def choose_look(theme: str | None, ascii: bool) -> Look:
    """The look for the command line's options.

    A locale without UTF-8 asks for ASCII too.

    Raises:
        UsageError: there is no such theme.
    """
    name = THEMES[0] if theme is None else theme
    if name not in THEMES:
        hint = did_you_mean(name, THEMES, otherwise=f"choose one of {', '.join(THEMES)}")
        raise UsageError(f"--theme {name!r}: there is no such theme", hint=hint)
    unicode = locale.getencoding().lower().replace("-", "").replace("_", "") == "utf8"
    return Look(name, ascii or not unicode)
