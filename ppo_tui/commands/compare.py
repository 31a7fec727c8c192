"""A comparison in the terminal: curves in braille and a table."""

from __future__ import annotations

import math
import string
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..comparison.curves import STATISTICS, GroupCurve
from ..plotting.braille import ASCII, BRAILLE, Pattern
from ..plotting.plot import Line, plot
from ..statistics import Estimate

CHART_HEIGHT = 18

_COLOURS = ("cyan", "yellow", "green", "magenta", "blue", "red")
_PATTERNS = (Pattern.SOLID, Pattern.DASHED, Pattern.DASH_DOT)
_FEW_RUNS = 5
_ROOMY = 100
"""Cells from which on there is room for the lowest and the highest score."""


def print_comparison(
    curves: Sequence[GroupCurve], *, metric: str, statistic: str, ascii: bool = False, console: Console | None = None
) -> None:
    """Print the curves, then the table, on stdout; without a terminal the table alone."""
    console = console or Console()
    if console.is_terminal:
        console.print(_chart(curves, statistic, console.width, ascii=ascii))
    else:
        console = Console(width=200, file=console.file)
    console.print(_table(curves, metric, console.width))
    for note in _notes(curves):
        console.print(note, style="dim", markup=False, highlight=False, soft_wrap=True)


def _chart(curves: Sequence[GroupCurve], statistic: str, width: int, *, ascii: bool) -> Text:
    lines = []
    for index, curve in enumerate(curves):
        estimate, style = curve.estimates[statistic], f"curve-{index % len(_COLOURS) + 1}"
        ends = (estimate.low, estimate.high) if len(curve.group.runs) > 1 else ()
        lines += [Line(curve.steps, end, style, Pattern.DOTTED) for end in ends]
        lines.append(Line(curve.steps, estimate.value, style, _PATTERNS[index % len(_PATTERNS)], letter=_letter(index)))
    picture = plot(lines, width, CHART_HEIGHT, glyphs=ASCII if ascii else BRAILLE).picture
    colours = {f"curve-{number}": colour for number, colour in enumerate(_COLOURS, start=1)}
    rows = [Text.assemble(*((text, colours.get(name, "")) for text, name in row)) for row in picture.rows()]
    return Text("\n").join(rows)


def _table(curves: Sequence[GroupCurve], metric: str, width: int) -> Table:
    envs = list(dict.fromkeys(curve.group.env for curve in curves))
    headings = ["", "group", "environment", "runs", "step", "mean", "95 %", "IQM", "95 %", "lowest", "highest"]
    if len(envs) == 1:
        headings.remove("environment")
    if width < _ROOMY:
        del headings[-2:]
    title = Text(", ".join([metric, *(envs if len(envs) == 1 else [])]))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left")
    for heading in headings:
        words = heading in ("", "group", "environment")
        table.add_column(heading, justify="left" if words else "right", no_wrap=not words, overflow="fold")
    for index, curve in enumerate(curves):
        last = curve.values[:, -1]
        cells = [
            # Texts come from files: they are never markup.
            Text(_letter(index), _COLOURS[index % len(_COLOURS)]),
            Text(curve.group.label),
            *([Text(curve.group.env)] if len(envs) > 1 else []),
            f"{len(curve.group.runs)}",
            f"{curve.steps[-1]:,.0f}",
            *(cell for name in STATISTICS for cell in _estimate(curve.final[name])),
            _number(last.min()),
            _number(last.max()),
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
    if few := [curve.group.label for curve in curves if 1 < len(curve.group.runs) < _FEW_RUNS]:
        notes.append(f"bootstrap intervals of fewer than {_FEW_RUNS} runs are too narrow: {', '.join(few)}")
    return notes


def _letter(index: int) -> str:
    return string.ascii_uppercase[index % len(string.ascii_uppercase)]


def _estimate(estimate: Estimate) -> tuple[str, str]:
    value, low, high = map(float, estimate)
    return _number(value), "–" if math.isnan(low) else f"[{_number(low)}, {_number(high)}]"


def _number(value: float) -> str:
    """A number in about four digits."""
    magnitude = abs(value)
    if magnitude >= 100 or value == 0:
        return f"{value:,.1f}"
    return f"{value:.2f}" if magnitude >= 1 else f"{value:.3g}"
