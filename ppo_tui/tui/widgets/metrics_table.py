"""Every number of the newest update, with its range and its course."""

from __future__ import annotations

import numpy as np
from textual.content import Content

from ...plotting import formats
from ...plotting.series import bucket_means
from ..cells import longest, padded
from ..controller import Controller
from ..metrics import sparkline
from ..topics import Topic
from ..verdicts import judge, sign
from .filter_line import matches
from .panel import Panel, fit

_NUMBERS = 10
_COLUMNS = ("now", "lowest", "highest")


class MetricsTable(Panel):
    """A row for each metric, named as in ``metrics.jsonl``.

    Attributes:
        filter: only metrics with all of these words in their names are shown.
    """

    def __init__(self, controller: Controller, *, id: str | None = None) -> None:
        super().__init__(controller, id=id)
        self.filter = ""
        self._first = 0
        self._chosen = ""  # the metric under the cursor, which stays there when others come

    def on_mount(self) -> None:
        self.renew()

    def renew(self) -> None:
        if self.content_size.area:
            self._count()
        super().renew()

    def _count(self) -> None:
        shown, everything = len(self._names(self.filter)), len(self._names(""))
        self.entitle(f"5 Metrics · {shown} of {everything}" if self.filter else "5 Metrics")

    def drawn_from(self) -> object:
        view = self.controller.view
        return sum(series.version for series in view.series.values()), view.settled, self.filter, self._chosen

    def move(self, across: int, down: int) -> None:
        names = self._names(self.filter)
        self._chosen = names[max(0, min(self._cursor(names) + down, len(names) - 1))] if names else ""
        self.renew()

    def topics(self) -> list[Topic]:
        return [Topic(name) for name in self._names(self.filter)] or [Topic("panel/metrics")]

    @property
    def topic(self) -> Topic | None:
        names = self._names(self.filter)
        return Topic(names[self._cursor(names)]) if names else Topic("panel/metrics")

    def topic_at(self, x: int, y: int) -> Topic | None:
        """The metric of a row; a click puts the cursor there."""
        names = self._names(self.filter)
        if 0 < y <= len(names) - self._first:
            self.move(0, self._first + y - 1 - self._cursor(names))
        return self.topic

    def _cursor(self, names: list[str]) -> int:
        return names.index(self._chosen) if self._chosen in names else 0

    def draw(self, width: int, height: int) -> Content:
        names = self._names(self.filter)
        if not names:
            text = f"no metric has {self.filter!r}" if self.filter else "metrics come with the first update"
            return fit(Content.assemble((text, "$quiet")), width)
        names_width = longest(self._names(""))
        numbers = 3 if width >= names_width + 3 * _NUMBERS + 4 else 1
        heading = "".join(f"{word:>{_NUMBERS}}" for word in _COLUMNS[:numbers])
        lines = [fit(Content.assemble((f"  {'metric':<{names_width}}{heading}", "$quiet")), width)]
        cursor = self._cursor(names)
        self._chosen = names[cursor]
        lowest = max(0, min(cursor, len(names) - height + 1))
        self._first = min(lowest, max(cursor - height + 2, self._first))
        lines += [
            self._row(name, names_width, numbers, width, here=index == cursor)
            for index, name in list(enumerate(names))[self._first : self._first + height - 1]
        ]
        return Content("\n").join(lines)

    def _names(self, wanted: str) -> list[str]:
        """The metrics to show; times come last."""
        series = self.controller.view.series
        names = (name for name in series if len(series[name]) and matches(wanted, name))
        return sorted(names, key=lambda name: (name.startswith("time/"), name))

    def _row(self, name: str, name_width: int, numbers: int, width: int, *, here: bool) -> Content:
        values = self.controller.view.series[name].values
        finite = values[np.isfinite(values)]
        ends = (float(finite.min()), float(finite.max())) if len(finite) else (None, None)
        now, *others = (f"{formats.number(each):>{_NUMBERS}}" for each in (float(values[-1]), *ends)[:numbers])
        room = width - name_width - numbers * _NUMBERS - 6
        spark = sparkline(bucket_means(values, room)) if room > 3 else ""
        verdict = judge(self.controller.view, name)
        return fit(
            Content.assemble(
                ("▸ " if here else "  ", "bold $primary"),
                (padded(name, name_width), "bold" if here else ""),
                (now, "bold"),
                " ",
                sign(verdict) if verdict else " ",
                ("".join(others)[1:], "bold"),
                "  ",
                (spark, "$curve-1"),
            ),
            width,
        )
