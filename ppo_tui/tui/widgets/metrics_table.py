"""Every number of the newest update, with its range and its course."""

from __future__ import annotations

import numpy as np
from textual.content import Content

from ...plotting import formats
from ...plotting.series import bucket_means
from ..controller import Controller
from ..metrics import sparkline
from .panel import Panel, fit

_NUMBERS = 10


class MetricsTable(Panel):
    """A row for each metric, named as in ``metrics.jsonl``."""

    def __init__(self, controller: Controller, *, id: str | None = None) -> None:
        super().__init__(controller, id=id)
        self._first = 0
        self._top = ""  # the first metric of a table that is scrolled, which stays there when others come

    def on_mount(self) -> None:
        self.entitle("5 Metrics")

    def move(self, across: int, down: int) -> None:
        room = max(1, self.content_size.height - 1)
        names = self._names()
        self._first = max(0, min(self._first_of(names) + down, len(names) - room))
        self._top = names[self._first] if self._first else ""
        self.renew()

    def _names(self) -> list[str]:
        return sorted(name for name, series in self.controller.view.series.items() if len(series))

    def _first_of(self, names: list[str]) -> int:
        return names.index(self._top) if self._top in names else self._first

    def draw(self, width: int, height: int) -> Content:
        names = self._names()
        first = self._first_of(names)
        if not names:
            return fit(Content.assemble(("metrics come with the first update", "$quiet")), width)
        columns = "".join(f"{word:>{_NUMBERS}}" for word in ("now", "lowest", "highest"))
        longest = max(map(len, names))
        lines = [fit(Content.assemble((f"{'metric':<{longest}}{columns}", "$quiet")), width)]
        room = max(0, width - longest - 3 * _NUMBERS - 2)
        lines += [self._row(name, longest, room, width) for name in names[first : first + height - 1]]
        return Content("\n").join(lines)

    def _row(self, name: str, longest: int, room: int, width: int) -> Content:
        values = self.controller.view.series[name].values
        finite = values[np.isfinite(values)]
        ends = (float(finite.min()), float(finite.max())) if len(finite) else (None, None)
        numbers = "".join(f"{formats.number(number):>{_NUMBERS}}" for number in (float(values[-1]), *ends))
        spark = sparkline(bucket_means(values, room)) if room > 3 else ""
        return fit(Content.assemble(f"{name:<{longest}}", (numbers, "bold"), "  ", (spark, "$curve-1")), width)
