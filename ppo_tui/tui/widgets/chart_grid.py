"""All charts of a run, with one window and one cursor.

As many as fit are shown at a time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from textual import events
from textual.app import ComposeResult

from ..chart_view import ChartView
from ..metrics import CHARTS, RETURN, ChartSpec, chart_of, environment_charts
from ..topics import Topic
from ..verdicts import missing
from ..view import RunView
from .chart import Chart
from .curves import CurvesWidget
from .overlay import RunCurves
from .plain import Container

_FEWEST_CELLS = 34, 8
"""Below this size of each, fewer charts are clearer."""

_ALONE_BELOW = 100
"""Columns below which charts stand side by side only if they do so in several rows."""

_BEST_ASPECT = 4.0
"""Columns to rows of a chart that reads well."""


@dataclass(frozen=True)
class Arrangement:
    """Charts in columns and rows; the first takes the remaining room."""

    columns: int
    rows: int
    shown: int

    @property
    def first_spans(self) -> int:
        """Columns of the first chart."""
        return self.columns * self.rows - self.shown + 1


def arrange(width: int, height: int, count: int) -> Arrangement:
    """Arrange up to `count` charts in `width` × `height` cells."""
    most_rows = max(1, height // _FEWEST_CELLS[1])
    most_columns = 1 if width < _ALONE_BELOW and most_rows == 1 else max(1, width // _FEWEST_CELLS[0])
    shown = min(count, most_columns * most_rows)
    fitting = [(columns, math.ceil(shown / columns)) for columns in range(1, min(most_columns, shown) + 1)]
    columns, rows = min(
        ((columns, rows) for columns, rows in fitting if rows <= most_rows),
        key=lambda shape: abs(math.log(max(width, 1) / shape[0] / (max(height, 1) / shape[1]) / _BEST_ASPECT)),
    )
    return Arrangement(columns, rows, shown)


class ChartGrid(Container):
    """The standard charts, the environment's and the user's; one is chosen.

    Keys go to the chosen one.

    Where not all fit, the page with the chosen one is shown. The first chart is on every page with room for two.

    Attributes:
        chart_view: the window and the cursor of all charts.
        has_keys: whether keys go to the charts, not to another panel.
    """

    DEFAULT_CSS = """
    ChartGrid { layout: grid; height: 1fr; min-height: 3; }
    ChartGrid Chart { width: 100%; height: 100%; }
    """

    def __init__(self, view: RunView, *, ascii: bool = False, id: str | None = None) -> None:
        super().__init__(id=id)
        self.view = view
        self.chart_view = ChartView(ascii=ascii)
        self.has_keys = False
        self.charts = [Chart(view, spec, self.chart_view) for spec in CHARTS]
        self._of_environment: dict[str, Chart] = {}
        self._chosen = 0
        self._page = 0

    def compose(self) -> ComposeResult:
        yield from self.charts

    def on_mount(self) -> None:
        self.choose(0)

    def on_resize(self, event: events.Resize) -> None:
        self._arrange()

    @property
    def chosen(self) -> Chart:
        return self.charts[self._chosen]

    def lay_over(self, runs: Sequence[RunCurves]) -> None:
        """Lay the returns of other runs over this one's."""
        for chart in self.charts:
            chart.others = tuple(runs) if chart.spec.curves[0].metric == RETURN else ()
        self.renew()

    def renew(self) -> None:
        """Paint the changes in the visible charts."""
        self._leave_out_missing()
        self._show_environment()
        for chart in self.charts:
            chart.active = self.has_keys and chart is self.chosen
            chart.renew()

    def topics(self) -> tuple[list[Topic], int]:
        """The things in all charts, and the chosen chart's first index."""
        of_charts = [chart.topics() for chart in self.charts]
        before = of_charts[: self._chosen]
        return [topic for topics in of_charts for topic in topics], sum(map(len, before))

    def _leave_out_missing(self) -> None:
        """Remove the standard charts without a metric of this algorithm."""
        for chart in [chart for chart in self.charts if not chart.spec.added]:
            if all(missing(self.view, curve.metric.key) for curve in chart.spec.curves):
                self._remove(self.charts.index(chart))

    def _show_environment(self) -> None:
        """Show new numbers of the environment, once each."""
        for spec in environment_charts(self.view.series):
            if (chart := self._of_environment.get(spec.id)) is None:
                self._of_environment[spec.id] = self._append(spec)
                self._arrange()
            elif chart.spec != spec:  # the first episode has ended
                chart.spec = spec

    # ── Choosing ───────────────────────────────────────────────────────────────────────────────────────────

    def choose(self, index: int) -> None:
        """Choose the chart of this index, if there is one."""
        if 0 <= index < len(self.charts):
            self._chosen = index
            for position, chart in enumerate(self.charts):
                chart.chosen = position == index
            self._arrange()

    def choose_next(self, direction: int) -> None:
        self.choose((self._chosen + direction) % len(self.charts))

    @property
    def added(self) -> list[str]:
        """Metrics of the charts added by the user."""
        return [chart.spec.curves[0].metric.key for chart in self.charts if chart.spec.added]

    def toggle_metric(self, key: str) -> None:
        """Add a chart of this metric and choose it, or remove it."""
        if key in self.added:
            added = [chart.spec.curves[0].metric.key if chart.spec.added else "" for chart in self.charts]
            self._remove(added.index(key))
        else:
            self._add(chart_of(key))

    def show_metric(self, key: str) -> None:
        """Choose a chart with this metric; add one if there is none."""
        for index, chart in enumerate(self.charts):
            if any(curve.metric.key == key for curve in chart.spec.curves):
                self.choose(index)
                return
        self._add(chart_of(key))

    def _add(self, spec: ChartSpec) -> None:
        self._append(spec)
        self.choose(len(self.charts) - 1)

    def _append(self, spec: ChartSpec) -> Chart:
        chart = Chart(self.view, spec, self.chart_view)
        self.charts.append(chart)
        self.mount(chart)
        return chart

    def _remove(self, index: int) -> None:
        self.charts.pop(index).remove()
        self.choose(min(self._chosen, len(self.charts) - 1))

    def _arrange(self) -> None:
        page, where = self._paged(arrange(self.size.width, self.size.height, len(self.charts)).shown)
        fit = arrange(self.size.width, self.size.height, len(page))
        self.styles.grid_size_columns, self.styles.grid_size_rows = fit.columns, fit.rows
        for chart in self.charts:
            chart.display = chart in page
            chart.panel = "1" if chart is page[0] else ""
            chart.styles.column_span = fit.first_spans if chart is page[0] else 1
            chart.page = where if chart is page[-1] else ""
        self.call_after_refresh(self.renew)

    def _paged(self, room: int) -> tuple[list[Chart], str]:
        """The charts on the chosen one's page, and its number.

        There is room for `room` charts. The first one keeps the page where it is.
        """
        first, *others = self.charts
        if room > len(others):
            return self.charts, ""
        if room == 1:
            return [self.chosen], f"page {self._chosen + 1}/{len(self.charts)} ↑↓"
        pages = math.ceil(len(others) / (room - 1))
        self._page = (self._chosen - 1) // (room - 1) if self._chosen else min(self._page, pages - 1)
        begin = self._page * (room - 1)
        return [first, *others[begin : begin + room - 1]], f"page {self._page + 1}/{pages} ↑↓"

    # ── Messages ────────────────────────────────────────────────────────────────────────────────────────────

    def on_curves_widget_chosen(self, message: CurvesWidget.Chosen) -> None:
        message.stop()
        if isinstance(message.chart, Chart) and message.chart in self.charts:
            self.choose(self.charts.index(message.chart))
