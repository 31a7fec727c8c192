"""Arguments and options that several commands share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from .tui.look import ScreenOptions

FpsOption = Annotated[
    float | None,
    typer.Option(min=0, max=60, metavar="N", help="Frames a second of the live game: 15, 4 over ssh; 0 for none."),
]
ThemeOption = Annotated[str | None, typer.Option(metavar="dark|light|ansi", help="Colours of the screen.")]
AsciiOption = Annotated[bool, typer.Option("--ascii", help="Draw the screen with plain characters.")]
RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="A run's name, its directory, or `latest`.")]


def screen_options(theme: str | None, ascii: bool, fps: float | None) -> ScreenOptions:
    """What the command line says about the screen; loads what checks it."""
    from .tui.look import choose_screen

    return choose_screen(theme, ascii, fps)
