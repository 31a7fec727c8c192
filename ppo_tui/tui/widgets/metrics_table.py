"""Every number of the newest update, with its range and its course."""

from __future__ import annotations

import numpy as np
from textual.content import Content

from ...plotting import formats
from ...plotting.series import bucket_means
from ..controller import Controller
from ..metrics import sparkline
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
        self._top = ""  # the first metric of a table that is scrolled, which stays there when others come

    def on_mount(self) -> None:
        self.renew()

    def renew(self) -> None:
        shown, everything = len(self._names(self.filter)), len(self._names(""))
        self.entitle(f"5 Metrics · {shown} of {everything}" if self.filter else "5 Metrics")
        super().renew()

    def move(self, across: int, down: int) -> None:
        room = max(1, self.content_size.height - 1)
        names = self._names(self.filter)
        self._first = max(0, min(self._first_of(names) + down, len(names) - room))
        self._top = names[self._first] if self._first else ""
        self.renew()

    def _first_of(self, names: list[str]) -> int:
        return names.index(self._top) if self._top in names else self._first

    def draw(self, width: int, height: int) -> Content:
        names = self._names(self.filter)
        if not names:
            text = f"no metric has {self.filter!r}" if self.filter else "metrics come with the first update"
            return fit(Content.assemble((text, "$quiet")), width)
        longest = max(map(len, self._names("")))
        numbers = 3 if width >= longest + 3 * _NUMBERS else 1
        heading = "".join(f"{word:>{_NUMBERS}}" for word in _COLUMNS[:numbers])
        lines = [fit(Content.assemble((f"{'metric':<{longest}}{heading}", "$quiet")), width)]
        first = max(0, min(self._first_of(names), len(names) - height + 1))
        lines += [self._row(name, longest, numbers, width) for name in names[first : first + height - 1]]
        return Content("\n").join(lines)

    def _names(self, wanted: str) -> list[str]:
        """The metrics to show; times come last."""
        series = self.controller.view.series
        names = (name for name in series if len(series[name]) and matches(wanted, name))
        return sorted(names, key=lambda name: (name.startswith("time/"), name))

    def _row(self, name: str, longest: int, numbers: int, width: int) -> Content:
        values = self.controller.view.series[name].values
        finite = values[np.isfinite(values)]
        ends = (float(finite.min()), float(finite.max())) if len(finite) else (None, None)
        texts = "".join(f"{formats.number(each):>{_NUMBERS}}" for each in (float(values[-1]), *ends)[:numbers])
        room = width - longest - numbers * _NUMBERS - 2
        spark = sparkline(bucket_means(values, room)) if room > 3 else ""
        return fit(Content.assemble(f"{name:<{longest}}", (texts, "bold"), "  ", (spark, "$curve-1")), width)
