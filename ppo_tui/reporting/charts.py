"""Charts of a report, drawn by Bokeh.

There is a chart for each metric, with all runs in it; all charts share their steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..config.schedules import EFFECTIVE_METRICS
from ..expectations import MEAN_RETURN
from ..plotting.series import FloatArray, Series, bucket_starts, extent_of, smoothed
from .record import RunRecord

if TYPE_CHECKING:
    from bokeh.models import DataRange1d, GlyphRenderer, Model
    from bokeh.plotting import figure as Figure

Float32Array = npt.NDArray[np.float32]

COLOURS = ("#3f8fd9", "#dd8a00", "#12a178", "#cf6fa3", "#d65a1f", "#8577d6", "#4fb3d9", "#8f8f45")
"""Colours of runs, distinct for colour-blind people, readable on white and on black (Okabe & Ito, 2008)."""

REFERENCE_COLOUR = "#8a8a8a"

MOST_POINTS = 600
"""Points of a curve; a band from the lowest to the highest value shows details narrower than a pixel."""

MOST_NUMBERS = 300_000
"""Numbers in all charts of a report, so that a page of many runs is small enough to send."""

SMOOTHING = 0.05

EPISODES = "episodes"
"""Key of the single episodes' returns among the metrics."""

_SMOOTH = ("rollout/", "eval/", "env/end/", *EFFECTIVE_METRICS)
"""Averages or schedules: smoothing them would only make them lag."""

TITLES = {
    "rollout/ep_rew_mean": "Return",
    EPISODES: "Return of each episode",
    "rollout/ep_len_mean": "Length of an episode",
    "rollout/success_rate": "Success rate",
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
    "train/clip_range_upper": "Clip range, upper bound",
    "train/value_coef": "Weight of the value loss",
    "train/entropy_coef": "Weight of the entropy bonus",
    "time/fps": "Steps per second",
    "time/fps_update": "Steps per second, of each update",
    "train/loss": "Whole loss",
    "train/std": "Standard deviation of actions",
    "train/dead_units": "Dead units of the network",
    "train/nonfinite": "Updates with NaN or infinity",
    "train/ratio_error_first": "Error of the first ratios",
    "time/cpu_percent": "CPU in use, per cent",
    "time/gpu_percent": "GPU in use, per cent",
    "time/workers_busy": "Busy workers",
}
"""Titles of the best-known metrics, in their order on the page; all others follow."""

GROUPS = {
    "rollout": "Score",
    "eval": "Score",
    EPISODES: "Score",
    "env": "Environment",
    "train": "Learning",
    "time": "Time and machine",
}
DETAILS = "Details"
"""Group of small charts: of values for a closer look, and of values that never change."""

_CLOSER_LOOK = ("time/share_", "train/ratio_error_first", "train/nonfinite")
_HEIGHT, _SMALL_HEIGHT = 260, 150
_COUNTERS = (
    "time/total_timesteps",
    "eval/total_timesteps",
    "time/iterations",
    "time/time_elapsed",
    "train/n_updates",
    "eval/episodes",
    "eval/limited_episodes",
)


@dataclass(frozen=True)
class Chart:
    """A chart of the page.

    Attributes:
        key: the metric.
        div: HTML element for Bokeh's script to draw into.
    """

    key: str
    title: str
    group: str
    div: str

    @property
    def small(self) -> bool:
        return self.group == DETAILS


def draw(records: Sequence[RunRecord]) -> tuple[list[Chart], str]:
    """Make the charts of these runs and the script to draw them."""
    from bokeh.embed import components
    from bokeh.models import DataRange1d

    keys = _metrics(records)
    points = max(50, min(MOST_POINTS, MOST_NUMBERS // max(1, 5 * len(keys) * len(records))))
    steps = DataRange1d(range_padding=0.02)
    figures: dict[str, Model] = {key: _figure(key, records, steps, points) for key in keys}
    if not figures:
        return [], ""
    script, divs = components(figures, wrap_script=False)
    charts = [Chart(key, title_of(key), _group(key, records), divs[key]) for key in keys]
    order = list(dict.fromkeys([*GROUPS.values(), "Others", DETAILS]))
    return sorted(charts, key=lambda chart: order.index(chart.group)), script


def title_of(key: str) -> str:
    """The title of a metric's chart, in words."""
    if key.startswith("time/share_"):
        return f"Share of time: {key.removeprefix('time/share_')}"
    if key.startswith("env/"):
        return key.removeprefix("env/")
    if key.startswith("eval/env/"):
        return f"{key.removeprefix('eval/env/')}, evaluated"
    words = key.rpartition("/")[2].replace("_", " ").strip()
    return TITLES.get(key) or (words[:1].upper() + words[1:]) or key


def _group(key: str, records: Sequence[RunRecord]) -> str:
    if key != EPISODES and (key.startswith(_CLOSER_LOOK) or not _changes(key, records)):
        return DETAILS
    return GROUPS.get(key.split("/")[0], "Others")


def _changes(key: str, records: Sequence[RunRecord]) -> bool:
    """Whether a chart of this metric shows more than a level line."""
    values = [series.values[np.isfinite(series.values)] for record in records if (series := record.curves.get(key))]
    found = np.concatenate(values) if values else np.empty(0)
    return key == MEAN_RETURN or (len(found) > 0 and float(found.min()) < float(found.max()))


def _metrics(records: Sequence[RunRecord]) -> list[str]:
    """List the metrics with a value in any run, the best-known first."""
    found = [key for record in records for key, series in record.curves.items() if np.isfinite(series.values).any()]
    found += [EPISODES for record in records if len(record.episodes)]
    known = [key for key in TITLES if key in found]
    return [*known, *(key for key in dict.fromkeys(found) if key not in known and key not in _COUNTERS)]


def _figure(key: str, records: Sequence[RunRecord], steps: DataRange1d, points: int) -> Figure:
    from bokeh.models import BasicTickFormatter, HoverTool, NumeralTickFormatter
    from bokeh.plotting import figure

    chart = figure(
        height=_SMALL_HEIGHT if _group(key, records) == DETAILS else _HEIGHT,
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
    chart.yaxis.formatter = BasicTickFormatter(use_scientific=False)
    curves = []
    if key == MEAN_RETURN:
        _draw_references(chart, records)
        _draw_thresholds(chart, records)
    for index, record in enumerate(records):
        series = record.episodes if key == EPISODES else record.curves.get(key)
        if series is not None and len(series):
            curves.append(_curve(chart, series, index, points, smooth=not key.startswith(_SMOOTH)))
        _mark_edits(chart, record, index)
    chart.add_tools(
        HoverTool(renderers=curves, mode="vline", tooltips=[("", "$color[swatch]:colour @y{0,0.[0000]} at @x{0,0}")])
    )
    return chart


def _draw_references(chart: Figure, records: Sequence[RunRecord]) -> None:
    """Draw the measured curve of each preset once, in grey.

    The band is from its lowest run to its highest. Both end with the longest of the reported runs, so that these keep
    their room.
    """
    from bokeh.models import Legend

    known = {record.reference.preset: record.reference for record in records if record.reference}
    items = []
    for preset, reference in known.items():
        own = [
            record.curves.get(MEAN_RETURN)
            for record in records
            if record.reference and record.reference.preset == preset
        ]
        shown = int(np.searchsorted(reference.steps, extent_of(filter(None, own))[1], side="right"))
        steps, low, mean, high = (
            np.array(column[:shown]) for column in (reference.steps, reference.low, reference.mean, reference.high)
        )
        chart.varea(steps, low, high, color=REFERENCE_COLOUR, alpha=0.15)
        line = chart.line(steps, mean, color=REFERENCE_COLOUR, line_width=1.5, line_dash="dashed")
        items.append((f"{preset} as measured, {reference.seeds} seeds", [line]))
    if items:
        legend = Legend(items=items, location="top_left", background_fill_alpha=0, border_line_alpha=0)
        legend.label_text_color = REFERENCE_COLOUR
        chart.add_layout(legend)


def _draw_thresholds(chart: Figure, records: Sequence[RunRecord]) -> None:
    """Draw the threshold of each environment."""
    from bokeh.models import Label, Span

    for threshold in sorted({record.threshold for record in records if record.threshold is not None}):
        chart.add_layout(Span(location=threshold, dimension="width", line_color=REFERENCE_COLOUR, line_dash="dotted"))
        text = f"solved {threshold:g}"
        label = Label(x=4, x_units="screen", y=threshold, text=text, text_color=REFERENCE_COLOUR, text_font_size="11px")
        chart.add_layout(label)


def _curve(chart: Figure, series: Series, index: int, points: int, *, smooth: bool) -> GlyphRenderer:
    """Draw one run: its values, and abandoned parts of rewinds, dotted.

    Behind the moving average of a smoothed metric lie all its values, or the band of the lowest and highest.

    Returns:
        The line for the pointer to read values from.
    """
    from bokeh.models import ColumnDataSource

    colour, renderers = COLOURS[index % len(COLOURS)], []
    dash = "solid" if index < len(COLOURS) else "dashed"
    for branch in series.branches:
        steps, low, high = _decimated(*branch, points)
        renderers.append(chart.line(steps, (low + high) / 2, color=colour, alpha=0.5, line_dash="dotted"))
    steps, low, high = _decimated(series.steps, series.values, points)
    values = (low + high) / 2
    if smooth:
        if len(steps) < len(series):
            renderers.append(chart.varea(steps, low, high, color=colour, alpha=0.2))
        else:
            renderers.append(chart.line(steps, values, color=colour, alpha=0.35))
        steps, values = smoothed(series.steps, series.values, points, SMOOTHING)
    data = {"x": steps, "y": _short(values), "colour": [colour] * len(steps)}
    curve = chart.line("x", "y", source=ColumnDataSource(data), color=colour, line_width=2, line_dash=dash)
    for renderer in (*renderers, curve):
        renderer.tags = [_tag(index)]
    return curve


def _tag(index: int) -> str:
    """Tag of a run's models, for the page's script to hide them."""
    return f"run-{index}"


def _decimated(steps: FloatArray, values: FloatArray, points: int) -> tuple[FloatArray, Float32Array, Float32Array]:
    """Reduce to `points` steps with the lowest and highest value near each."""
    starts = bucket_starts(len(steps), points)
    lowest, highest = np.fmin.reduceat(values, starts), np.fmax.reduceat(values, starts)
    return np.maximum.reduceat(steps, starts), _short(lowest), _short(highest)


def _short(values: FloatArray) -> Float32Array:
    """Halve the bytes: a chart shows fewer than seven digits."""
    return values.astype(np.float32)


def _mark_edits(chart: Figure, record: RunRecord, index: int) -> None:
    """Draw a numbered line at each change of a setting."""
    from bokeh.models import Label, Span

    colour = COLOURS[index % len(COLOURS)]
    for number, edit in enumerate(record.edits, start=1):
        span = Span(location=edit.step, dimension="height", line_color=colour, line_dash="dashed", line_alpha=0.6)
        label = Label(x=edit.step, y=0, y_units="screen", text=str(number), text_color=colour, text_font_size="11px")
        for mark in (span, label):
            mark.tags = [_tag(index)]
            chart.add_layout(mark)
