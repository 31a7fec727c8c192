"""The cost of repainting long curves."""

from __future__ import annotations

import time
from statistics import median

import numpy as np

from benchmarks.effort import Effort
from ppo_tui.plotting.braille import Pattern
from ppo_tui.plotting.plot import Line, plot
from ppo_tui.plotting.series import smoothed
from ppo_tui.tui.metrics import SMOOTHINGS

POINTS, CURVES, WIDTH, HEIGHT = 20_000, 4, 120, 40


def paint(effort: Effort) -> dict[str, float]:
    """Paint four curves of 20,000 points in 120 × 40 cells.

    Alone, and as averages with the raw curves behind them.
    """
    rng = np.random.default_rng(0)
    steps = np.arange(POINTS) * 1024.0
    curves = [np.cumsum(rng.normal(size=POINTS)) for _ in range(CURVES)]
    return {
        "chart_raw_ms": _milliseconds(effort, lambda: plot(_raw(steps, curves), WIDTH, HEIGHT)),
        "chart_averaged_ms": _milliseconds(effort, lambda: plot(_averaged(steps, curves), WIDTH, HEIGHT)),
    }


def _raw(steps: np.ndarray, curves: list[np.ndarray]) -> list[Line]:
    return [Line(steps, values, f"curve-{number}") for number, values in enumerate(curves, start=1)]


def _averaged(steps: np.ndarray, curves: list[np.ndarray]) -> list[Line]:
    behind = [Line(steps, values, "shadow", Pattern.DOTTED, shadow=True) for values in curves]
    averages = [smoothed(steps, values, 2 * WIDTH, SMOOTHINGS[0]) for values in curves]
    return behind + [Line(*average, f"curve-{number}") for number, average in enumerate(averages, start=1)]


def _milliseconds(effort: Effort, draw) -> float:
    """The median of many paintings."""
    times, end = [], time.perf_counter() + effort.seconds / 4
    while len(times) < 20 or time.perf_counter() < end:
        began = time.perf_counter()
        draw().picture.rows()
        times.append(time.perf_counter() - began)
    return 1000 * median(times)
