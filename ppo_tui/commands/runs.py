"""How ``ppo-tui runs`` and ``ppo-tui ctl RUN status`` print."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from ..runs import RunSummary
from .output import print_json, table_console

_COLOURS = {"running": "green", "training": "green", "finished": "bold", "failed": "red", "crashed": "red"}


def print_runs(runs: Sequence[RunSummary], *, as_json: bool) -> None:
    """Print a list of runs on stdout, as a table or as a JSON array."""
    if as_json:
        print_json(runs)
        return
    if not runs:
        print("there are no runs in ./runs yet; start one: ppo-tui --preset breakout")
        return
    console = table_console()
    headings = [heading for heading in _HEADINGS if heading != "started" or console.width >= _ROOMY]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in headings:
        cells = [_cells(run)[heading] for run in runs]
        fixed = max(map(len, cells)) if heading in ("name", "state", "steps") else None
        justify = "right" if heading in _NUMBERS else "left"
        table.add_column(heading, justify=justify, no_wrap=True, overflow="ellipsis", min_width=fixed)
    for run in runs:
        cells = _cells(run)
        # Texts come from files: they are never markup.
        colour = _COLOURS.get(run.state, "")
        table.add_row(*(Text(cells[heading], style=colour if heading == "state" else "") for heading in headings))
    console.print(table)


def print_run(run: RunSummary, *, as_json: bool) -> None:
    """Print one run on stdout, as lines or as a JSON object."""
    if as_json:
        print_json(run)
        return
    process = f" (pid {run.pid})" if run.pid else ""
    cells = _cells(run)
    total = f" of {run.total_steps:,}" if run.total_steps else ""
    print(f"{run.name}: {run.state}{process}, {cells['environment']}")
    print(f"  {run.step:,}{total} steps; return {cells['return']}, at its best {cells['best']}")
    print(f"  started {cells['started']}, {cells['age']} ago; {run.path}")


_HEADINGS = ("name", "state", "environment", "steps", "done", "return", "best", "started", "age")
_NUMBERS = ("steps", "done", "return", "best", "age")

_ROOMY = 110
"""Cells from which on there is room for when a run started."""


def _cells(run: RunSummary) -> dict[str, str]:
    """What stands below each heading."""
    return {
        "name": run.name,
        "state": run.state,
        "environment": run.env or "–",
        "steps": f"{run.step:,}",
        "done": f"{100 * run.step // run.total_steps}%" if run.total_steps else "–",
        "return": _return(run.last_return),
        "best": _return(run.best_return),
        "started": time.strftime("%Y-%m-%d %H:%M", time.localtime(run.started)) if run.started else "–",
        "age": _age(run.age_seconds) if run.started else "–",
    }


def _return(value: float | None) -> str:
    return "–" if value is None else f"{value:,.1f}"


def _age(seconds: float) -> str:
    """A length of time in its two largest units: 45s, 3m 20s, 2h 5m, 6d 1h."""
    minutes, hours, days = int(seconds // 60), int(seconds // 3600), int(seconds // 86400)
    if days:
        return f"{days}d {hours % 24}h"
    if hours:
        return f"{hours}h {minutes % 60}m"
    return f"{minutes}m {int(seconds) % 60}s" if minutes else f"{int(seconds)}s"
