"""`ppo-tui runs`, `ppo-tui ctl` and `ppo-tui presets`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import PPOTuiError, UsageError
from ..text import printable
from .completion import ctl_words
from .completion import presets as complete_presets
from .options import LATEST, JsonOption, YesOption, chosen_run

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
    directory: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="Directory of the runs, by default ./runs.", show_default=False)
    ] = None,
    as_json: JsonOption = False,
    delete: Annotated[
        str | None, typer.Option("--delete", metavar="RUN", help="Delete a run that has ended, with its checkpoints.")
    ] = None,
    yes: YesOption = False,
) -> None:
    """List the runs in a directory, newest first.

    The trials of a sweep are listed as SWEEP/TRIAL."""
    from ..runs import RUNS_DIR, list_runs
    from ..runs.client import ask_runs

    if directory is not None and not directory.is_dir():
        raise UsageError(f"there is no directory {str(directory)!r}", hint="ppo-tui runs lists those in ./runs")
    runs_dir = directory or RUNS_DIR
    if delete is not None:
        _delete(delete, runs_dir, yes=yes)
    elif yes:
        raise UsageError("--yes without --delete RUN: nothing is asked")
    else:
        print_runs(ask_runs(list_runs(runs_dir)), as_json=as_json, directory=directory)


def _delete(name: str, runs_dir: Path, *, yes: bool) -> None:
    """Delete a run, after a question on the terminal."""
    from ..runs import find_run
    from ..runs.deletion import delete_run, weigh

    path = find_run(name, runs_dir=runs_dir).path
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
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="[RUN] ACTION",
            help="A run, by default the latest that is running, and what it is to do: pause, resume, step [N], save, "
            "set KEY VALUE, rewind CHECKPOINT, stop, or tell its status.",
            autocompletion=ctl_words,
        ),
    ],
    as_json: JsonOption = False,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Return once the command is accepted, before it has taken effect.")
    ] = False,
) -> None:
    """Control a running run from a script.

    For example `ppo-tui ctl cartpole-1 set lr 1e-4`, or `ppo-tui ctl pause`. --json is for status.

    Exit codes: 0 done, 2 refused or not running, 3 the run ended first.
    """
    from ..runs.client import command_from, status, steer

    run, action, arguments = _split(words)
    if action == "status":
        if arguments:
            raise UsageError(f"status takes no arguments, got {' '.join(arguments)}")
        print_run(status(chosen_run(run, "running")), as_json=as_json)
    else:
        command = command_from(action, arguments)
        print(steer(chosen_run(run, "running"), command, wait=not no_wait))


def _split(words: Sequence[str]) -> tuple[str, str, Sequence[str]]:
    """Split words into run, action and arguments."""
    from ..runs import RUNS_DIR
    from ..runs.client import USAGE
    from ..runs.entries import holds_run

    first, *rest = words
    if first in USAGE and not (rest and rest[0] in USAGE and holds_run(RUNS_DIR / first)):
        return LATEST, first, rest
    if not rest and not holds_run(RUNS_DIR / first):
        return LATEST, first, rest  # no action: whoever reads it says so
    if not rest:
        raise UsageError(f"ctl {first}: what is it to do?", hint=f"one of {', '.join(USAGE)}")
    return first, rest[0], rest[1:]


def presets(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME", help="Print the file of this preset.", show_default=False, autocompletion=complete_presets
        ),
    ] = None,
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


def print_runs(runs: Sequence[RunSummary], *, as_json: bool, directory: Path | None = None) -> None:
    """Print runs on stdout, as a table or as a JSON array."""
    from .output import cell, print_json, table_console

    if as_json:
        print_json(runs)
        return
    if not runs:
        print(f"there are no runs in {directory or './runs'} yet; start one: ppo-tui cartpole")
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
    if run.reason:
        print(f"  {printable(run.reason.splitlines()[0])}")
    if run.init_from:
        print(f"  weights from {run.init_from}")
    print(f"  started {cells['started']}, {cells['age']} ago; {run.path}")


def _cells(run: RunSummary) -> dict[str, str]:
    """Cells of a run's row by heading."""
    from ..plotting.formats import NOTHING, date, score, span

    return {
        "name": run.name,
        "state": run.state,
        "environment": run.env or NOTHING,
        "steps": f"{run.step:,}",
        # Rounded down: 100 % only where no step is left. A run that a rule has ended is done, too.
        "done": "rule" if run.by_rule else f"{100 * run.step // run.total_steps}%" if run.total_steps else NOTHING,
        "return": score(run.last_return, 1),
        "best": score(run.best_return, 1),
        "started": date(run.started),
        "age": span(run.age_seconds) if run.started else NOTHING,
    }
