"""A chart's own screen, the actions of charts, and more charts."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, cast

import numpy as np
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Input
from textual.widgets import OptionList as AnyOptionList
from textual.widgets.option_list import Option

from ...plotting import formats
from ...plotting.marks import neighbour
from .. import keys
from ..controller import Controller
from ..metrics import Curve
from ..topics import Explains, Topic
from ..view import EPISODE_RETURNS
from ..widgets.chart import Chart
from ..widgets.chart_grid import ChartGrid
from ..widgets.curves import CurvesWidget
from ..widgets.key_line import KeyLine
from ..widgets.panel import FAR
from ..widgets.plain import OptionList, Plain, Vertical
from .once import Dialog
from .run_screen import RunScreen

if TYPE_CHECKING:
    from ..terminal_app import TerminalApp


class ChartActions:
    """The actions of keys on charts, for a screen."""

    @property
    @abstractmethod
    def chart(self) -> CurvesWidget:
        """The chart with the keyboard."""

    @abstractmethod
    def renew_charts(self) -> None:
        """Paint the changes in this chart and its companions.

        Those share its window and cursor.
        """

    def action_cursor(self, cells: int) -> None:
        self.chart.move_cursor(cells)
        self.renew_charts()

    def action_zoom(self, factor: float) -> None:
        self.chart.zoom(factor)
        self.renew_charts()

    def action_magnify(self, factor: float) -> None:
        """Zoom by keys with other meanings in other panels."""
        self.action_zoom(factor)

    def action_pan(self, share: float) -> None:
        self.chart.pan(share)
        self.renew_charts()

    def action_log_axis(self) -> None:
        self.chart.options.log_axis = not self.chart.options.log_axis
        self.renew_charts()

    def action_smoothing(self) -> None:
        self.chart.options.next_smoothing()
        self.renew_charts()

    def action_pixels(self) -> None:
        """Draw all charts in pixels, or in characters again."""
        if cast("TerminalApp", self.chart.app).toggle_pixel_charts():
            self.renew_charts()

    def action_reset_charts(self) -> None:
        self.chart.chart_view.reset()
        self.renew_charts()

    def on_curves_widget_cursor_put(self) -> None:
        self.renew_charts()


class Readings(Plain, Widget):
    """A line for each curve: its range and its present value.

    The range is that within the window, the value that under the cursor.
    """

    DEFAULT_CSS = "Readings { height: auto; padding: 0 1; }"

    def __init__(self, chart: Chart) -> None:
        super().__init__()
        self._chart = chart
        self._shown = Content("")

    def renew(self) -> None:
        """Repaint if the text has changed."""
        lines = [self._line(index, curve) for index, curve in enumerate(self._chart.spec.curves)]
        content = Content("\n").join(lines)
        if content.plain != self._shown.plain:
            self._shown = content
            self.refresh(layout=True)

    def render(self) -> Content:
        return self._shown

    def _line(self, index: int, curve: Curve) -> Content:
        chart = self._chart
        series = chart.view.series[curve.metric.key]
        start, stop = chart.chart_view.window(chart.extent(), grows=False)
        first, last = np.searchsorted(series.steps, [start, stop], "left")
        inside = curve.metric.values(series)[first : last + 1]
        inside = inside[np.isfinite(inside)]
        parts = [f"{chart.glyphs.samples[curve.pattern]} {curve.metric.label}"]
        if len(inside):
            low, mean, high = (formats.number(float(f(inside))) for f in (np.min, np.mean, np.max))
            parts.append(
                f"lowest {low:<{formats.NUMBER_CELLS}}  mean {mean:<{formats.NUMBER_CELLS}}  "
                f"highest {high:<{formats.NUMBER_CELLS}}"
            )
        if (cursor := chart.chart_view.cursor) is not None:
            parts.append(f"here {formats.exact(chart.reading(index))}")
            if chart.options.smoothing:
                parts.append(f"raw {formats.exact(curve.metric.sign * series.at(cursor))}")
        return Content(chart.glyphs.plain("   ".join(parts)))


class ChartScreen(Explains, ChartActions, RunScreen):
    """One chart over the whole screen, with the grid's window and cursor."""

    BINDINGS: ClassVar[list[BindingType]] = [*keys.bindings(keys.CHART)]

    def __init__(self, controller: Controller, charts: ChartGrid) -> None:
        super().__init__(controller)
        self._charts = charts
        self._zoomed = Chart(charts.view, charts.chosen.spec, charts.chart_view)
        self._zoomed.chosen = self._zoomed.active = True
        self._readings = Readings(self._zoomed)

    def compose(self) -> ComposeResult:
        yield self.header
        yield self._zoomed
        yield self._readings
        yield KeyLine()

    def on_screen_resume(self, event: events.ScreenResume) -> None:
        self.renew_charts()

    def on_screen_suspend(self) -> None:
        self._charts.renew()

    @property
    def chart(self) -> Chart:
        return self._zoomed

    def renew_charts(self) -> None:
        self._zoomed.become(self._charts.chosen)
        self._zoomed.renew()
        self._readings.renew()

    def action_move(self, across: int, down: int) -> None:
        """Move the cursor by a cell (across) or a mark (down)."""
        if across:
            self.action_cursor(across)
        elif (step := neighbour(self.chart.marks(), self.chart.chart_view.cursor, down)) is not None:
            self.chart.chart_view.look_at(step, self.chart.extent())
            self.renew_charts()

    def action_page(self, direction: int) -> None:
        self.action_pan(direction)

    def action_end(self, direction: int) -> None:
        """To the first or the newest point."""
        self.action_pan(direction * FAR)
        self.action_cursor(direction * FAR)

    def action_maximise(self) -> None:
        self.action_back()

    def topics(self) -> tuple[list[Topic], int]:
        return self._charts.topics()

    def action_next_chart(self, direction: int) -> None:
        self._charts.choose_next(direction)
        self.renew_charts()


class MetricPicker(Dialog[str | None]):
    """All logged metrics, to choose one; None chooses none."""

    AUTO_FOCUS = "Input"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Close"),
        Binding("down", "move(1)", show=False),
        Binding("up", "move(-1)", show=False),
    ]
    DEFAULT_CSS = """
    MetricPicker OptionList { max-height: 20; }
    """

    def __init__(self, charts: ChartGrid) -> None:
        super().__init__()
        self._charts = charts
        self._list = OptionList(compact=True)
        self._list.can_focus = False

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as box:
            box.entitle("A chart of any metric", "enter adds or removes · esc closes")
            yield Input(placeholder="type to filter", compact=True)
            yield self._list

    def on_mount(self) -> None:
        self._fill("")

    def on_input_changed(self, event: Input.Changed) -> None:
        self._fill(event.value)

    def on_input_submitted(self) -> None:
        if self._list.highlighted is not None:
            self._choose(self._list.get_option_at_index(self._list.highlighted))

    def on_option_list_option_selected(self, event: AnyOptionList.OptionSelected) -> None:
        self._choose(event.option)

    def action_move(self, direction: int) -> None:
        (self._list.action_cursor_down if direction > 0 else self._list.action_cursor_up)()

    def _fill(self, wanted: str) -> None:
        """List the metrics with every typed word in their names."""
        words = wanted.lower().split()
        names = sorted(key for key in self._charts.view.series if key != EPISODE_RETURNS)
        names = [name for name in names if all(word in name.lower() for word in words)]
        at = self._list.highlighted
        chosen = self._list.get_option_at_index(at).id if at is not None else None
        self._list.clear_options()
        if names:
            added = self._charts.added
            self._list.add_options(
                Option(Content(f"{'✓' if name in added else ' '} {name}"), id=name) for name in names
            )
            self._list.highlighted = names.index(chosen) if chosen in names else 0
        else:
            nothing = "no metric of this name" if words else "no metrics before the first update"
            self._list.add_option(Option(nothing, disabled=True))

    def _choose(self, option: Option) -> None:
        if option.id is not None:
            self.dismiss(option.id)
