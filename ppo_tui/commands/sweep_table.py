"""The results of a sweep: a table, the best first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.table import Table
from rich.text import Text

from ..runs import RUNS_DIR
from ..sweeps.trials import Result
from .output import print_json, table_console

_COMPARED = 3


def print_results(results: Sequence[Result], *, metric: str, as_json: bool) -> None:
    """Print them on stdout, as a table or as a JSON array."""
    if as_json:
        print_json(results)
        return
    console = table_console()
    keys = list(dict.fromkeys(key for result in results for key in result.settings))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("", "trial", metric, *keys, "state"):
        table.add_column(Text(heading), justify="left" if heading == "state" else "right", overflow="fold")
    for rank, result in enumerate(results, start=1):
        settings = [_value(result.settings[key]) if key in result.settings else "–" for key in keys]
        score = "–" if result.score is None else f"{result.score:,.2f}"
        cells = (str(rank), str(result.trial), score, *settings, result.state)
        table.add_row(*map(Text, cells), style="bold" if rank == 1 else "")
    console.print(table)
    best = [_name(run) for result in results[:_COMPARED] if result.state == "complete" for run in result.runs]
    if len(best) > 1:
        console.print(f"their curves: ppo-tui compare {' '.join(best)}", markup=False, highlight=False, soft_wrap=True)


def _name(path: str) -> str:
    """As `compare` takes it from here."""
    run = Path(path)
    return str(run.relative_to(RUNS_DIR.absolute())) if run.is_relative_to(RUNS_DIR.absolute()) else path


def _value(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
