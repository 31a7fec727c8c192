"""The worker processes: a row each where there is room, one line in all where there is not."""

from __future__ import annotations

from collections import Counter

from textual.content import Content

from ...protocol import WorkerInfo, WorkerState
from .. import formats
from .panel import Panel, bar, fit

_STATES = {
    WorkerState.STARTING: ("○", "$quiet"),
    WorkerState.STEPPING: ("▸", "$success"),
    WorkerState.WAITING: ("·", "$quiet"),
    WorkerState.DEAD: ("✗", "bold $error"),
}


class Workers(Panel):
    """State, pace, waiting, games and memory of every worker."""

    def on_mount(self) -> None:
        self.renew()

    def renew(self) -> None:
        restarts = sum(worker.restarts for worker in self.run.view.workers)
        self.entitle("Workers", f"↻ {restarts} restarted" if restarts else "")
        super().renew()

    def draw(self, width: int, height: int) -> Content:
        workers = self.run.view.workers
        if not workers:
            return fit(Content.assemble(("workers  ", "$quiet"), "not started yet"), width)
        if height < 3:
            return fit(_summary(workers), width)
        shown = list(workers)
        room = height - 1
        if len(shown) > room:
            shown = sorted(shown, key=lambda worker: (worker.state is not WorkerState.DEAD, worker.index))[: room - 1]
        lines = [
            fit(Content.assemble((_HEADING[: _NARROW if width < len(_HEADING) else None], "$quiet")), width),
            *(fit(_row(each, width), width) for each in shown),
        ]
        if len(shown) < len(workers):
            rest = f"and {len(workers) - len(shown)} more: "
            lines.append(fit(Content.assemble((rest, "$quiet"), _summary(workers)), width))
        return Content("\n").join(lines)


_HEADING = f"{'#':>2} {'state':<10} {'steps/s':>7} {'waiting':<11} {'games':>5} {'return':>6} {'MB':>4}"
_NARROW = len(_HEADING) - 5


def _row(worker: WorkerInfo, width: int) -> Content:
    symbol, style = _STATES[worker.state]
    return Content.assemble(
        f"{worker.index:>2}",
        ("↻" if worker.restarts else " ", "$warning"),
        (f"{symbol} {worker.state:<8}", style),
        f" {formats.count(worker.steps_per_second):>7} ",
        bar(worker.wait_share, 6, "$curve-2"),
        f" {formats.percent(worker.wait_share)} {formats.count(worker.episodes):>5} ",
        f"{formats.number(worker.last_return):>6}",
        f" {worker.memory_mb:>4.0f}" if width >= len(_HEADING) else "",
    )


def _summary(workers: tuple[WorkerInfo, ...]) -> Content:
    states = Counter(worker.state for worker in workers)
    dead = states[WorkerState.DEAD]
    waiting = sum(worker.wait_share for worker in workers) / len(workers)
    pace = formats.count(sum(worker.steps_per_second for worker in workers))
    parts: list[str | tuple[str, str]] = [("workers  ", "$quiet"), f"{len(workers)}"]
    if dead:
        parts.append((f"  ✗ {dead} dead", "bold $error"))
    restarts = sum(worker.restarts for worker in workers)
    games = formats.count(sum(worker.episodes for worker in workers))
    memory = sum(worker.memory_mb for worker in workers)
    parts.append(f"  {pace} steps/s  waiting {formats.percent(waiting).strip()}  {games} games  {memory:.0f} MB")
    if restarts:
        parts.append((f"  {restarts}× restarted", "$warning"))
    return Content.assemble(*parts)
