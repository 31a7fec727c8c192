"""What commands print their results with."""

from __future__ import annotations

import sys
from typing import Any

import msgspec
from rich.console import Console


def print_json(content: Any) -> None:
    """Print what msgspec can encode, indented, as one JSON value."""
    print(msgspec.json.format(msgspec.json.encode(content), indent=2).decode())


def table_console() -> Console:
    """For tables on stdout: as wide as the terminal, or wide enough for any where a file or a pipe has no width."""
    return Console() if sys.stdout.isatty() else Console(width=500)
