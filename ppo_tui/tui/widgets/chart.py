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
from ...sinks.wording import describe_forecast
from ..chart_view import ChartView, Extent
from ..metrics import RETURN, ChartSpec, Curve
from ..topics import Topic
from ..view import RunView
from .curves import CurveOptions, CurvesWidget
from .overlay import RunCurves, entry_of, line_of

_REFERENCE, _THRESHOLD = Pattern.DASH_DOT, Pattern.DASHED

_BRANCHES = 8
"""Of more abandoned branches the newest are drawn."""

_EDGES = 6
"""Cells of a frame's lower edge beside a text."""

_GAMES_A_COLUMN = 2
"""Single games drawn in each column of dots: their density is still to be seen."""


class Chart(CurvesWidget):
    """Metrics of one run: averages, raw values, abandoned branches.

    That of the return also has the single games, the reference, the threshold of the environment, and other runs.

    Attributes:
        others: runs whose curves of the first metric lie over this run's.
        panel: the number of its panel, before its title.
        page: the place of this chart among others with room for some of them, such as ``page 2/3 ↑↓``; or empty.
    """

    def __init__(self, view: RunView, spec: ChartSpec, chart_view: ChartView) -> None:
        options = CurveOptions(smoothing=spec.smoothing)
        super().__init__(chart_view, options, id=f"chart-{spec.id}" if spec.id.isidentifier() else None)
        self.view = view
        self.spec = spec
        self.others: tuple[RunCurves, ...] = ()
        self.panel = ""
        self.page = ""

    def become(self, other: Chart) -> None:
        """Show the curves and options of `other`, and follow its changes."""
        self.spec, self.options, self.others = other.spec, other.options, other.others

    def fingerprint(self) -> tuple[object, ...]:
        keys = [key for curve in self.spec.curves for key in (curve.metric.key, curve.games) if key]
        versions = (self.view.series[key].version for key in keys)
        # Every episode lengthens the run, but the window only now and then: other charts stay as they are.
        extent = self.extent()
        window = self.chart_view.window(extent, grows=self.grows)
        standing = (self.view.standing.label, self.view.standing.threshold, self.story()) if self._is_return else ()
        return (
            self.spec.id,
            self.panel,
            self.grows,
            len(self.view.marks),
            self.page,
            window,
            self.chart_view.span and extent,
            *map(id, self.others),
            *standing,
            *versions,
        )

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

    def topics(self) -> list[Topic]:
        """The marks under the cursor, the curves, and those behind them."""
        found = [Topic(f"mark/{mark.kind.name.lower()}", mark.text) for mark in self.marks_at_cursor]
        found += [Topic(curve.metric.key) for curve in self.spec.curves]
        found += [Topic(curve.games) for curve in self.spec.curves if curve.games]
        if self._is_return:
            found += [Topic("mark/threshold")] if self.view.standing.threshold is not None else []
            found += [Topic("mark/reference")] if self._reference else []
        return found

    def title(self) -> Pieces:
        title = f"{self.panel} {self.spec.title}".strip()
        return [(title, "title")] if title else []

    def legend(self) -> list[Entry]:
        entries = [
            self._entry(curve, formats.number(self.reading(index)), index)
            for index, curve in enumerate(self.spec.curves)
        ]
        return entries + (self._legend_of_the_return() if self._is_return else [])

    def _entry(self, curve: Curve, value: str, index: int) -> Entry:
        sample, style, here = self.glyphs.samples[curve.pattern], _style(index), self.at_cursor
        named = Entry(sample, curve.short, "", style) if len(self.spec.curves) > 1 else None
        shorter = Entry(sample, curve.short, value, style, named, here=here) if curve.short else None
        return Entry(sample, curve.label, value, style, shorter, here=here)

    def _legend_of_the_return(self) -> list[Entry]:
        """The threshold, the games and the reference."""
        entries, samples = [], self.glyphs.samples
        if (threshold := self.view.standing.threshold) is not None:
            entries.append(Entry(samples[_THRESHOLD], f"solved {threshold:g}", "", "threshold"))
        entries.append(Entry(self.glyphs.scattered, "games", "", "quiet", Entry("", "", "", "quiet")))
        if reference := self._reference:
            sample, label = samples[_REFERENCE], self.view.standing.label
            short = label if self.view.standing.same else "as shipped"
            at = self.view.step if self.chart_view.cursor is None else self.chart_view.cursor
            value = formats.number(reference.at(reference.mean, at))
            nameless = Entry(sample, short, "", "reference")
            shorter = Entry(sample, short, value, "reference", nameless, here=self.at_cursor)
            entries.append(Entry(sample, label, value, "reference", shorter, here=self.at_cursor))
        return entries + [entry_of(run, self._reading_of(run), here=self.at_cursor) for run in self.others]

    def _reading_of(self, run: RunCurves) -> float:
        """The return of another run, at the cursor if there is one."""
        curve = run.curve(RETURN)
        return curve.last if self.chart_view.cursor is None else curve.at(self.chart_view.cursor)

    def story(self) -> str:
        """The run beside the threshold, in some words."""
        if not self._is_return:
            return ""
        standing, goal, condition, best = self.view.standing, "", "", ""
        if standing.solved is not None:
            goal = f"★ solved at {formats.count(standing.solved)}"
        elif forecast := self.view.solving:
            goal, condition = describe_forecast(forecast), ", if it goes as before"
        if standing.best:
            score, step = standing.best
            best = f"best {formats.number(score)} at {formats.count(step)}"
        together = (" · ".join(filter(None, parts)) for parts in ((goal + condition, best), (goal, best)))
        texts = [*together, goal + condition, goal or best]
        return next((text for text in texts if len(text) <= self.size.width - _EDGES), texts[-1])

    def notes(self) -> list[str]:
        notes = super().notes()
        smoothing = self.options.smoothing
        if smoothing != self.spec.smoothing:
            notes.append(f"avg {smoothing:.0%}" if smoothing else "raw")
        if (setting := EFFECTIVE_METRICS.get(self.spec.curves[0].metric.key)) and (course := self.view.course(setting)):
            notes.append(course.text)
        return [*notes, self.page] if self.page else notes

    def lines(self, columns: int, window: Extent) -> list[Line]:
        behind, front = [], []
        for index, curve in enumerate(self.spec.curves):
            shadows, line = self._lines(curve, _style(index), columns, window)
            behind += shadows
            front.append(line)
        return behind + (self._lines_beside_the_return(window) if self._is_return else []) + front

    def _lines_beside_the_return(self, window: Extent) -> list[Line]:
        lines, standing = [], self.view.standing
        if reference := self._reference:
            steps, mean = np.array(reference.steps), np.array(reference.mean)
            lines.append(Line(steps, mean, "reference", _REFERENCE, shadow=True))
        if standing.threshold is not None:
            level = np.full(2, standing.threshold)
            lines.append(Line(np.array(window), level, "threshold", _THRESHOLD, shadow=True, guide=True))
            if standing.solved is not None:
                place = np.array([float(standing.solved)]), level[:1]
                lines.append(Line(*place, "threshold", shadow=True, points=True, sign="★"))
        return lines + [line_of(run, index, RETURN) for index, run in enumerate(self.others, start=1)]

    @property
    def _is_return(self) -> bool:
        return self.spec.curves[0].metric == RETURN

    @property
    def _reference(self) -> Reference | None:
        """The measured curve of the preset."""
        return self.view.standing.reference

    def _lines(self, curve: Curve, style: str, columns: int, window: Extent) -> tuple[list[Line], Line]:
        series = self._series(curve)
        steps, values = series.steps, curve.metric.values(series)
        shadows = []
        if curve.games:
            games = _sample(self.view.series[curve.games], _GAMES_A_COLUMN * columns, window)
            shadows.append(Line(*games, "shadow", pane=curve.pane, shadow=True, points=True))
        for left_steps, left_values in series.branches[-_BRANCHES:]:
            left_values = curve.metric.sign * left_values
            shadows.append(Line(left_steps, left_values, "abandoned", Pattern.DASHED, curve.pane, shadow=True))
        if self.options.smoothing:
            shadows.append(Line(steps, values, "shadow", Pattern.DOTTED, curve.pane, shadow=True))
            steps, values = smoothed(steps, values, columns, self.options.smoothing, window)
        return shadows, Line(steps, values, style, curve.pattern, curve.pane)

    def reading(self, index: int) -> float:
        """The drawn curve's value at the cursor, or the newest one."""
        curve = self.spec.curves[index]
        return self.under_cursor(index) if self.at_cursor else curve.metric.sign * self._series(curve).last

    def _series(self, curve: Curve) -> Series:
        return self.view.series[curve.metric.key]


def _style(index: int) -> str:
    return f"curve-{index + 1}"


def _sample(series: Series, most: int, window: Extent) -> tuple[FloatArray, FloatArray]:
    """An even sample of at most `most` points in the window.

    It keeps its points while the curve grows, until it is halved.
    """
    first, last = series.steps.searchsorted(window[0], "left"), series.steps.searchsorted(window[1], "right")
    every = 1
    while last - first > most * every:
        every *= 2
    chosen = slice(-(-int(first) // every) * every, int(last), every)
    return series.steps[chosen], series.values[chosen]
