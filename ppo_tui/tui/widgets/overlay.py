"""One metric of several runs in one chart."""

from __future__ import annotations

import string
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
    """A run in the overlay: its name and curves by metric key.

    See `ppo_tui.plotting.series.read_metrics`.
    """

    label: str
    series: Mapping[str, Series]


class Overlay(CurvesWidget):
    """One metric of several runs, each with letter, pattern and colour."""

    def __init__(self, chart_view: ChartView, *, id: str | None = None) -> None:
        super().__init__(chart_view, CurveOptions(), id=id)
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
        return [
            Entry(
                run_letter(index), run.label, formats.number(self._reading(index)), _style(index), here=self.at_cursor
            )
            for index, run in enumerate(self._runs)
        ]

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
            pattern = _PATTERNS[index % len(_PATTERNS)]
            front.append(Line(steps, values, _style(index), pattern, letter=run_letter(index)))
        return behind + front

    def _reading(self, index: int) -> float:
        return self.under_cursor(index) if self.at_cursor else self.metric.sign * self._series(self._runs[index]).last

    def _series(self, run: RunCurves) -> Series:
        return run.series.get(self.metric.key) or Series()


def run_letter(index: int) -> str:
    """The letter of the run of this index in chart and legend."""
    return string.ascii_uppercase[index % len(string.ascii_uppercase)]


def _style(index: int) -> str:
    return f"curve-{index % CURVE_COLOURS + 1}"
