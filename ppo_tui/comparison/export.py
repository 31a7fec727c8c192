"""Comparisons as CSV, and as figures in PNG, SVG or PDF."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import UsageError, did_you_mean
from ..files import check_output
from .curves import GroupCurve

FIGURE_SUFFIXES = (".png", ".svg", ".pdf")

_HEADINGS = ("group", "env", "runs", "step", "mean", "mean_low", "mean_high", "iqm", "iqm_low", "iqm_high")


def write_csv(path: Path, curves: Sequence[GroupCurve]) -> None:
    """Write a line for each step of each group.

    The interval of a single run is empty.

    Raises:
        UsageError: the file cannot be written.
    """
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(_HEADINGS)
            for curve in curves:
                facts = (curve.group.label, curve.group.env, len(curve.group.runs))
                columns = [column for name in ("mean", "iqm") for column in curve.estimates[name]]
                for step, *numbers in zip(curve.steps, *columns, strict=True):
                    table.writerow((*facts, round(step), *("" if np.isnan(n) else f"{n:.6g}" for n in numbers)))
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
            "--plot: matplotlib, which draws figures, is not installed", hint="pip install 'ppo-tui[plot]'"
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
            label = f"{curve.group.label} ({count} {'run' if count == 1 else 'runs'})"
            (line,) = axes.plot(curve.steps, estimate.value, label=label)
            if count > 1:
                axes.fill_between(curve.steps, estimate.low, estimate.high, alpha=0.2, color=line.get_color(), lw=0)
        envs = dict.fromkeys(curve.group.env for curve in curves)
        axes.set(xlabel="environment steps", ylabel=f"{metric} ({statistic}, 95 % interval)", title=", ".join(envs))
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
        try:
            figure.savefig(path, dpi=150)
        except OSError as error:
            raise UsageError(f"{path} cannot be written: {error.strerror}") from None
