"""Tiles: a metric's newest value, its trend and its course."""

from __future__ import annotations

from textual.content import Content

from ...explanations import Grade, Verdict
from ...plotting import formats
from ...plotting.series import Series, bucket_means
from ..controller import Controller
from ..metrics import CPU, GPU, TILES, Metric, sparkline, trend
from ..topics import Topic
from ..verdicts import judge, missing, sign
from .panel import LinedPanel, fit
from .plain import Horizontal

_NO_DATA = Series()
_TRENDS = {1: "↗", -1: "↘", 0: "─"}
"""Rising, falling, steady; ▲ and ▼ stand for too high and too low."""

_CELLS = 7
"""Cells of a number in a narrow tile: enough for a positive one of three digits, or a negative one of two."""

_SIGNS = 3
"""Cells behind it: a blank, the verdict and the trend."""


class Tile(LinedPanel):
    """One metric in two lines; without a border, with its label."""

    def __init__(self, controller: Controller, metric: Metric) -> None:
        super().__init__(controller, id=f"tile-{metric.label.replace(' ', '-').replace('.', '').replace('-%', '')}")
        self.metric = metric
        self._verdict: Verdict | None = None
        self._judged_from: object = None
        self.entitle(metric.label)

    def topics(self) -> list[Topic]:
        return [Topic(self.metric.key)]

    def drawn_from(self) -> object:
        view = self.controller.view
        return view.series.get(self.metric.key, _NO_DATA).version, view.settled

    def renew(self) -> None:
        if (source := self.drawn_from()) != self._judged_from:
            self._judged_from = source
            verdict = self._verdict = judge(self.controller.view, self.metric.key)
            self.entitle(self.metric.label, verdict.word if verdict and verdict.grade is not Grade.OK else "")
        super().renew()

    def lines(self, width: int, height: int) -> list[Content]:
        """The value, then the verdict's sign, then the trend's."""
        values = self.metric.values(self.controller.view.series.get(self.metric.key, _NO_DATA))
        bordered = self.styles.border_top[0] not in ("", "none")
        roomy = width >= formats.NUMBER_CELLS + _SIGNS
        newest = formats.number(float(values[-1]) if len(values) else None, 3 if width >= _CELLS + _SIGNS else 2)
        cells = formats.NUMBER_CELLS if roomy else max(1, min(_CELLS, width - _SIGNS))
        verdict = self._verdict
        between = " " if width > cells + _SIGNS else ""
        # Where not all has room, the trend goes first: the sparkline of a larger terminal shows it, too.
        arrow = _TRENDS[trend(values)] if len(values) and width >= len(newest) + _SIGNS else ""
        value = Content.assemble(
            (f"{newest:<{cells}} ", "bold"),
            sign(verdict) if verdict else " ",
            (between + arrow, "$quiet"),
        )
        spark_width = width if bordered else width - value.cell_length - 1
        spark = Content.styled(sparkline(bucket_means(values, spark_width)) if spark_width > 3 else "", "$curve-1")
        if bordered:
            return [fit(value, width), fit(spark, width)]
        label = self.metric.label if len(self.metric.label) <= width else self.metric.label.replace(" ", "")
        return [
            fit(Content.styled(label, "$quiet"), width),
            fit(value + Content(" ") + spark if spark else value, width),
        ]


class Tiles(Horizontal):
    """A row of tiles, with one for the processor in use."""

    def __init__(self, controller: Controller, *, id: str | None = None) -> None:
        self.tiles = [Tile(controller, metric) for metric in TILES]
        super().__init__(*self.tiles, id=id)
        self._controller = controller
        self._sorted_from: object = None

    def on_mount(self) -> None:
        self.renew()

    def renew(self) -> None:
        view = self._controller.view
        on_gpu = GPU.key in view.series
        if self._sorted_from != (view, view.settled, on_gpu):
            self._sorted_from = view, view.settled, on_gpu
            for tile in self.tiles:
                if tile.metric in (CPU, GPU):
                    tile.set_class((tile.metric is GPU) != on_gpu, "-unused")
                else:
                    tile.set_class(bool(missing(view, tile.metric.key)), "-unused")
        for tile in self.tiles:
            tile.renew()
