"""The start screen of `ppo-tui` without a preset."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..tui.screen_options import ScreenOptions


def choose_preset(options: ScreenOptions) -> str | int:
    """Show the start screen; return the chosen preset, or an exit code.

    A chosen run is attached or replayed here.
    """
    from ..tui.session.idle import StartSession
    from ..tui.terminal import run_screen

    session = StartSession()
    outcome = run_screen(session, options)
    choice = session.choice
    if choice is None:
        return outcome.exit_code
    if choice.action == "start":
        print(f"starting {choice.name} …", file=sys.stderr, flush=True)
        return choice.name
    from ..runs import RunDirectory

    directory = RunDirectory(Path(choice.name))
    if choice.action == "attach":
        from .attach import show_run

        print(f"attaching to {directory.name} …", file=sys.stderr, flush=True)
        return show_run(directory, options)
    from ..tui.session import ReplaySession

    return run_screen(ReplaySession(directory.events), options).exit_code
