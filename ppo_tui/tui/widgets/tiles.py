"""Tiles: a metric's newest value, its trend and its course."""

from __future__ import annotations

from textual.content import Content

from ...plotting import formats
from ...plotting.series import Series, bucket_means
from ..controller import Controller
from ..metrics import CPU, GPU, TILES, Metric, sparkline, trend
from .panel import Panel, fit
from .plain import Horizontal

_NO_DATA = Series()
_ARROWS = {1: "▲", -1: "▼", 0: "─"}


class Tile(Panel):
    """One metric in two lines; without a border, with its label."""

    def __init__(self, controller: Controller, metric: Metric) -> None:
        super().__init__(controller, id=f"tile-{metric.label.replace(' ', '-').replace('.', '').replace('-%', '')}")
        self.metric = metric
        self.entitle(metric.label)

    def drawn_from(self) -> object:
        return self.controller.view.series.get(self.metric.key, _NO_DATA).version

    def draw(self, width: int, height: int) -> Content:
        values = self.metric.values(self.controller.view.series.get(self.metric.key, _NO_DATA))
        newest = formats.number(float(values[-1]) if len(values) else None)
        value = Content.assemble((f"{newest:<{max(1, min(8, width - 1))}}", "bold"), (_ARROWS[trend(values)], "$quiet"))
        bordered = self.styles.border_top[0] not in ("", "none")
        spark_width = width if bordered else width - 10
        spark = Content.assemble((sparkline(bucket_means(values, spark_width)) if spark_width > 3 else "", "$curve-1"))
        if bordered:
            return fit(value, width) + Content("\n") + fit(spark, width)
        label = Content.assemble((self.metric.label, "$quiet"))
        return fit(label, width) + Content("\n") + fit(value + Content(" ") + spark, width)


class Tiles(Horizontal):
    """A row of tiles, with one for the processor in use."""

    def __init__(self, controller: Controller, *, id: str | None = None) -> None:
        self.tiles = [Tile(controller, metric) for metric in TILES]
        super().__init__(*self.tiles, id=id)
        self._controller = controller

    def on_mount(self) -> None:
        self.renew()

    def renew(self) -> None:
        on_gpu = GPU.key in self._controller.view.series
        for tile in self.tiles:
            if tile.metric in (CPU, GPU):
                tile.set_class((tile.metric is GPU) != on_gpu, "-unused")
            tile.renew()
