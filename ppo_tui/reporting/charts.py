"""The curves of a report, drawn by Bokeh: one chart a metric, all runs in it, all charts on the same steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..plotting.series import FloatArray, Series, bucketed, smoothed
from .record import RunRecord

if TYPE_CHECKING:
    from bokeh.models import DataRange1d, GlyphRenderer
    from bokeh.plotting import figure as Figure

COLOURS = ("#3f8fd9", "#dd8a00", "#12a178", "#cf6fa3", "#d65a1f", "#8577d6", "#4fb3d9", "#8f8f45")
"""Of the runs, in order; told apart by colour-blind people, and readable on white and on black (Okabe & Ito, 2008)."""

MOST_POINTS = 600
"""Of a curve; what is narrower than a pixel is shown as the band from the lowest to the highest value."""

MOST_NUMBERS = 300_000
"""In all charts of a report together, so that a page of many runs stays one that can be sent."""

SMOOTHING = 0.05

EPISODES = "episodes"
"""Stands for the returns of the single games, among the metrics."""

_SMOOTH = ("rollout/", "eval/", "train/learning_rate", "train/clip_range")
"""Averages already, or schedules: smoothed further they would only lag behind."""

TITLES = {
    "rollout/ep_rew_mean": "Return",
    EPISODES: "Return of each game",
    "rollout/ep_len_mean": "Length of a game",
    "eval/ep_rew_mean": "Return in evaluation",
    "train/policy_gradient_loss": "Policy loss",
    "train/value_loss": "Value loss",
    "train/entropy_loss": "Entropy loss",
    "train/approx_kl": "Approximate KL divergence",
    "train/clip_fraction": "Clipped steps",
    "train/explained_variance": "Explained variance of returns",
    "train/grad_norm": "Gradient norm",
    "train/learning_rate": "Learning rate",
    "train/clip_range": "Clip range",
    "time/fps": "Steps a second",
}
"""The best-known metrics, in the order in which they are shown; all others follow."""

GROUPS = {"rollout": "Score", "eval": "Score", EPISODES: "Score", "train": "Learning", "time": "Time and machine"}
_COUNTERS = (
    "time/total_timesteps",
    "eval/total_timesteps",
    "time/iterations",
    "time/time_elapsed",
    "train/n_updates",
    "eval/episodes",
)


@dataclass(frozen=True)
class Chart:
    """A chart of the page.

    Attributes:
        key: the metric.
        div: the element that Bokeh's script draws it into.
    """

    key: str
    title: str
    group: str
    div: str


def draw(records: Sequence[RunRecord]) -> tuple[list[Chart], str]:
    """All charts that these runs have values for, and the script that draws them."""
    from bokeh.embed import components
    from bokeh.models import DataRange1d

    keys = _metrics(records)
    points = max(50, min(MOST_POINTS, MOST_NUMBERS // max(1, 5 * len(keys) * len(records))))
    steps = DataRange1d(range_padding=0.02)
    figures = {key: _figure(key, records, steps, points) for key in keys}
    if not figures:
        return [], ""
    script, divs = components(figures, wrap_script=False)
    charts = [Chart(key, TITLES.get(key, key), GROUPS.get(key.split("/")[0], "Others"), divs[key]) for key in keys]
    order = list(dict.fromkeys([*GROUPS.values(), "Others"]))
    return sorted(charts, key=lambda chart: order.index(chart.group)), script


def _metrics(records: Sequence[RunRecord]) -> list[str]:
    """The metrics that any run has a value of, the best-known first."""
    found = [key for record in records for key, series in record.curves.items() if np.isfinite(series.values).any()]
    found += [EPISODES for record in records if len(record.episodes)]
    known = [key for key in TITLES if key in found]
    return [*known, *(key for key in dict.fromkeys(found) if key not in known and key not in _COUNTERS)]


def _figure(key: str, records: Sequence[RunRecord], steps: DataRange1d, points: int) -> Figure:
    from bokeh.models import HoverTool, NumeralTickFormatter
    from bokeh.plotting import figure

    chart = figure(
        height=260,
        sizing_mode="stretch_width",
        x_range=steps,
        tools="xbox_zoom,xpan,xwheel_zoom,reset",
        active_scroll=None,
        toolbar_location="above",
        toolbar_inner=True,
        output_backend="canvas",
        background_fill_color=None,
        border_fill_color=None,
        outline_line_color=None,
        min_border=4,
    )
    chart.toolbar.autohide = True
    chart.toolbar.logo = None
    chart.xaxis.formatter = NumeralTickFormatter(format="0.[0]a")
    curves = []
    for index, record in enumerate(records):
        series = record.episodes if key == EPISODES else record.curves.get(key)
        if series is not None and len(series):
            curves.append(_curve(chart, series, index, points, smooth=not key.startswith(_SMOOTH)))
        _mark_edits(chart, record, index)
    chart.add_tools(
        HoverTool(renderers=curves, mode="vline", tooltips=[("", "$color[swatch]:colour @y{0,0.[0000]} at @x{0,0}")])
    )
    return chart


def _curve(chart: Figure, series: Series, index: int, points: int, *, smooth: bool) -> GlyphRenderer:
    """Draw one run: what rewinds have abandoned, dotted, and the values, or behind their moving average all of them.

    Returns:
        What the pointer reads values from.
    """
    from bokeh.models import ColumnDataSource

    colour, tags = COLOURS[index % len(COLOURS)], [f"run-{index}"]
    dash = "solid" if index < len(COLOURS) else "dashed"
    for branch in series.branches:
        steps, low, high = _decimated(*branch, points)
        chart.line(steps, (low + high) / 2, color=colour, alpha=0.5, line_dash="dotted", tags=tags)
    steps, low, high = _decimated(series.steps, series.values, points)
    values = (low + high) / 2
    if smooth:
        if len(steps) < len(series):
            chart.varea(steps, low, high, color=colour, alpha=0.2, tags=tags)
        else:
            chart.line(steps, values, color=colour, alpha=0.35, tags=tags)
        steps, values = smoothed(series.steps, series.values, points, SMOOTHING)
    data = {"x": steps, "y": _short(values), "colour": [colour] * len(steps)}
    return chart.line("x", "y", source=ColumnDataSource(data), color=colour, line_width=2, line_dash=dash, tags=tags)


def _decimated(steps: FloatArray, values: FloatArray, points: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """At most `points` steps, with the lowest and the highest value near each."""
    return (
        bucketed(steps, points, np.maximum.reduceat),
        _short(bucketed(values, points, np.fmin.reduceat)),
        _short(bucketed(values, points, np.fmax.reduceat)),
    )


def _short(values: FloatArray) -> FloatArray:
    """In half the bytes: seven digits are more than a chart shows."""
    return values.astype(np.float32)


def _mark_edits(chart: Figure, record: RunRecord, index: int) -> None:
    """A line where a setting was changed, with the number that it has in the table."""
    from bokeh.models import Label, Span

    colour, tags = COLOURS[index % len(COLOURS)], [f"run-{index}"]
    for number, edit in enumerate(record.edits, start=1):
        span = Span(location=edit.step, dimension="height", line_color=colour, line_dash="dashed", line_alpha=0.6)
        label = Label(x=edit.step, y=0, y_units="screen", text=str(number), text_color=colour, text_font_size="11px")
        for mark in (span, label):
            mark.tags = tags
            chart.add_layout(mark)
