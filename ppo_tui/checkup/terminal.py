"""The check of the terminal."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping

from ..extras import install_command
from .finding import Finding, Status

SMALLEST, ROOMY = (60, 16), (80, 24)
"""Columns and lines: below the first size one status line remains, from the second on all panels fit."""

_MANY_COLOURS = ("256color", "direct", "kitty", "alacritty", "ghostty", "foot", "wezterm")


def check_terminal() -> Finding:
    """Describe the terminal on stdout: size, colours, characters."""
    if sys.stdout is None or not sys.stdout.isatty():
        return Finding(Status.OK, "stdout is not a terminal; runs print lines, as with --headless")
    columns, lines = shutil.get_terminal_size()
    return describe_terminal((columns, lines), os.environ, plain=_is_plain(), pixels=_pixels())


def _pixels() -> str:
    """The protocol of the terminal's pictures, or the reason for none."""
    from ..tui.pixels import MISSING, ask, reason_against
    from ..tui.screen_options import ScreenOptions

    reason = reason_against(ScreenOptions(), os.environ)
    if reason not in ("", MISSING):
        return f"no pixels ({reason})"
    graphics = ask(os.environ).graphics
    if graphics is None:
        return "no pixels (the terminal draws none)"
    return f"no pixels: {MISSING} ({install_command('pixels')})" if reason else f"the game in pixels ({graphics})"


def _is_plain() -> bool:
    from ..tui.screen_options import choose_look

    return choose_look(None, False).ascii


def describe_terminal(
    size: tuple[int, int], environment: Mapping[str, str], *, plain: bool, pixels: str = ""
) -> Finding:
    """Describe a terminal of this size and environment.

    Args:
        plain: its locale has ASCII alone.
        pixels: what it draws in pixels.
    """
    (columns, lines), term = size, environment.get("TERM", "")
    problems = []
    if term in ("", "dumb", "unknown"):
        problems.append(("its type is unknown", "set TERM to its type, such as xterm-256color, or use --headless"))
    if columns < SMALLEST[0] or lines < SMALLEST[1]:
        problems.append((f"below {SMALLEST[0]}×{SMALLEST[1]} one status line remains", "enlarge it"))
    elif columns < ROOMY[0] or lines < ROOMY[1]:
        problems.append((f"below {ROOMY[0]}×{ROOMY[1]} some panels are left out", "enlarge it"))
    if plain:
        problems.append(("its locale is not UTF-8: charts use ASCII instead of braille", "export LC_ALL=C.UTF-8"))
    colours = _colours(environment, term)
    if colours == 16:
        problems.append(("16 colours", "export COLORTERM=truecolor if it has more, else use --theme ansi"))
    described = {0: "no colours (NO_COLOR)", 16: "16 colours", 256: "256 colours"}.get(colours, "16 million colours")
    found = f"{term or 'no TERM'}, {columns}×{lines}, {described}, {'ASCII' if plain else 'UTF-8 and braille'}"
    found = ", ".join(filter(None, [found, pixels]))
    if not problems:
        return Finding(Status.OK, found)
    reasons = "; ".join(reason for reason, _ in problems if reason not in found)
    return Finding(Status.WARN, "; ".join(filter(None, [found, reasons])), "; ".join(cure for _, cure in problems))


def _colours(environment: Mapping[str, str], term: str) -> int:
    """Number of colours of the screen there."""
    if environment.get("NO_COLOR"):
        return 0
    if environment.get("COLORTERM", "").lower() in ("truecolor", "24bit"):
        return 2**24
    return 256 if any(name in term for name in _MANY_COLOURS) else 16


TERMINAL: dict[str, Callable[[], Finding]] = {"terminal": check_terminal}
