"""Helpers to print results: JSON, tables, values of metrics."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import msgspec
from rich.console import Console

from ..errors import DamagedRunError
from ..runs import RunDirectory

Read = TypeVar("Read")


def print_json(content: Any) -> None:
    """Print whatever msgspec can encode, indented, as one JSON value."""
    print(msgspec.json.format(msgspec.json.encode(content), indent=2).decode())


def table_console() -> Console:
    """Make a console for tables on stdout, wide in files and pipes."""
    return Console() if sys.stdout.isatty() else Console(width=500)


def print_skipped(problems: tuple[str, ...]) -> None:
    """Print on stderr why newer checkpoints are not used."""
    for problem in problems:
        print(f"passed over: {problem}", file=sys.stderr)


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
