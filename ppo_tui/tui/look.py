"""How the screen is drawn: its theme, and plain characters for fonts and locales without the others."""

from __future__ import annotations

import locale
from dataclasses import dataclass

from rich.cells import cell_len
from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

from ..errors import UsageError, did_you_mean
from . import theme as themes

_PLAIN = {
    **dict.fromkeys("━─╌┄┈╴╶╸╺", "-"),
    **dict.fromkeys("│┃┆┊▏▎▕▌▐", "|"),
    **dict.fromkeys("╭╮╰╯┌┐└┘├┤┬┴┼┏┓┗┛┣┫┳┻╋", "+"),
    **dict.fromkeys("▔▀", "^"),
    **dict.fromkeys("▁▄", "_"),
    **dict(zip("▂▃▅▆▇█", ".-+*%#", strict=True)),
    **dict(zip("▓▒░", "%+.", strict=True)),
    **dict(zip("▲▼▸▶◂◀→←↑↓↻★✓✗■○●•·‖⏎⇧±×–—…ελγ²₁₂", "^v>><<><^vo*vxXoo*.=<^~x--.elg212", strict=True)),
}


@dataclass(frozen=True)
class Look:
    """What the user wants the screen to look like.

    Attributes:
        theme: one of `theme.NAMES`.
        ascii: write characters of ASCII alone.
    """

    theme: str = "dark"
    ascii: bool = False


def choose_look(theme: str | None, ascii: bool) -> Look:
    """The look for the command line's options; a locale without UTF-8 asks for ASCII too.

    Raises:
        UsageError: there is no such theme.
    """
    name = theme or "dark"
    if name not in themes.NAMES:
        choices = ", ".join(themes.NAMES)
        raise UsageError(
            f"--theme {name!r}: there is no such theme",
            hint=did_you_mean(name, themes.NAMES, otherwise=f"choose one of {choices}"),
        )
    unicode = locale.getencoding().lower().replace("-", "").replace("_", "") == "utf8"
    return Look(name, ascii or not unicode)


class PlainCharacters(LineFilter):
    """Replaces every character that is not ASCII by one or two that look like it and take the same room."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        return [
            segment if segment.control or segment.text.isascii() else Segment(plain(segment.text), segment.style)
            for segment in segments
        ]


def plain(text: str) -> str:
    """`text` in ASCII, as wide as it was. Of braille remains how many of its dots are set."""
    return "".join(character if character.isascii() else _plain(character) for character in text)


def _plain(character: str) -> str:
    if "\u2800" <= character <= "\u28ff":
        return " .:-=+*%#"[(ord(character) - 0x2800).bit_count()]
    return _PLAIN.get(character, "?" * cell_len(character))
