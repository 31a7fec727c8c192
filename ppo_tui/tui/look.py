"""What the user wants of the screen. Imports no Textual: it is chosen, and refused, before the run starts."""

from __future__ import annotations

import locale
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..errors import UsageError, did_you_mean
from .keymap import load_keymap

THEMES = ("dark", "light", "ansi")
"""The last one uses the 16 colours that the user has given the terminal."""


@dataclass(frozen=True)
class Look:
    """How the screen is drawn.

    Attributes:
        theme: one of `THEMES`.
        ascii: write characters of ASCII alone.
    """

    theme: str = THEMES[0]
    ascii: bool = False


@dataclass(frozen=True)
class ScreenOptions:
    """Everything that a user may ask of the screen.

    Attributes:
        fps: frames a second of the live game, 0 for none; None for what suits the terminal's connection.
        keymap: keys that the user has chosen, as `load_keymap` gives them.
    """

    look: Look = Look()
    fps: float | None = None
    keymap: Mapping[str, str] = field(default_factory=dict)


def choose_options(theme: str | None, ascii: bool, fps: float | None = None) -> ScreenOptions:
    """The options of the command line, and the user's own keys.

    Raises:
        UsageError: there is no such theme.
        ConfigError: the file with the keys makes no sense.
    """
    return ScreenOptions(choose_look(theme, ascii), fps, load_keymap())


def choose_look(theme: str | None, ascii: bool) -> Look:
    """The look for the command line's options; a locale without UTF-8 asks for ASCII too.

    Raises:
        UsageError: there is no such theme.
    """
    name = THEMES[0] if theme is None else theme
    if name not in THEMES:
        hint = did_you_mean(name, THEMES, otherwise=f"choose one of {', '.join(THEMES)}")
        raise UsageError(f"--theme {name!r}: there is no such theme", hint=hint)
    unicode = locale.getencoding().lower().replace("-", "").replace("_", "") == "utf8"
    return Look(name, ascii or not unicode)
