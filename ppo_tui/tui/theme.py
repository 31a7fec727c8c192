"""Themes in the colours of Okabe and Ito, made for colour-blind people.

See https://jfly.uni-koeln.de/color/.
"""

from __future__ import annotations

from dataclasses import replace

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter
from textual.theme import BUILTIN_THEMES, Theme

from ..text import printable

ORANGE, SKY, BLUE, PURPLE = "#E69F00", "#56B4E9", "#0072B2", "#CC79A7"
"""Colours of Okabe and Ito's palette."""

DARK = Theme(
    name="ppo-dark",
    primary=SKY,
    secondary=PURPLE,
    accent=SKY,
    success="#2BB58C",  # the palette's green, lightened to be read on black
    warning=ORANGE,
    error="#F0702B",  # its vermilion, likewise
    foreground="#D8DEE4",
    background="#101418",
    surface="#161B21",
    panel="#1D242C",
    variables={"shadow": "#4A5A68", "quiet": "#8B98A5", "frame": "#33404C"},
)

LIGHT = Theme(
    name="ppo-light",
    primary=BLUE,
    secondary="#9C4A77",
    accent=BLUE,
    success="#00704F",
    warning="#8A5A00",
    error="#A84300",
    foreground="#1B2229",
    background="#FBFBF8",
    surface="#F2F2EE",
    panel="#E6E7E2",
    dark=False,
    variables={"curve-2": "#A84300", "shadow": "#B7C2CC", "quiet": "#56616B", "frame": "#B9BFC4"},
)


ANSI = replace(
    BUILTIN_THEMES["ansi-dark"],
    name="ppo-ansi",
    primary="ansi_cyan",
    secondary="ansi_magenta",
    accent="ansi_cyan",
    error="ansi_bright_red",
)
"""The 16 colours that the user has given the terminal."""

THEMES = (DARK, LIGHT, ANSI)
BY_NAME = {"dark": DARK, "light": LIGHT, "ansi": ANSI}

_OF_CHARTS = {
    "active": "bold $primary",
    "title": "$foreground",
    "cursor": "$foreground",
    "axis": "$quiet",
    "mark": "$quiet",
    "reference": "$quiet",
    "abandoned": "$shadow",
    "threshold": "$success",
}


def chart_style(name: str) -> str:
    """One of `plotting.picture.STYLES`, as Textual writes a style.

    Component classes would be made anew for every chart whenever a class of its screen changes, with 80 objects each.
    """
    return _OF_CHARTS.get(name, f"${name}")


def with_own_colours(variables: dict[str, str], *, ansi: bool) -> dict[str, str]:
    """The variables of any theme, with those of our style sheet.

    Attributes of a cell such as transparency do not exist among the 16 colours of a terminal, so there the quiet
    text has the colour of all text, and the shadow is the grey among them.
    """
    own = {
        "curve-1": variables["primary"],
        "curve-2": variables["warning"],
        "curve-3": variables["success"],
        "curve-4": variables["secondary"],
        "curve-5": variables["error"],
        "curve-6": variables["foreground"],
        "shadow": "ansi_bright_black" if ansi else variables["foreground-disabled"],
        "frame": "ansi_bright_black" if ansi else variables["foreground-disabled"],
        "quiet": "ansi_default" if ansi else variables["foreground-muted"],
        "on-colour": "ansi_black" if ansi else variables["background"],
    }
    return own | variables


_PLAIN = {
    **dict.fromkeys("─╌┄┈╴╶", "-"),
    **dict.fromkeys("━╸╺", "="),
    **dict.fromkeys("│┃┆┊▏▎▕▌▐", "|"),
    **dict.fromkeys("╭╮╰╯┌┐└┘├┤┬┴┼┏┓┗┛┣┫┳┻╋", "+"),
    **dict.fromkeys("▔▀", "^"),
    **dict.fromkeys("▁▄", "_"),
    **dict(zip("▂▃▅▆▇█", ".-+*%#", strict=True)),
    **dict(zip("▓▒░", "%+-", strict=True)),
    **dict(
        zip(
            "▲▼▾▸▶◂◀→←↑↓↗↘↻↶★◆✓✗■○●•·‖⏎⇧±×–—…−≈≤≥ελγσβθαπδΣΔ∇∞Âˡᵏ′²₁₂",
            "^vv>><<><^v/\\@<*++xXooo.=<^~x--.-~<>elgsbtapdSDdoAlk'212",
            strict=True,
        )
    ),
}


class SafeCharacters(LineFilter):
    """A filter: no characters able to steer a terminal."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        return [segment if segment.control or segment.text.isprintable() else _safe(segment) for segment in segments]


def _safe(segment: Segment) -> Segment:
    """The same, as wide as it was."""
    return Segment(set_cell_size(printable(segment.text), cell_len(segment.text)), segment.style)


class PlainCharacters(LineFilter):
    """A filter: ASCII look-alikes of equal width for all other characters."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        return [
            segment if segment.control or segment.text.isascii() else Segment(plain(segment.text), segment.style)
            for segment in segments
        ]


def plain(text: str) -> str:
    """`text` in ASCII, as wide as it was.

    Of braille remains the number of dots.
    """
    return "".join(character if character.isascii() else _plain(character) for character in text)


def _plain(character: str) -> str:
    if "\u2800" <= character <= "\u28ff":
        return " .:-=+*%#"[(ord(character) - 0x2800).bit_count()]
    return _PLAIN.get(character, "?" * cell_len(character))
