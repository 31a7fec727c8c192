"""Every number of the newest update, with its range and its course."""

from __future__ import annotations

import numpy as np
from textual.content import Content

from ...plotting import formats
from ...plotting.series import bucket_means
from ..controller import Controller
from ..metrics import sparkline
from ..topics import Topic
from ..verdicts import judge, sign
from .panel import Panel, fit

_NUMBERS = 10


class MetricsTable(Panel):
    """A row for each metric, named as in ``metrics.jsonl``."""

    def __init__(self, controller: Controller, *, id: str | None = None) -> None:
        super().__init__(controller, id=id)
        self._first = 0
        self._cursor = 0

    def on_mount(self) -> None:
        self.entitle("5 Metrics")

    def move(self, across: int, down: int) -> None:
        self._cursor = max(0, min(self._cursor + down, len(self._names()) - 1))
        self.renew()

    def topics(self) -> list[Topic]:
        return [Topic(name) for name in self._names()] or [Topic("panel/metrics")]

    @property
    def topic(self) -> Topic | None:
        names = self._names()
        return Topic(names[min(self._cursor, len(names) - 1)]) if names else Topic("panel/metrics")

    def topic_at(self, x: int, y: int) -> Topic | None:
        """The metric of a row; a click puts the cursor there."""
        if 0 < y <= len(self._names()) - self._first:
            self.move(0, self._first + y - 1 - self._cursor)
        return self.topic

    def _names(self) -> list[str]:
        return sorted(name for name, series in self.controller.view.series.items() if len(series))

    def draw(self, width: int, height: int) -> Content:
        names = self._names()
        if not names:
            return fit(Content.assemble(("metrics come with the first update", "$quiet")), width)
        columns = "".join(f"{word:>{_NUMBERS}}" for word in ("now", "lowest", "highest"))
        longest = max(map(len, names))
        lines = [fit(Content.assemble((f"  {'metric':<{longest}}{columns}", "$quiet")), width)]
        room = max(0, width - longest - 3 * _NUMBERS - 6)
        self._cursor = min(self._cursor, len(names) - 1)
        self._first = max(self._cursor - height + 2, min(self._first, self._cursor))
        lines += [self._row(name, longest, room, width) for name in names[self._first : self._first + height - 1]]
        return Content("\n").join(lines)

    def _row(self, name: str, longest: int, room: int, width: int) -> Content:
        values = self.controller.view.series[name].values
        finite = values[np.isfinite(values)]
        ends = (float(finite.min()), float(finite.max())) if len(finite) else (None, None)
        now, *others = (f"{formats.number(number):>{_NUMBERS}}" for number in (float(values[-1]), *ends))
        spark = sparkline(bucket_means(values, room)) if room > 3 else ""
        here = name == self._names()[self._cursor]
        verdict = judge(self.controller.view, name)
        return fit(
            Content.assemble(
                ("▸ " if here else "  ", "bold $primary"),
                (f"{name:<{longest}}", "bold" if here else ""),
                (now, "bold"),
                " ",
                sign(verdict) if verdict else " ",
                ("".join(others)[1:], "bold"),
                "  ",
                (spark, "$curve-1"),
            ),
            width,
        )
