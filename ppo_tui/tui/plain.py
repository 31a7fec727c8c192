"""The screen in plain characters, for fonts and locales without the others."""

from __future__ import annotations

from rich.cells import cell_len
from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

_PLAIN = {
    **dict.fromkeys("─╌┄┈╴╶", "-"),
    **dict.fromkeys("━╸╺", "="),
    **dict.fromkeys("│┃┆┊▏▎▕▌▐", "|"),
    **dict.fromkeys("╭╮╰╯┌┐└┘├┤┬┴┼┏┓┗┛┣┫┳┻╋", "+"),
    **dict.fromkeys("▔▀", "^"),
    **dict.fromkeys("▁▄", "_"),
    **dict(zip("▂▃▅▆▇█", ".-+*%#", strict=True)),
    **dict(zip("▓▒░", "%+.", strict=True)),
    **dict(zip("▲▼▸▶◂◀→←↑↓↻★◆✓✗■○●•·‖⏎⇧±×–—…ελγ²₁₂", "^v>><<><^v@*+vxXoo*.=<^~x--.elg212", strict=True)),
}


class PlainCharacters(LineFilter):
    """Replaces every character that is not ASCII by ones that look like it and take the same room."""

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
