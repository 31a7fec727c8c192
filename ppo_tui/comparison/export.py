"""Comparisons as CSV, and as figures in PNG, SVG or PDF."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import UsageError, did_you_mean
from ..extras import install_command
from ..files import check_output, write_file
from ..text import one_line, spreadsheet_cell
from .curves import GroupCurve

_MOST_CHARACTERS = 120
"""Limit of a label in a figure."""

FIGURE_SUFFIXES = (".png", ".svg", ".pdf")

_HEADINGS = ("group", "env", "runs", "step", "mean", "mean_low", "mean_high", "iqm", "iqm_low", "iqm_high")


def write_csv(path: Path, curves: Sequence[GroupCurve]) -> None:
    """Write a line for each step of each group.

    The interval of a single run is empty.

    Raises:
        UsageError: the file cannot be written.
    """
    # All texts are quoted: where semicolons separate cells, they would begin new ones inside a text.
    text = io.StringIO(newline="")
    table = csv.writer(text, quoting=csv.QUOTE_NONNUMERIC)
    table.writerow(_HEADINGS)
    for curve in curves:
        facts = (spreadsheet_cell(curve.group.label), spreadsheet_cell(curve.group.env), len(curve.group.runs))
        columns = [column for name in ("mean", "iqm") for column in curve.estimates[name]]
        for step, *numbers in zip(curve.steps, *columns, strict=True):
            table.writerow((*facts, round(step), *map(_number, numbers)))
    _write(path, text.getvalue().encode())


def _write(path: Path, content: bytes) -> None:
    try:
        write_file(path, content)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None


def check_figure(path: Path) -> None:
    """Check the format of a figure, and for matplotlib.

    Raises:
        UsageError: the format is unknown, or matplotlib is not installed.
    """
    if path.suffix.lower() not in FIGURE_SUFFIXES:
        wanted = did_you_mean(path.suffix, FIGURE_SUFFIXES, otherwise=f"use one of {', '.join(FIGURE_SUFFIXES)}")
        raise UsageError(f"--plot {str(path)!r}: unknown format of a figure", hint=wanted)
    check_output("--plot", path)
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise UsageError(
            "--plot: matplotlib, which draws figures, is not installed", hint=install_command("plot")
        ) from None


def write_figure(path: Path, curves: Sequence[GroupCurve], *, metric: str, statistic: str) -> None:
    """Draw the curves with their intervals as bands.

    The colours are distinct for colour-blind people too.

    Raises:
        UsageError: the file cannot be written.
    """
    from matplotlib import style
    from matplotlib.figure import Figure

    with style.context("tableau-colorblind10"):
        figure = Figure(figsize=(8, 5), layout="constrained")
        axes = figure.add_subplot()
        for curve in curves:
            estimate, count = curve.estimates[statistic], len(curve.group.runs)
            label = f"{_label(curve.group.label)} ({count} {'run' if count == 1 else 'runs'})"
            (line,) = axes.plot(curve.steps, estimate.value, label=label)
            if count > 1:
                axes.fill_between(curve.steps, estimate.low, estimate.high, alpha=0.2, color=line.get_color(), lw=0)
        envs = dict.fromkeys(curve.group.env for curve in curves)
        axes.set(
            xlabel="environment steps",
            ylabel=f"{_label(metric)} ({figure_words(curves, statistic)})",
            title=_label(", ".join(envs)) + (": scores of different scales" if len(envs) > 1 else ""),
        )
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
        picture = io.BytesIO()
        figure.savefig(picture, dpi=150, format=path.suffix.lower().removeprefix("."))
        _write(path, picture.getvalue())


def figure_words(curves: Sequence[GroupCurve], statistic: str) -> str:
    """Name the drawn statistic; an interval needs several runs."""
    if all(len(curve.group.runs) == 1 for curve in curves):
        return "single runs"
    return f"{statistic}, 95 % interval"


def _number(value: float) -> float | int | None:
    """`value` to six significant digits; None for NaN.

    Whole ones have no point.
    """
    if np.isnan(value):
        return None
    rounded = float(f"{value:.6g}")
    return int(rounded) if rounded.is_integer() and abs(rounded) < 1e15 else rounded


def _label(text: str) -> str:
    """A text of any origin in a figure: short, and no TeX."""
    text = one_line(text)
    return (text if len(text) <= _MOST_CHARACTERS else f"{text[: _MOST_CHARACTERS - 1]}…").replace("$", r"\$")
