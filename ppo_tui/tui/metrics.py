"""The numbers on the screen, and their labels.

Keys are those of Stable-Baselines3's logger.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..expectations import MEAN_RETURN
from ..plotting.braille import Pattern
from ..plotting.series import FloatArray, Series
from .view import EPISODE_RETURNS

TREND_UPDATES = 10
MOST_ENVIRONMENT_CHARTS = 8
"""Numbers of the environment with charts from the start; others are in the list of all metrics."""

_ADDED = "metric:"
_OF_STEPS, _OF_ENDS = "env/", "env/end/"
_SPARKS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class Metric:
    """A number of every update.

    `sign` is −1 where the logged key is the negative of the number that people speak of.
    """

    key: str
    label: str
    sign: Literal[1, -1] = 1

    def values(self, series: Series) -> FloatArray:
        return series.values if self.sign > 0 else -series.values


@dataclass(frozen=True)
class Curve:
    """A metric in a chart.

    Attributes:
        label: its name in the legend.
        short: the same where there is little room.
        pane: the part of the chart that it is drawn in, 0 on top.
        games: the series of the single values that it is the mean of, drawn as points behind it.
    """

    metric: Metric
    label: str = ""
    pattern: Pattern = Pattern.SOLID
    pane: int = 0
    games: str | None = None
    short: str = ""


SMOOTHINGS = (0.05, 0.15, 0.0)
"""Spans of the moving average to choose from, as shares of the window; 0 for none."""


@dataclass(frozen=True)
class ChartSpec:
    """A chart.

    Attributes:
        title: left out where the names of its curves say enough.
        smoothing: one of `SMOOTHINGS` to begin with; the metric itself is then the shadow behind its average.
    """

    id: str
    title: str
    curves: tuple[Curve, ...]
    smoothing: float = SMOOTHINGS[0]

    @property
    def added(self) -> bool:
        """Whether a user added it."""
        return self.id.startswith(_ADDED)


RETURN = Metric(MEAN_RETURN, "return")
LENGTH = Metric("rollout/ep_len_mean", "length")
POLICY_LOSS = Metric("train/policy_gradient_loss", "policy loss")
VALUE_LOSS = Metric("train/value_loss", "value loss")
KL = Metric("train/approx_kl", "approx KL")
CLIPPED = Metric("train/clip_fraction", "clipped")
EXPLAINED = Metric("train/explained_variance", "expl. var.")
ENTROPY = Metric("train/entropy_loss", "entropy", sign=-1)
FPS = Metric("time/fps", "steps/s")
CPU = Metric("time/cpu_percent", "CPU %")
GPU = Metric("time/gpu_percent", "GPU %")

TILES: tuple[Metric, ...] = (RETURN, LENGTH, KL, CLIPPED, EXPLAINED, ENTROPY, CPU, GPU)

PHASES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("█", "emulate", ("time/share_wait",)),
    ("▓", "infer", ("time/share_infer",)),
    ("▒", "learn", ("time/share_learn",)),
    ("░", "other", ("time/share_copy", "time/share_other")),
)
"""The parts of an update's time: a sign, a word, and the metrics that add up to it."""

CHARTS: tuple[ChartSpec, ...] = (
    # The return is a mean already, so that smoothing would only make it lag.
    ChartSpec(
        "return",
        "Return",
        (Curve(RETURN, "mean of 100 games", games=EPISODE_RETURNS, short="mean of 100"),),
        smoothing=0.0,
    ),
    ChartSpec(
        "loss",
        "Loss",
        (Curve(POLICY_LOSS, "policy", short="π"), Curve(VALUE_LOSS, "value", Pattern.DASHED, pane=1, short="V")),
    ),
    ChartSpec("kl", "", (Curve(KL, "KL"), Curve(CLIPPED, "clipped", Pattern.DASHED, pane=1, short="clip"))),
    ChartSpec("entropy", "Entropy", (Curve(ENTROPY),)),
    ChartSpec("fps", "Speed", (Curve(FPS),)),
)


def chart_of(key: str) -> ChartSpec:
    """A chart of any metric."""
    return ChartSpec(f"{_ADDED}{key}", key, (Curve(Metric(key, key)),))


def environment_charts(keys: Iterable[str]) -> list[ChartSpec]:
    """Charts of the environment's numbers among these metrics.

    Each has the mean over steps, and below it that at the ends of episodes. Only the first numbers have a chart.
    """
    known = [key for key in keys if key.startswith(_OF_STEPS)]
    names = dict.fromkeys(key.removeprefix(_OF_ENDS).removeprefix(_OF_STEPS) for key in known)
    return [_environment_chart(name, known) for name in list(names)[:MOST_ENVIRONMENT_CHARTS]]


def _environment_chart(name: str, known: Sequence[str]) -> ChartSpec:
    of_steps, of_ends = f"{_OF_STEPS}{name}", f"{_OF_ENDS}{name}"
    curves = []
    if of_steps in known:
        curves.append(Curve(Metric(of_steps, of_steps), "mean of steps", short="mean"))
    if of_ends in known:
        pattern = Pattern.DASHED if curves else Pattern.SOLID
        curves.append(Curve(Metric(of_ends, of_ends), "at episode ends", pattern, pane=len(curves), short="ends"))
    return ChartSpec(f"{_ADDED}{_OF_STEPS}{name}", name, tuple(curves))


def trend(values: FloatArray) -> int:
    """+1 rising, −1 falling, 0 steady or unknown.

    Compares the means of the last `TREND_UPDATES` values and of as many before them: a move of less than half
    the standard deviation of both together counts as noise.
    """
    window = values[-2 * TREND_UPDATES :]
    window = window[np.isfinite(window)]
    if len(window) < 4:
        return 0
    before, after = window[: len(window) // 2], window[len(window) // 2 :]
    moved, noise = after.mean() - before.mean(), window.std()
    return 0 if abs(moved) <= noise / 2 else int(np.sign(moved))


def sparkline(means: FloatArray) -> str:
    """One bar for each value, a space for NaN."""
    finite = means[np.isfinite(means)]
    if not len(finite):
        return " " * len(means)
    low, high = float(finite.min()), float(finite.max())
    span = high / 2 - low / 2 or 1.0
    return "".join(
        _SPARKS[min(int((value / 2 - low / 2) / span * len(_SPARKS)), len(_SPARKS) - 1)] if np.isfinite(value) else " "
        for value in means.tolist()
    )
