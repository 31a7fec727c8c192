"""`ppo-tui compare`: curves in braille and a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from .completion import one_of
from .options import AsciiOption, RunsArgument, check_choice, chosen_runs

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from ..comparison.curves import GroupCurve
    from ..comparison.groups import Grouping
    from ..statistics import Estimate

CHART_HEIGHT = 18

_COLOURS = ("cyan", "yellow", "green", "magenta", "blue", "red")
_FEW_RUNS = 5
_WIDE = 100
"""Least width of a terminal, in columns, at which the table shows the lowest and the highest score."""


def compare(
    runs: RunsArgument,
    metric: Annotated[str, typer.Option(metavar="KEY", help="Metric of metrics.jsonl.")] = "rollout/ep_rew_mean",
    by: Annotated[
        str,
        typer.Option(
            metavar="preset|name|env",
            help="Average the runs that share this.",
            autocompletion=one_of("preset", "name", "env"),
        ),
    ] = "preset",
    statistic: Annotated[
        str,
        typer.Option(metavar="mean|iqm", help="Statistic of the curves.", autocompletion=one_of("mean", "iqm")),
    ] = "mean",
    csv: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Write the curves as CSV.")] = None,
    figure: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE.png|.svg|.pdf", help="Draw the curves into a file.")
    ] = None,
    ascii: AsciiOption = False,
) -> None:
    """Compare runs and seeds, as curves and a table.

    It prints the mean and the interquartile mean (IQM), both with 95 % bootstrap intervals.
    """
    check_choice("--by", by, ("preset", "name", "env"))
    check_choice("--statistic", statistic, ("mean", "iqm"))
    from ..comparison.curves import group_curve
    from ..comparison.export import check_figure, write_csv, write_figure
    from ..comparison.groups import group_runs, read_run
    from ..files import check_output
    from .output import whole_runs

    if csv is not None:
        check_output("--csv", csv)
    if figure is not None:
        check_figure(figure)
    found = {run.path.resolve(): run for name in runs for run in chosen_runs(name)}
    whole = whole_runs(found.values(), lambda run: read_run(run, metric))
    groups = group_runs(whole, cast("Grouping", by))
    curves = [group_curve(group) for group in groups]
    if csv is not None:
        write_csv(csv, curves)
    if figure is not None:
        write_figure(figure, curves, metric=metric, statistic=statistic)
    print_comparison(curves, metric=metric, statistic=statistic, ascii=ascii)


def print_comparison(curves: Sequence[GroupCurve], *, metric: str, statistic: str, ascii: bool = False) -> None:
    """Print the table on stdout; on a terminal, the curves before it."""
    from ..console import PrintableConsole

    console = PrintableConsole()
    if console.is_terminal:
        console.print(_chart(curves, statistic, console.width, ascii=ascii))
    else:
        console = PrintableConsole(width=200)
    console.print(_table(curves, metric, console.width))
    for note in _notes(curves):
        console.print(note, style="dim", markup=False, highlight=False, soft_wrap=True)


def _chart(curves: Sequence[GroupCurve], statistic: str, width: int, *, ascii: bool) -> Text:
    from rich.text import Text

    from ..plotting.braille import ASCII, BRAILLE, Pattern
    from ..plotting.plot import Line, curve_letter, plot

    patterns = (Pattern.SOLID, Pattern.DASHED, Pattern.DASH_DOT)
    lines = []
    for index, curve in enumerate(curves):
        estimate, style = curve.estimates[statistic], f"curve-{index % len(_COLOURS) + 1}"
        ends = (estimate.low, estimate.high) if len(curve.group.runs) > 1 else ()
        lines += [Line(curve.steps, end, style, Pattern.DOTTED) for end in ends]
        lines.append(
            Line(curve.steps, estimate.value, style, patterns[index % len(patterns)], letter=curve_letter(index))
        )
    picture = plot(lines, width, CHART_HEIGHT, glyphs=ASCII if ascii else BRAILLE).picture
    colours = {f"curve-{number}": colour for number, colour in enumerate(_COLOURS, start=1)}
    rows = [Text.assemble(*((text, colours.get(name, "")) for text, name in row)) for row in picture.rows()]
    return Text("\n").join(rows)


def _table(curves: Sequence[GroupCurve], metric: str, width: int) -> Table:
    from rich import box
    from rich.table import Table

    from ..comparison.curves import STATISTICS
    from ..plotting.plot import curve_letter
    from .output import cell, metric_value

    envs = list(dict.fromkeys(curve.group.env for curve in curves))
    headings = ["", "group", "environment", "runs", "step", "mean", "95 %", "IQM", "95 %", "lowest", "highest"]
    if len(envs) == 1:
        headings.remove("environment")
    if width < _WIDE:
        del headings[-2:]
    title = cell(", ".join([metric, *(envs if len(envs) == 1 else [])]))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left")
    for heading in headings:
        words = heading in ("", "group", "environment")
        table.add_column(heading, justify="left" if words else "right", no_wrap=not words, overflow="fold")
    for index, curve in enumerate(curves):
        last = curve.values[:, -1]
        cells = [
            cell(curve_letter(index), _COLOURS[index % len(_COLOURS)]),
            cell(curve.group.label),
            *([cell(curve.group.env)] if len(envs) > 1 else []),
            f"{len(curve.group.runs)}",
            f"{curve.steps[-1]:,.0f}",
            *(cell for name in STATISTICS for cell in _with_interval(curve.final[name])),
            metric_value(last.min()),
            metric_value(last.max()),
        ]
        table.add_row(*cells[: len(headings)])
    return table


def _notes(curves: Sequence[GroupCurve]) -> list[str]:
    notes = [
        f"{curve.group.label}: its runs end between steps {curve.steps[-1]:,.0f} and {curve.furthest:,.0f}; "
        "they are compared up to the first of these"
        for curve in curves
        if curve.furthest > curve.steps[-1]
    ]
    envs = list(dict.fromkeys(curve.group.env for curve in curves))
    if len(envs) > 1:
        notes.append(f"{', '.join(envs)}: scores of different environments differ in scale; compare within one")
    if few := [curve.group.label for curve in curves if 1 < len(curve.group.runs) < _FEW_RUNS]:
        notes.append(f"bootstrap intervals of fewer than {_FEW_RUNS} runs are too narrow: {', '.join(few)}")
    return notes


def _with_interval(estimate: Estimate) -> tuple[str, str]:
    from ..plotting.formats import NOTHING
    from .output import metric_value

    value, low, high = map(float, estimate)
    return metric_value(value), NOTHING if math.isnan(low) else f"[{metric_value(low)}, {metric_value(high)}]"
