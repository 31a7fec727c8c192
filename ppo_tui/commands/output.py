"""Helpers to print results: JSON, tables, values of metrics."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from ..text import escaped_json, one_line

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

from ..errors import DamagedRunError
from ..runs import RunDirectory

Read = TypeVar("Read")

LINE_SECONDS = 5.0
"""Least time between two lines of progress where stderr is no terminal."""


def print_json(content: Any) -> None:
    """Print whatever msgspec can encode, indented, as one JSON value.

    Control characters and lone surrogates are escaped, and all that is not ASCII where stdout cannot take it.
    """
    ascii = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("-", "") != "utf8"
    print(escaped_json(json.dumps(_json_value(msgspec.to_builtins(content)), indent=2, ensure_ascii=ascii)))


def _json_value(value: Any) -> Any:
    """`value` of plain types with null for NaN and infinities.

    JSON has neither.
    """
    match value:
        case float():
            return value if math.isfinite(value) else None
        case dict():
            return {key: _json_value(item) for key, item in value.items()}
        case list() | tuple():
            return [_json_value(item) for item in value]
    return value


def table_console() -> Console:
    """Make a console for tables on stdout, wide in files and pipes."""
    from ..console import PrintableConsole

    console = PrintableConsole()
    return console if console.is_terminal else PrintableConsole(width=500)


def cell(text: str, style: str = "") -> Text:
    """A cell of a table with a text of any origin.

    It is never markup, and as wide as it looks.
    """
    from rich.text import Text

    return Text(one_line(text), style)


def print_skipped(problems: tuple[str, ...]) -> None:
    """Print on stderr why newer checkpoints are not used."""
    for problem in problems:
        print(f"skipped: {problem}", file=sys.stderr)


def metric_value(value: float) -> str:
    """Format a value of any metric: 0.0123, 9.37, 475.2, 12,345.6.

    `formats.number` would drop tenths of a score, `formats.score` digits of a small loss.
    """
    magnitude = abs(value)
    if magnitude >= 100 or value == 0:
        return f"{value:,.1f}"
    return f"{value:.2f}" if magnitude >= 1 else f"{value:.3g}"


def whole_runs(runs: Iterable[RunDirectory], read: Callable[[RunDirectory], Read]) -> list[Read]:
    """Read runs, and leave out damaged ones, with a word on stderr.

    Raises:
        DamagedRunError: none is left.
    """
    whole, damages = [], []
    for run in runs:
        try:
            whole.append(read(run))
        except DamagedRunError as error:
            damages.append(error)
    if not whole and damages:
        raise damages[0]
    for error in damages:
        print(f"left out: {error.message}", file=sys.stderr)
    return whole
