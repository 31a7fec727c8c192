"""A chart of metrics over environment steps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...config.schedules import EFFECTIVE_METRICS
from ...expectations import Reference
from ...plotting import formats
from ...plotting.braille import Pattern
from ...plotting.marks import Mark
from ...plotting.picture import Entry, Pieces
from ...plotting.plot import Line
from ...plotting.series import FloatArray, Series, extent_of, smoothed
from ..chart_view import ChartView, Extent
from ..metrics import RETURN, ChartSpec, Curve
from ..view import RunView
from .curves import CurveOptions, CurvesWidget

_REFERENCE = Pattern.DASH_DOT

_BRANCHES = 8
"""Of more abandoned branches the newest are drawn."""


class Chart(CurvesWidget):
    """Metrics of one run: averages, raw values, abandoned branches."""

    def __init__(self, view: RunView, spec: ChartSpec, chart_view: ChartView) -> None:
        options = CurveOptions(smoothing=spec.smoothing)
        super().__init__(chart_view, options, id=f"chart-{spec.id}" if spec.id.isidentifier() else None)
        self.view = view
        self.spec = spec

    def become(self, other: Chart) -> None:
        """Show the curves and options of `other`, and follow its changes."""
        self.spec, self.options = other.spec, other.options

    def fingerprint(self) -> tuple[object, ...]:
        keys = [key for curve in self.spec.curves for key in (curve.metric.key, curve.shadow) if key]
        versions = (self.view.series[key].version for key in keys)
        # Every episode lengthens the run, but the window only now and then: other charts stay as they are.
        extent = self.extent()
        window = self.chart_view.window(extent, grows=self.grows)
        label = self.view.standing.label
        return self.spec.id, self.grows, len(self.view.marks), label, window, self.chart_view.span and extent, *versions

    @property
    def grows(self) -> bool:
        return self.view.finished is None

    def extent(self) -> Extent:
        return extent_of(self.view.series.values())

    def points(self) -> FloatArray:
        return max((self._series(curve).steps for curve in self.spec.curves), key=len)

    @property
    def without_data(self) -> str:
        # Before the first update the head says once for all charts when there will be any.
        return "no data yet" if self.view.update or self.view.finished else ""

    def marks(self) -> Sequence[Mark]:
        return self.view.marks

    def title(self) -> Pieces:
        return [(self.spec.title, "title")] if self.spec.title else []

    def legend(self) -> list[Entry]:
        samples = self.glyphs.samples
        entries = [
            Entry(samples[curve.pattern], curve.label, self._reading(curve), f"curve-{number}")
            for number, curve in enumerate(self.spec.curves, start=1)
        ]
        if reference := self._reference:
            at = self.view.step if self.chart_view.cursor is None else self.chart_view.cursor
            there = formats.number(reference.at(reference.mean, at))
            entries.append(Entry(samples[_REFERENCE], self.view.standing.label, there, "reference"))
        return entries

    def notes(self) -> list[str]:
        notes = super().notes()
        smoothing = self.options.smoothing
        if smoothing != self.spec.smoothing:
            notes.append(f"avg {smoothing:.0%}" if smoothing else "raw")
        if (setting := EFFECTIVE_METRICS.get(self.spec.curves[0].metric.key)) and (course := self.view.course(setting)):
            notes.append(course.text)
        return notes

    def lines(self, columns: int, window: Extent) -> list[Line]:
        behind, front = [], []
        for number, curve in enumerate(self.spec.curves, start=1):
            shadows, line = self._lines(curve, f"curve-{number}", columns, window)
            behind += shadows
            front.append(line)
        if reference := self._reference:
            steps, mean = np.array(reference.steps), np.array(reference.mean)
            behind.append(Line(steps, mean, "reference", _REFERENCE, shadow=True))
        return behind + front

    @property
    def _reference(self) -> Reference | None:
        """The measured curve of the preset, behind the return alone."""
        return self.view.standing.reference if self.spec.curves[0].metric == RETURN else None

    def _lines(self, curve: Curve, style: str, columns: int, window: Extent) -> tuple[list[Line], Line]:
        series = self._series(curve)
        steps, values = series.steps, curve.metric.values(series)
        shadows = []
        if curve.shadow:
            other = self.view.series[curve.shadow]
            shadows.append(Line(other.steps, other.values, "shadow", Pattern.DOTTED, curve.pane, shadow=True))
        for left_steps, left_values in series.branches[-_BRANCHES:]:
            left_values = curve.metric.sign * left_values
            shadows.append(Line(left_steps, left_values, "abandoned", Pattern.DASHED, curve.pane, shadow=True))
        if self.options.smoothing:
            shadows.append(Line(steps, values, "shadow", Pattern.DOTTED, curve.pane, shadow=True))
            steps, values = smoothed(steps, values, columns, self.options.smoothing, window)
        return shadows, Line(steps, values, style, curve.pattern, curve.pane)

    def _reading(self, curve: Curve) -> str:
        """The value at the cursor, exactly, or the newest one."""
        series = self._series(curve)
        if self.chart_view.cursor is not None:
            return formats.exact(curve.metric.sign * series.at(self.chart_view.cursor))
        return formats.number(curve.metric.sign * series.last, 2 if curve.label else 3)

    def _series(self, curve: Curve) -> Series:
        return self.view.series[curve.metric.key]
