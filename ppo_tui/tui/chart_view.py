"""`ChartView`: the window and the cursor shared by all charts. No widget."""

from __future__ import annotations

import math

from ..plotting.series import FloatArray

Extent = tuple[float, float]
"""The first and the last step of some curves."""

_STEPS_OF_GROWTH = 16
_FEWEST_POINTS = 4


def room_to_grow(extent: Extent, span: float) -> float:
    """The end of a window of `span` steps on growing curves.

    At most a sixteenth of the window lies empty.

    If the window ended at the newest step, every new point would move all others, and every cell would be repainted.
    """
    start, stop = extent
    if stop <= start or span <= 0:
        return stop
    unit = 2.0 ** math.floor(math.log2(span)) / _STEPS_OF_GROWTH
    return start + math.ceil((stop - start) / unit) * unit


class ChartView:
    """The window and the cursor of charts.

    Attributes:
        cursor: the step under the cursor, or None without one.
        ascii: draw with plain characters, for fonts without braille.
        span: steps that the window shows, or None for all of them.
        end: the window's right end, or None to follow the newest step.
    """

    def __init__(self, *, ascii: bool = False) -> None:
        self.ascii = ascii
        self.cursor: float | None = None
        self.span: float | None = None
        self.end: float | None = None

    @property
    def fingerprint(self) -> tuple[object, ...]:
        """Differs whenever charts look different."""
        return self.ascii, self.cursor, self.span, self.end

    def window(self, extent: Extent, *, grows: bool) -> Extent:
        """The steps at the left and the right edge.

        The curves reach over `extent`.

        Args:
            grows: leave some room for the next points.
        """
        start, stop = extent
        span = stop - start if self.span is None else self.span
        end = room_to_grow(extent, span) if grows and self.end is None else stop if self.end is None else self.end
        return (start, end) if self.span is None else (end - span, end)

    def zoom(self, factor: float, extent: Extent, points: int, about: float | None = None) -> None:
        """Show `factor` times as many steps.

        Args:
            points: of the curve over the whole extent: no window is narrower than a few of them.
            about: the step that keeps its place; by default that of the cursor, or the newest without one in sight.
        """
        start, stop = extent
        whole = stop - start
        if whole <= 0:
            return
        left, right = self.window(extent, grows=False)
        narrowest = min(whole, whole * _FEWEST_POINTS / max(points - 1, 1))
        span = max((right - left) * factor, narrowest)
        if span >= whole:
            self.span = self.end = None
            return
        pivot = self.cursor if about is None else about
        self.span = span
        if pivot is not None and left <= pivot <= right:
            share = (pivot - left) / (right - left)
            self._end_at(pivot + (1 - share) * span, extent)
        elif self.end is not None:
            self._end_at((left + right) / 2 + span / 2, extent)

    def pan(self, share: float, extent: Extent) -> None:
        """Move the window by a share of its width, within the curves."""
        if self.span is not None:
            _, right = self.window(extent, grows=False)
            self._end_at(right + share * self.span, extent)

    def move_cursor(self, cells: int, width: int, steps: FloatArray, extent: Extent) -> None:
        """Move the cursor by cells, to a point of the curve.

        A cell is one of a chart of `width` cells.

        It moves by at least one point, begins at the newest one, and takes the window along.

        Args:
            steps: where the curve has points, never decreasing, [n].
        """
        if not len(steps):
            return
        if self.cursor is None:
            self.look_at(float(steps[-1]), extent)
            return
        left, right = self.window(extent, grows=False)
        target = self.cursor + cells * (right - left) / max(width, 1)
        if cells > 0:
            index = max(steps.searchsorted(target, "left"), steps.searchsorted(self.cursor, "right"))
        else:
            index = min(steps.searchsorted(target, "right"), steps.searchsorted(self.cursor, "left")) - 1
        self.look_at(float(steps[min(max(int(index), 0), len(steps) - 1)]), extent)

    def put_cursor(self, step: float, steps: FloatArray, extent: Extent) -> None:
        """Put the cursor on the point nearest to `step`."""
        if len(steps):
            after = min(int(steps.searchsorted(step)), len(steps) - 1)
            before = max(after - 1, 0)
            nearer = before if abs(steps[before] - step) <= abs(steps[after] - step) else after
            self.look_at(float(steps[nearer]), extent)

    def reset(self) -> None:
        """Everything from the first step to the newest, without a cursor."""
        self.cursor = self.span = self.end = None

    def look_at(self, step: float, extent: Extent) -> None:
        """Put the cursor there; the window follows if it must."""
        self.cursor = step
        left, right = self.window(extent, grows=False)
        if self.span is not None and not left <= step <= right:
            self._end_at(step + self.span / 2, extent)

    def _end_at(self, end: float, extent: Extent) -> None:
        """Let the window end there, within the curves.

        At their end it follows them.
        """
        assert self.span is not None, "a window has a span"
        start, stop = extent
        end = max(end, start + self.span)
        self.end = None if end >= stop else end
