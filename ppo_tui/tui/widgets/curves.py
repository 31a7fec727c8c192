"""`CurvesWidget`: curves in a frame; only changed cells are painted."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.style import Style as VisualStyle
from textual.widget import Widget

from ...plotting import formats, raster
from ...plotting.braille import ASCII, BRAILLE, Glyphs
from ...plotting.marks import Mark, marks_near
from ...plotting.picture import STYLES, Entry, Picture, Pieces, Row, draw_frame, write_foot, write_legend
from ...plotting.plot import Line, Plotted, height_at, plot
from ...plotting.series import FloatArray
from ..chart_view import ChartView, Extent
from ..metrics import SMOOTHINGS
from ..theme import chart_style
from .painting import Filters, paint_now, repaint
from .plain import Plain
from .plot_pixels import PlotPixels


@dataclass
class CurveOptions:
    """The options of one chart.

    Attributes:
        log_axis: whether the vertical axes are logarithmic.
        smoothing: span of the moving average, one of `SMOOTHINGS`.
    """

    log_axis: bool = False
    smoothing: float = 0.0

    def next_smoothing(self) -> None:
        self.smoothing = SMOOTHINGS[(SMOOTHINGS.index(self.smoothing) + 1) % len(SMOOTHINGS)]


_SMALLEST_FRAME = (6, 3)
_ZOOM_OF_WHEEL = 1.25


class CurvesWidget(Plain, Widget):
    """Base of charts: draws anew on changes, and paints the difference.

    Attributes:
        chart_view: the window and the cursor, which several charts may share.
        options: axes and smoothing, of this chart alone.
        chosen: whether keys would go to it among its kind; it then shows the step under the cursor.
        active: whether keys go to it now; its frame is then heavy.
        picture: the newest, of all its cells; None before the first.
        plotted: the curves in it, with their axes, likewise.
    """

    DEFAULT_CSS = """
    CurvesWidget { width: 1fr; height: 1fr; }
    """

    class Chosen(Message):
        """The user clicked on this chart."""

        def __init__(self, chart: CurvesWidget) -> None:
            super().__init__()
            self.chart = chart

    class CursorPut(Message):
        """A move of the cursor or the window with the mouse.

        Charts with the same view look different now.
        """

    def __init__(self, chart_view: ChartView, options: CurveOptions, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.chart_view = chart_view
        self.options = options
        self.chosen = self.active = False
        self._shown: tuple[object, ...] = ()
        self.picture: Picture | None = None
        self.plotted: Plotted | None = None
        self._front: list[Line] = []  # the curves of the newest picture, without their shadows
        self._cell_styles: dict[str, Style] | None = None
        self._filters: Filters | None = None
        self._pixels = PlotPixels(self)
        self._restoring = False

    # ── For subclasses ──────────────────────────────────────────────────────────────────────────────────────

    @abstractmethod
    def fingerprint(self) -> tuple[object, ...]:
        """Differs whenever the data or the options do."""

    @abstractmethod
    def lines(self, columns: int, window: Extent) -> list[Line]:
        """The curves, the front ones last.

        Args:
            columns: the columns of dots that there are at most.
            window: the steps that will be seen.
        """

    @abstractmethod
    def title(self) -> Pieces:
        """The text before the legend."""

    @abstractmethod
    def legend(self) -> list[Entry]:
        """One entry for each curve, with its value.

        The value is that under the cursor, or the newest one.
        """

    @abstractmethod
    def extent(self) -> Extent:
        """The first and the last step."""

    @abstractmethod
    def points(self) -> FloatArray:
        """The steps with a point, for the cursor."""

    def marks(self) -> Sequence[Mark]:
        return ()

    def story(self) -> str:
        """The course of it all in some words, below the curves."""
        return ""

    @property
    def without_data(self) -> str:
        """The words in a chart before its first point."""
        return "no data yet"

    def notes(self) -> list[str]:
        """Unusual options of the drawing."""
        notes = ["log"] if self.options.log_axis else []
        if self.chart_view.span:
            start, stop = self.extent()
            notes.append(f"×{formats.setting(float(f'{(stop - start) / self.chart_view.span:.2g}'))}")
        return notes

    @property
    @abstractmethod
    def grows(self) -> bool:
        """Whether more points are to come."""

    # ── The cursor ──────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def at_cursor(self) -> bool:
        """Whether values are those under the cursor."""
        return self.chart_view.cursor is not None

    def under_cursor(self, index: int) -> float:
        """The height of a drawn curve at the cursor; NaN beside it.

        It may be an average.

        Args:
            index: the curve's, in the order of the legend.
        """
        cursor = self.chart_view.cursor
        return math.nan if cursor is None or index >= len(self._front) else height_at(self._front[index], cursor)

    def move_cursor(self, cells: int) -> None:
        """Move the cursor by cells, to a point of the curve."""
        width = self.plotted.width if self.plotted else self.size.width
        self.chart_view.move_cursor(cells, width, self.points(), self.extent())

    def zoom(self, factor: float, about: float | None = None) -> None:
        self.chart_view.zoom(factor, self.extent(), len(self.points()), about)

    def pan(self, share: float) -> None:
        self.chart_view.pan(share, self.extent())

    def on_click(self, event: events.Click) -> None:
        self.post_message(self.Chosen(self))
        if self.plotted and (step := self.plotted.position(event.x - self._inset)) is not None:
            self.chart_view.put_cursor(step, self.points(), self.extent())
            self.post_message(self.CursorPut())

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self._zoom_at(event, 1 / _ZOOM_OF_WHEEL)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        self._zoom_at(event, _ZOOM_OF_WHEEL)

    def _zoom_at(self, event: events.MouseEvent, factor: float) -> None:
        event.stop()
        about = self.plotted.position(event.x - self._inset) if self.plotted else None
        self.zoom(factor, about)
        self.post_message(self.CursorPut())

    # ── Painting ────────────────────────────────────────────────────────────────────────────────────────────

    def renew(self) -> None:
        """Paint the changes; nothing while the chart is invisible."""
        if not self.display or not self.size.area:
            self.picture = None
            return
        cell = self._pixels.cell
        shown = (
            self.size,
            cell,
            self.chart_view.fingerprint,
            self.options.log_axis,
            self.options.smoothing,
            self.chosen,
            self.active,
            *self.fingerprint(),
        )
        if self.picture is not None and shown == self._shown:
            if self._pixels.is_stale:
                self._draw_pixels()
            return
        before, self.picture, self._shown = self.picture, self._paint(*self.size), shown
        moved = self._pixels.place(self._plot_area if cell else Region())
        if moved or before is None or (before.width, before.height) != self.size:
            self.refresh()
            return
        area = self._pixels.area
        if spans := self.picture.changes(before, (area.line_range, area.column_range)):
            repaint(self, [(row, at, self._filtered_piece(row, at, at + width)) for row, at, width in spans])
        if any(area.overlaps(Region(at, row, width, 1)) for row, at, width in spans):
            paint_now(self)
            self._pixels.forget()
        self._draw_pixels()

    @property
    def _plot_area(self) -> Region:
        """The cells of the curves, as long as there are any."""
        plotted = self.plotted
        return Region(self._inset + plotted.left, self._inset, plotted.width, plotted.height) if plotted else Region()

    def _draw_pixels(self) -> None:
        if self._pixels.area and self.plotted and (cell := self._pixels.cell):
            styles = {name: style.color for name, style in self._styles_by_name().items()}
            styles["background"] = self.rich_style.bgcolor
            colours = {name: color.get_truecolor() for name, color in styles.items() if color}
            cursor = self.chart_view.cursor
            self._pixels.draw(raster.paint(self.plotted, cell, colours, marks=self.marks(), cursor=cursor))

    def _restore_pixels(self) -> None:
        """Draw the pixels again, over newly painted cells."""
        self._restoring = False
        if self.is_attached:
            self.renew()
            self._pixels.forget()
            self._draw_pixels()

    def on_unmount(self) -> None:
        self._pixels.remove()

    def render_lines(self, crop: Region) -> list[Strip]:
        if not self._pixels.wanted:
            return super().render_lines(crop)
        if not self._restoring:
            self._restoring = True
            self.call_later(self._restore_pixels)
        return [self._filtered_line(y).crop(crop.x, crop.right) for y in range(crop.y, crop.bottom)]

    def _filtered_piece(self, y: int, start: int, stop: int) -> Strip:
        if self._pixels.wanted or self.picture is None:
            return self._filtered_line(y).crop(start, stop)
        return self._filtered(self._strip(self.picture.row(y, start, stop)))

    def _filtered_line(self, y: int) -> Strip:
        return self._pixels.splice(y, self._filtered(self.render_line(y)))

    def _filtered(self, strip: Strip) -> Strip:
        if self._filters is None:
            self._filters = Filters(self)
        return self._filters.apply(strip)

    def render_line(self, y: int) -> Strip:
        width, height = self.size
        if self.picture is None or (self.picture.width, self.picture.height) != (width, height):
            self.renew()
        if self.picture is None or y >= self.picture.height:
            return Strip.blank(width, self.rich_style)
        return self._strip(self.picture.row(y))

    def _strip(self, row: Row) -> Strip:
        styles = self._styles_by_name()
        return Strip([Segment(text, styles[name]) for text, name in row], sum(len(text) for text, _ in row))

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._cell_styles = self._filters = None

    def _styles_by_name(self) -> dict[str, Style]:
        if self._cell_styles is None:
            base = self.visual_style
            self._cell_styles = {name: (base + VisualStyle.parse(chart_style(name))).rich_style for name in STYLES}
        return self._cell_styles

    @property
    def glyphs(self) -> Glyphs:
        return ASCII if self.chart_view.ascii else BRAILLE

    @property
    def _inset(self) -> int:
        """Cells of the frame on each side; none without room."""
        return int(self.size.width >= _SMALLEST_FRAME[0] and self.size.height >= _SMALLEST_FRAME[1])

    def _paint(self, width: int, height: int) -> Picture:
        picture, inset = Picture(width, height), self._inset
        inner_width, inner_height = width - 2 * inset, height - 2 * inset
        window = self.chart_view.window(self.extent(), grows=self.grows)
        lines = self.lines(self.glyphs.columns * inner_width, window)
        self._front = [line for line in lines if not line.shadow]
        plotted = self.plotted = plot(
            lines,
            inner_width,
            inner_height,
            x_range=window,
            log=self.options.log_axis,
            marks=self.marks(),
            cursor=self.chart_view.cursor,
            glyphs=self.glyphs,
            unit="steps",
            without_data=self.without_data,
        )
        if inset:
            draw_frame(picture, self.glyphs, active=self.active)
            write_legend(picture, self.glyphs, self.title(), self.legend())
            left = (self._at_the_cursor() if self.chosen else "") or self.story()
            write_foot(picture, self.glyphs, left, " · ".join(self.notes()))
        picture.paste(plotted.picture, inset, inset)
        return picture

    @property
    def marks_at_cursor(self) -> list[Mark]:
        """The marks under the cursor, or beside it, the most telling first."""
        if self.chart_view.cursor is None or self.plotted is None:
            return []
        start, stop = self.plotted.x_range
        return marks_near(self.marks(), self.chart_view.cursor, 1.5 * (stop - start) / max(self.plotted.width, 1))

    def _at_the_cursor(self) -> str:
        """The step under the cursor, and its marks."""
        if self.chart_view.cursor is None:
            return ""
        return " · ".join([f"step {self.chart_view.cursor:,.0f}", *(mark.text for mark in self.marks_at_cursor)])
