"""The worker processes: a row or a cell each, or one line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from textual.content import Content

from ...plotting import formats
from ...protocol import WorkerInfo, WorkerState
from ...statistics import stragglers
from ..controller import Controller
from .panel import Panel, bar, fit

_STATES = {
    WorkerState.STARTING: ("○", "$quiet"),
    WorkerState.STEPPING: ("▸", "$success"),
    WorkerState.WAITING: ("·", "$quiet"),
    WorkerState.DEAD: ("✗", "bold $error"),
}


class Workers(Panel):
    """State, pace, waiting, episodes, restarts and memory of every worker."""

    def __init__(self, controller: Controller, *, id: str | None = None) -> None:
        super().__init__(controller, id=id)
        self._first = 0

    def on_mount(self) -> None:
        self.renew()

    def renew(self) -> None:
        workers = self.controller.view.workers
        restarts = sum(worker.restarts for worker in workers)
        slow = len(_stragglers(workers))
        notes = [f"↻ {restarts} restarted" if restarts else "", f"◂ {slow} slow" if slow else ""]
        self.entitle("2 Workers", "  ".join(filter(None, notes)))
        super().renew()

    def move(self, across: int, down: int) -> None:
        room = max(1, self.content_size.height - 2)
        self._first = max(0, min(self._first + down, len(self.controller.view.workers) - room))
        self.renew()

    def drawn_from(self) -> object:
        return self.controller.view.workers, self.controller.view.starting, self._first

    def draw(self, width: int, height: int) -> Content:
        workers = self.controller.view.workers
        if not workers:
            starting = self.controller.view.starting
            text = (
                f"{starting.ready} of {starting.workers} ready" if starting and starting.workers else "not started yet"
            )
            return fit(Content.assemble(("workers  ", "$quiet"), text), width)
        if height < 3:
            return fit(_summary(workers), width)
        slow = _stragglers(workers)
        if len(workers) < height:
            lines = [_heading(width), *(_row(each, each.index in slow, width) for each in workers)]
        elif len(workers) <= (height - 1) * (width // _CELL):
            lines = [_summary(workers), *_cells(workers, slow, width // _CELL)]
        else:
            shown = workers[self._first : self._first + height - 2]
            lines = [_heading(width), *(_row(each, each.index in slow, width) for each in shown), _summary(workers)]
        return Content("\n").join(fit(line, width) for line in lines)


def _stragglers(workers: Sequence[WorkerInfo]) -> frozenset[int]:
    """Find the stragglers of the last rollout."""
    most_envs = max((worker.num_envs for worker in workers), default=1)
    alive = [worker for worker in workers if worker.state is not WorkerState.DEAD]
    return stragglers({worker.index: worker.answer_share * most_envs / worker.num_envs for worker in alive})


_STATE, _BAR = 8, 5
_HEADING = f"{'#':>3} {'state':<{_STATE + 2}} {'steps/s':>7} {'waiting':<{_BAR + 4}} {'eps':>5} {'return':>6}"
_EXTRA = f" {'↻':>2} {'MB':>4}"
_CELL = 12
"""Cells of the screen for a worker without a line of its own."""


def _heading(width: int) -> Content:
    return Content.assemble((_HEADING + (_EXTRA if _with_extra(width) else ""), "$quiet"))


def _with_extra(width: int) -> bool:
    return width >= len(_HEADING) + len(_EXTRA)


def _state(worker: WorkerInfo) -> tuple[str, str, str]:
    """Symbol, word and style of a worker's state."""
    symbol, style = _STATES[worker.state]
    if worker.state is WorkerState.STARTING and worker.restarts:
        return "↻", "restart", "$warning"
    return symbol, str(worker.state), style


def _row(worker: WorkerInfo, slow: bool, width: int) -> Content:
    symbol, word, style = _state(worker)
    return Content.assemble(
        f"{worker.index:>3}",
        ("◂" if slow else " ", "bold $warning"),
        (f"{symbol} {word:<{_STATE}}", style),
        f" {formats.count(worker.steps_per_second):>7} ",
        bar(worker.wait_share, _BAR, "$curve-2"),
        (formats.percent(worker.wait_share), "bold $warning" if slow else ""),
        f" {formats.count(worker.episodes):>5} {formats.number(worker.last_return):>6}",
        f" {worker.restarts or '':>2} {worker.memory_mb:>4.0f}" if _with_extra(width) else "",
    )


def _cells(workers: Sequence[WorkerInfo], slow: frozenset[int], columns: int) -> Iterator[Content]:
    """Rows of cells: number, sign, state and steps a second."""
    for start in range(0, len(workers), columns):
        parts: list[str | tuple[str, str]] = []
        for worker in workers[start : start + columns]:
            symbol, _, style = _state(worker)
            sign = "◂" if worker.index in slow else "↻" if worker.restarts else " "
            parts += [f"{worker.index:>3}", (sign, "bold $warning"), (symbol, style)]
            parts.append(f"{formats.count(worker.steps_per_second, 2):>5}  ")
        yield Content.assemble(*parts)


def _summary(workers: Sequence[WorkerInfo]) -> Content:
    dead = sum(worker.state is WorkerState.DEAD for worker in workers)
    restarts = sum(worker.restarts for worker in workers)
    slow = _stragglers(workers)
    pace = formats.count(sum(worker.steps_per_second for worker in workers))
    waiting = formats.percent(sum(worker.wait_share for worker in workers) / len(workers)).strip()
    episodes = formats.count(sum(worker.episodes for worker in workers))
    parts: list[str | tuple[str, str]] = [("workers  ", "$quiet"), f"{len(workers)}"]
    if dead:
        parts.append((f"  ✗ {dead} dead", "bold $error"))
    if slow:
        parts.append((f"  ◂ {', '.join(map(str, sorted(slow)))} slow", "bold $warning"))
    parts.append(f"  {pace} steps/s  waiting {waiting}  {episodes} eps")
    if restarts:
        parts.append((f"  ↻ {restarts} restarted", "$warning"))
    parts.append(f"  {sum(worker.memory_mb for worker in workers):.0f} MB")
    return Content.assemble(*parts)
