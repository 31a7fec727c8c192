"""One metric of several runs in one chart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...plotting import formats
from ...plotting.braille import Pattern
from ...plotting.picture import CURVE_COLOURS, Entry, Pieces
from ...plotting.plot import Line
from ...plotting.series import FloatArray, Series, extent_of, smoothed
from ..chart_view import ChartView, Extent
from ..metrics import RETURN, Metric
from .curves import CurveOptions, CurvesWidget

_PATTERNS = (Pattern.SOLID, Pattern.DASHED, Pattern.DOTTED, Pattern.DASH_DOT)


@dataclass(frozen=True, eq=False)
class RunCurves:
    """A run in the overlay.

    Attributes:
        series: its curves by metric key, as `ppo_tui.plotting.series.read_metrics` gives them.
        letter: its sign on the screen.
        number: of its colour, from 0 on; None for this screen's own run.
    """

    label: str
    series: Mapping[str, Series]
    letter: str
    number: int | None = None

    @property
    def style(self) -> str:
        """The style of its curve."""
        return "curve-1" if self.number is None else letter_style(self.number)

    def curve(self, metric: Metric) -> Series:
        return self.series.get(metric.key) or Series()


class Overlay(CurvesWidget):
    """One metric of several runs, each with letter, pattern and colour."""

    def __init__(self, chart_view: ChartView) -> None:
        super().__init__(chart_view, CurveOptions())
        self.chosen = self.active = True
        self.metric = RETURN
        self._runs: tuple[RunCurves, ...] = ()

    @property
    def grows(self) -> bool:
        return False

    def show(self, runs: Sequence[RunCurves], metric: Metric = RETURN) -> None:
        """Draw these runs."""
        self._runs, self.metric = tuple(runs), metric
        self.renew()

    def fingerprint(self) -> tuple[object, ...]:
        runs = ((id(run), self._series(run).version) for run in self._runs)
        return self.metric, *runs

    def extent(self) -> Extent:
        return extent_of(self._series(run) for run in self._runs)

    def points(self) -> FloatArray:
        return max((self._series(run).steps for run in self._runs), key=len, default=Series().steps)

    def title(self) -> Pieces:
        return [(self.metric.label, "title")]

    def legend(self) -> list[Entry]:
        return [entry_of(run, self._reading(index), here=self.at_cursor) for index, run in enumerate(self._runs)]

    def notes(self) -> list[str]:
        smoothing = self.options.smoothing
        return super().notes() + ([f"avg {smoothing:.0%}"] if smoothing else [])

    def lines(self, columns: int, window: Extent) -> list[Line]:
        behind, front = [], []
        for index, run in enumerate(self._runs):
            series = self._series(run)
            steps, values = series.steps, self.metric.values(series)
            if self.options.smoothing:
                behind.append(Line(steps, values, "shadow", Pattern.DOTTED, shadow=True))
                steps, values = smoothed(steps, values, columns, self.options.smoothing, window)
            front.append(_line(run, index, steps, values))
        return behind + front

    def _reading(self, index: int) -> float:
        return self.under_cursor(index) if self.at_cursor else self.metric.sign * self._series(self._runs[index]).last

    def _series(self, run: RunCurves) -> Series:
        return run.curve(self.metric)


def entry_of(run: RunCurves, reading: float, *, here: bool) -> Entry:
    """The entry of a run in the legend of a chart.

    Args:
        reading: its newest value, or the one under the cursor.
        here: it is the one under the cursor.
    """
    return Entry(run.letter, run.label, formats.number(reading), run.style, here=here)


def line_of(run: RunCurves, index: int, metric: Metric) -> Line:
    """The recorded curve of a run, in the pattern of `index`."""
    series = run.curve(metric)
    return _line(run, index, series.steps, metric.values(series))


def _line(run: RunCurves, index: int, steps: FloatArray, values: FloatArray) -> Line:
    return Line(steps, values, run.style, _PATTERNS[index % len(_PATTERNS)], letter=run.letter)


def letter_style(index: int) -> str:
    """The style of a letter and of its curve."""
    return f"curve-{index % (CURVE_COLOURS - 1) + 2}"
