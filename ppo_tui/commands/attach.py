"""`ppo-tui attach` and `ppo-tui replay`: the screen for another process's run."""

from __future__ import annotations

import math
import os
import select
import shlex
import threading
import time
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UsageError
from .options import (
    LATEST,
    AsciiOption,
    FpsOption,
    PixelsOption,
    ReadonlyOption,
    RunArgument,
    ThemeOption,
    chosen_run,
    require_screen,
    screen_options,
)

if TYPE_CHECKING:
    from ..runs import RunDirectory
    from ..tui.screen_options import ScreenOptions

LEAVING_SECONDS = 3.0
"""Time for a screen to end after its tab has."""


def attach(
    run: RunArgument = LATEST,
    readonly: ReadonlyOption = False,
    take_control: Annotated[
        bool, typer.Option("--take-control", help="Control the run even if another screen does.")
    ] = False,
    fps: FpsOption = None,
    pixels: PixelsOption = None,
    theme: ThemeOption = None,
    ascii: AsciiOption = False,
) -> int:
    """Show a running run on the screen, with its whole history.

    The key d leaves the screen; the run continues.
    """
    end_with_tab()
    if readonly and take_control:
        raise UsageError("--readonly and --take-control exclude each other")
    require_screen("attach", "ppo-tui ctl RUN status prints how far a run is")
    options = screen_options(theme, ascii, fps, pixels)
    return show_run(chosen_run(run, "running"), options, readonly=readonly, take_control=take_control)


def show_run(
    run_dir: RunDirectory, options: ScreenOptions, *, readonly: bool = False, take_control: bool = False
) -> int:
    """Attach the screen to a running run and return the exit code.

    Raises:
        UsageError: the run is not running.
    """
    from ..tui.session import AttachedSession
    from ..tui.session_app import Departure
    from ..tui.terminal import run_screen

    outcome = run_screen(AttachedSession(run_dir, readonly=readonly, take_control=take_control), options)
    if outcome.departure is Departure.DETACHED:
        print(f"{run_dir.name} continues; see it again: ppo-tui attach {shlex.quote(run_dir.argument)}")
    elif run_dir.holder is None:
        _print_next(run_dir)
    return outcome.exit_code


def _print_next(run_dir: RunDirectory) -> None:
    """Print the next commands, after the end of the run."""
    from ..protocol import RunState
    from ..sinks.console import print_next

    facts = run_dir.read()
    if (state := facts.get("status")) in (RunState.FINISHED, RunState.STOPPED, RunState.FAILED):
        print_next(run_dir.argument, RunState(state), facts.get("update") or 0)


def replay(
    run: RunArgument = LATEST,
    speed: Annotated[
        float | None,
        typer.Option(min=0.01, max=1e6, metavar="X", help="Speed relative to the run; by default it takes a minute."),
    ] = None,
    theme: ThemeOption = None,
    ascii: AsciiOption = False,
) -> int:
    """Replay the record of a run on the screen."""
    if speed is not None and math.isnan(speed):
        raise UsageError("--speed nan: expected a number above 0")
    end_with_tab()
    require_screen("replay", "events.jsonl in the run's directory is the record")
    options = screen_options(theme, ascii, 0.0)
    from ..tui.session import ReplaySession
    from ..tui.terminal import run_screen

    return run_screen(ReplaySession(chosen_run(run).events, speed=speed), options).exit_code


def end_with_tab() -> None:
    """End this process soon after the tab of a browser has closed.

    A screen that is drawing for nobody may wait for ever. The run is another process's.
    """
    if "TEXTUAL_DRIVER" in os.environ:
        threading.Thread(target=_await_hang_up, name="tab", daemon=True).start()


def _await_hang_up() -> None:
    """Wait until the server has closed stdin, or is no more."""
    stdin = select.poll()
    stdin.register(0, 0)  # a hang-up is reported in any case
    if any(seen & select.POLLHUP for _, seen in stdin.poll()):
        time.sleep(LEAVING_SECONDS)
        os._exit(0)
