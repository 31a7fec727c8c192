"""What the user wants the screen to look like. Imports no Textual: it is chosen before the run starts."""

from __future__ import annotations

import locale
from dataclasses import dataclass

from ..errors import UsageError, did_you_mean

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
