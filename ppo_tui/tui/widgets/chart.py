"""A chart of metrics over environment steps, painted only when there is something new to see."""

from __future__ import annotations

from typing import ClassVar

from rich.segment import Segment
from textual.content import Content
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from .. import formats
from ..controller import Controller
from ..metrics import ChartSpec, Curve
from ..series import smoothed
from .braille import Pattern
from .plot import Line, plot


class Chart(Widget):
    """Curves with axes in rows of braille.

    The strips of all rows are made at once and kept until data, size, options or colours change: repainting what
    has not changed costs nothing.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "chart--curve-1",
        "chart--curve-2",
        "chart--shadow",
        "chart--axis",
        "chart--mark",
    }

    class Chosen(Message):
        """The user clicked on this chart."""

        def __init__(self, chart: Chart) -> None:
            super().__init__()
            self.chart = chart

    def __init__(self, run: Controller, spec: ChartSpec, number: int) -> None:
        super().__init__(id=f"chart-{spec.id}")
        self.run = run
        self.spec = spec
        self.number = number
        self.log_axis = False
        self._strips: list[Strip] | None = None
        self._shown: tuple[int, ...] = ()

    def on_mount(self) -> None:
        self.border_title = self._title()

    def renew(self) -> None:
        """Repaint if there is new data."""
        view = self.run.view
        keys = [key for curve in self.spec.curves for key in (curve.metric.key, curve.shadow) if key]
        lengths = (*(len(view.series[key]) for key in keys), len(view.changes))
        if lengths != self._shown:
            self._shown = lengths
            self._repaint()

    def toggle_log_axis(self) -> None:
        self.log_axis = not self.log_axis
        self._repaint()

    def render_line(self, y: int) -> Strip:
        width, height = self.content_size
        if self._strips is None or len(self._strips) != height:
            self._strips = self._paint(width, height)
        return self._strips[y] if y < len(self._strips) else Strip.blank(width, self.rich_style)

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._strips = None

    def on_resize(self) -> None:
        self._strips = None

    def on_click(self) -> None:
        self.post_message(self.Chosen(self))

    def _repaint(self) -> None:
        self._strips = None
        self.border_title = self._title()
        self.refresh()

    def _title(self) -> Content:
        """Name, and for each curve a sample of its pattern and its newest value: the legend."""
        parts: list[str | tuple[str, str]] = [self.spec.title]
        if self.log_axis:
            parts.append(" (log)")
        for index, curve in enumerate(self.spec.curves, start=1):
            series = self.run.view.series[curve.metric.key]
            newest = formats.number(curve.metric.sign * series.last, 2 if curve.label else 3)
            parts.append(
                (f"{' ' if parts[-1] else ''}{curve.pattern.sample} {curve.label}".rstrip(), f"$curve-{index}")
            )
            parts.append(f" {newest}")
        return Content.assemble(*parts)

    def _paint(self, width: int, height: int) -> list[Strip]:
        if width < 1 or height < 1:
            return []
        lines = [
            line
            for index, curve in enumerate(self.spec.curves, start=1)
            for line in self._lines(curve, f"curve-{index}", width)
        ]
        shadows_first = sorted(lines, key=lambda line: not line.shadow)
        marks = [change.step for change in self.run.view.changes]
        rows = plot(shadows_first, width, height, log=self.log_axis, marks=marks)
        base = self.rich_style
        styles = {name: base + self.get_component_rich_style(f"chart--{name}", partial=True) for name in _STYLES}
        return [Strip([Segment(text, styles[name]) for text, name in row], width) for row in rows]

    def _lines(self, curve: Curve, style: str, width: int) -> list[Line]:
        """The curve itself and, behind it, its shadow."""
        series = self.run.view.series[curve.metric.key]
        steps, values = series.steps, curve.metric.values(series)
        lines = []
        if curve.shadow:
            behind = self.run.view.series[curve.shadow]
            lines.append(Line(behind.steps, behind.values, "shadow", Pattern.DOTTED, curve.pane, shadow=True))
        if curve.smooth:
            lines.append(Line(steps, values, "shadow", Pattern.DOTTED, curve.pane, shadow=True))
            steps, values = smoothed(steps, values, 2 * width)
        return [*lines, Line(steps, values, style, curve.pattern, curve.pane)]


_STYLES = tuple(name.removeprefix("chart--") for name in Chart.COMPONENT_CLASSES)
