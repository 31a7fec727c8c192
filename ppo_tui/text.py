"""Text from others, made safe for a terminal."""

from __future__ import annotations

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
