"""`ppo-tui runs`, `ppo-tui ctl` and `ppo-tui presets`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import PPOTuiError, UsageError
from ..text import printable
from .options import JsonOption, RunArgument

if TYPE_CHECKING:
    from ..runs import RunSummary

_COLOURS = {
    "running": "green",
    "training": "green",
    "paused": "yellow",
    "finished": "bold",
    "failed": "red",
    "crashed": "red",
}

_HEADINGS = ("name", "state", "environment", "steps", "done", "return", "best", "started", "age")
_NUMBERS = ("steps", "done", "return", "best", "age")

_WIDE = 110
"""Least width of a terminal, in columns, at which the table shows when runs started."""


def runs(
    as_json: JsonOption = False,
    delete: Annotated[
        str | None, typer.Option("--delete", metavar="RUN", help="Delete a run that has ended, with its checkpoints.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Delete without asking.")] = False,
) -> None:
    """List the runs in ./runs, newest first, with the trials of sweeps."""
    from ..runs import list_runs
    from ..runs.client import ask_runs

    if delete is not None:
        _delete(delete, yes=yes)
    elif yes:
        raise UsageError("--yes without --delete RUN: nothing is asked")
    else:
        print_runs(ask_runs(list_runs()), as_json=as_json)


def _delete(name: str, *, yes: bool) -> None:
    """Delete a run, after a question on the terminal."""
    from ..runs import find_run
    from ..runs.deletion import delete_run, weigh

    path = find_run(name).path
    loss = weigh(path).words
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError(f"--delete {path.name}: nobody can be asked here", hint="add --yes to delete it")
        print(f"Delete {printable(str(path))} for good? Lost are {loss}, and its record. [y/N] ", end="", flush=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            print("nothing is deleted")
            return
    delete_run(path)
    print(f"{printable(path.name)} is deleted: {loss}")


def ctl(
    run: RunArgument,
    action: Annotated[
        str, typer.Argument(metavar="ACTION", help="pause, resume, step, save, stop, set, rewind or status.")
    ],
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[N | KEY VALUE | PATH]", help="Arguments of step, set and rewind.")
    ] = None,
    as_json: JsonOption = False,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Return once the command is accepted, before it has taken effect.")
    ] = False,
) -> None:
    """Control a running run from a script.

    For example `ppo-tui ctl latest set optim.learning_rate 1e-4`. --json is for status.

    Exit codes: 0 done, 2 refused or not running, 3 the run ended first.
    """
    from ..runs import find_run
    from ..runs.client import command_from, status, steer

    found = find_run(run)
    if action == "status":
        if arguments:
            raise UsageError(f"status takes no arguments, got {' '.join(arguments)}")
        print_run(status(found), as_json=as_json)
    else:
        print(steer(found, command_from(action, arguments or []), wait=not no_wait))


def presets(
    name: Annotated[str | None, typer.Argument(help="Print the file of this preset.")] = None,
) -> None:
    """List the presets, or print one to start your own from."""
    from ..config import list_presets, preset_path, read_preset_text

    if name is not None:
        print(read_preset_text(preset_path(name)), end="")
        print(_expectations(name), end="")
        return
    found = list_presets()
    width = max(map(len, found))
    for preset, description in found.items():
        print(f"{preset:<{width}}  {description}")


def _expectations(preset: str) -> str:
    """The milestones of a shipped preset, as comments of TOML.

    Empty for one without a measured curve.
    """
    from ..expectations import read_curve
    from ..plotting import formats

    try:
        curve = read_curve(preset)
    except (OSError, PPOTuiError) as error:
        print(f"the measured curve is not shown: {error}", file=sys.stderr)
        return ""
    if curve is None:
        return ""
    seeds = f"{curve.seeds} {'seed' if curve.seeds == 1 else 'seeds'}"
    lines = ["", f"What to expect: the mean return of {seeds}, on {curve.machine}", ""]
    lines.append(f"{'return':>8}  {'steps':>8}  after")
    for milestone in curve.milestones:
        step = curve.reached(milestone)
        steps, time = (
            ("never", "") if step is None else (formats.count(step), formats.span(curve.at(curve.seconds, step)))
        )
        lines.append(f"{milestone:>8g}  {steps:>8}  {time}")
    lines += ["", f"Measured on {curve.date} with ppo-tui {curve.version}: {curve.command}"]
    return "\n" + "".join(f"# {line}".rstrip() + "\n" for line in lines)


def print_runs(runs: Sequence[RunSummary], *, as_json: bool) -> None:
    """Print runs on stdout, as a table or as a JSON array."""
    from .output import cell, print_json, table_console

    if as_json:
        print_json(runs)
        return
    if not runs:
        print("there are no runs in ./runs yet; start one: ppo-tui --preset breakout")
        return
    from rich import box
    from rich.table import Table

    console = table_console()
    headings = [heading for heading in _HEADINGS if heading != "started" or console.width >= _WIDE]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    rows = [_cells(run) for run in runs]
    for heading in headings:
        fixed = max(len(cells[heading]) for cells in rows) if heading in ("name", "state", "steps") else None
        justify = "right" if heading in _NUMBERS else "left"
        table.add_column(heading, justify=justify, no_wrap=True, overflow="ellipsis", min_width=fixed)
    for run, cells in zip(runs, rows, strict=True):
        colour = _COLOURS.get(run.state, "")
        table.add_row(*(cell(cells[heading], colour if heading == "state" else "") for heading in headings))
    console.print(table)


def print_run(run: RunSummary, *, as_json: bool) -> None:
    """Print one run on stdout, as lines or as a JSON object."""
    if as_json:
        from .output import print_json

        print_json(run)
        return
    process = f" (pid {run.pid})" if run.pid else ""
    cells = _cells(run)
    total = f" of {run.total_steps:,}" if run.total_steps else ""
    print(f"{run.name}: {run.state}{process}, {cells['environment']}")
    print(f"  {run.step:,}{total} steps; return {cells['return']}, best {cells['best']}")
    print(f"  started {cells['started']}, {cells['age']} ago; {run.path}")


def _cells(run: RunSummary) -> dict[str, str]:
    """Cells of a run's row by heading."""
    from ..plotting.formats import NOTHING, date, score, span

    return {
        "name": run.name,
        "state": run.state,
        "environment": run.env or NOTHING,
        "steps": f"{run.step:,}",
        # Rounded down: 100 % only where no step is left.
        "done": f"{100 * run.step // run.total_steps}%" if run.total_steps else NOTHING,
        "return": score(run.last_return, 1),
        "best": score(run.best_return, 1),
        "started": date(run.started),
        "age": span(run.age_seconds) if run.started else NOTHING,
    }
