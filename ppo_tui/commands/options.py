"""Arguments and options that several commands share."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from ..sinks.console import LineOptions
    from ..tui.screen_options import ScreenOptions

FpsOption = Annotated[
    float | None,
    typer.Option(min=0, max=60, metavar="N", help="Frames a second of the live game: 15, 4 over ssh; 0 for none."),
]
ThemeOption = Annotated[str | None, typer.Option(metavar="dark|light|ansi", help="Colours of the screen.")]
AsciiOption = Annotated[bool, typer.Option("--ascii", help="Draw the screen with plain characters.")]
LogFormatOption = Annotated[
    str,
    typer.Option(
        metavar="auto|plain|json",
        help="What a headless run prints: a bar on a terminal and lines elsewhere, lines, or each event as JSON.",
    ),
]
QuietOption = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print warnings, errors and how a headless run ended, nothing else.")
]
ResumeModeOption = Annotated[
    str | None,
    typer.Option("--resume", metavar="auto", help="Go on with the run of this --name or --run-dir if there is one."),
]
RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="A run's name, its directory, or `latest`.")]


def screen_options(theme: str | None, ascii: bool, fps: float | None) -> ScreenOptions:
    """What the command line says about the screen; loads what checks it."""
    from ..tui.screen_options import choose_screen

    return choose_screen(theme, ascii, fps)


def has_screen() -> bool:
    """Whether somebody can see a screen: on a terminal, or in a browser that `serve` shows it to."""
    return "TEXTUAL_DRIVER" in os.environ or (sys.stdout.isatty() and sys.stdin.isatty())


def line_options(log_format: str, quiet: bool) -> LineOptions | None:
    """What the command line says about the lines of a headless run; None where it says nothing.

    Raises:
        UsageError: there is no such format.
    """
    if log_format == "auto" and not quiet:
        return None
    from ..sinks.console import LOG_FORMATS, LineOptions

    if log_format not in LOG_FORMATS:
        hint = did_you_mean(log_format, LOG_FORMATS, otherwise=f"choose one of {', '.join(LOG_FORMATS)}")
        raise UsageError(f"--log-format {log_format!r}: there is no such format", hint=hint)
    return LineOptions(log_format, quiet)
