"""Text from others, made safe for a terminal."""

from __future__ import annotations

import json
import unicodedata

_UNSAFE = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode categories that steer a terminal: control (C0, C1), format (bidi), lone surrogates, separators of lines."""

REPLACEMENT = "�"


def printable(text: str, *, lines: bool = False) -> str:
    """Replace the characters able to steer a terminal.

    Args:
        text: from a file, an environment, a server or an exception.
        lines: keep line feeds and tabs.
    """
    if text.isprintable():  # which none of these characters is
        return text
    return "".join(
        character if unicodedata.category(character) not in _UNSAFE or (lines and character in "\n\t") else REPLACEMENT
        for character in text
    )


def one_line(text: str) -> str:
    """`text` in one line, made printable; white space becomes single spaces."""
    return printable(" ".join(text.split()))


_FORMULA = "=+-@\t\r\n＝＋－＠"
"""Characters at whose sight a spreadsheet takes a text for a formula."""


def counted(number: int, noun: str) -> str:
    """A number of things: 1 worker, 8 workers."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def spreadsheet_cell(text: str) -> str:
    """`text` for a cell of a CSV file, never a formula."""
    formula = text.lstrip(" ").startswith(tuple(_FORMULA))
    return f"'{one_line(text)}" if formula else one_line(text)


def escaped_json(text: str) -> str:
    """Escape whatever steers a terminal in JSON; the meaning stays.

    Args:
        text: JSON of any encoder, lone surrogates included; its line feeds and tabs stay.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        _escaped(character) if unicodedata.category(character) in _UNSAFE and character not in "\n\t" else character
        for character in text
    )


def _escaped(character: str) -> str:
    return json.dumps(character)[1:-1] if character > "\x7f" else f"\\u{ord(character):04x}"
