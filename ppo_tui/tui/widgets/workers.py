"""The worker processes: a row or a cell each, or one line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from textual.content import Content

from ...plotting import formats
from ...protocol import WorkerInfo, WorkerState
from ...statistics import stragglers
from ..controller import Controller
from ..topics import Topic, of_workers
from .panel import Panel, bar, fit

_STATES = {
    WorkerState.STARTING: ("○", "$quiet"),
    WorkerState.STEPPING: ("▸", "$success"),
    WorkerState.WAITING: ("·", "$quiet"),
    WorkerState.DEAD: ("✗", "bold $error"),
}


class Workers(Panel):
    """State, pace, busy share, episodes, restarts and memory of every worker."""

    def __init__(self, controller: Controller, *, id: str | None = None) -> None:
        super().__init__(controller, id=id)
        self._first = 0
        self._entitled_from: Sequence[WorkerInfo] | None = None

    def on_mount(self) -> None:
        self.renew()

    def renew(self) -> None:
        workers = self.controller.view.workers
        if workers is not self._entitled_from:
            self._entitled_from = workers
            restarts = sum(worker.restarts for worker in workers)
            slow = len(_stragglers(workers))
            notes = [f"↻ {restarts} restarted" if restarts else "", f"◂ {slow} slow" if slow else ""]
            self.entitle("2 Workers", "  ".join(filter(None, notes)))
        super().renew()

    def move(self, across: int, down: int) -> None:
        room = max(1, self.content_size.height - 2)
        self._first = max(0, min(self._first + down, len(self.controller.view.workers) - room))
        self.renew()

    def topics(self) -> Sequence[Topic]:
        workers = self.controller.view.workers
        return [*of_workers(), *(topic for worker in workers for topic in of_workers(worker.index))]

    def topic_at(self, x: int, y: int) -> Topic | None:
        workers, height = self.controller.view.workers, self.content_size.height
        first = self._first if len(workers) >= height else 0
        index = first + y - 1
        if height < 3 or not 0 <= index < len(workers) or len(workers) > height - 1 + first:
            return self.topic
        return of_workers(workers[index].index)[0]

    def drawn_from(self) -> object:
        return self.controller.view.workers, self.controller.view.starting, self._first, self.controller.view.fps

    def draw(self, width: int, height: int) -> Content:
        workers = self.controller.view.workers
        if not workers:
            starting = self.controller.view.starting
            text = "not started yet" if self.controller.session.shows_game else "a record has no workers"
            if starting and starting.workers:
                text = f"{starting.ready} of {starting.workers} ready"
            return fit(Content.assemble(("workers  ", "$quiet"), text), width)
        if height < 3:
            return fit(_summary(workers, self._pace), width)
        slow = _stragglers(workers)
        pace = self._pace
        if len(workers) < height:
            lines = [_heading(width), *(_row(each, each.index in slow, pace, width) for each in workers)]
        elif len(workers) <= (height - 1) * (width // _CELL):
            lines = [_summary(workers, pace), *_cells(workers, slow, pace, width // _CELL)]
        else:
            shown = workers[self._first : self._first + height - 2]
            rows = (_row(each, each.index in slow, pace, width) for each in shown)
            lines = [_heading(width), *rows, _summary(workers, pace)]
        return Content("\n").join(fit(line, width) for line in lines)

    @property
    def _pace(self) -> float:
        """A worker's part of the run's pace, for its own while collecting.

        So the parts add up to the speed in the head, which counts the time of learning too.
        """
        collecting = sum(worker.steps_per_second for worker in self.controller.view.workers)
        fps = self.controller.view.fps
        return fps / collecting if fps and collecting else 1.0


def _stragglers(workers: Sequence[WorkerInfo]) -> frozenset[int]:
    """Find the stragglers of the last rollout."""
    most_envs = max((worker.num_envs for worker in workers), default=1)
    alive = [worker for worker in workers if worker.state is not WorkerState.DEAD]
    return stragglers({worker.index: worker.answer_share * most_envs / max(1, worker.num_envs) for worker in alive})


_STATE, _BAR = 8, 5
_HEADING = f"{'#':>3} {'state':<{_STATE + 2}} {'steps/s':>7} {'busy':<{_BAR + 4}}"
_EPISODES = f" {'eps':>5} {'return':>6}"
_EXTRA = f" {'↻':>2} {'MB':>4}"
_CELL = 12
"""Cells of the screen for a worker without a line of its own."""


def _heading(width: int) -> Content:
    return Content.assemble(("".join((_HEADING, *_columns(width, _EPISODES, _EXTRA))), "$quiet"))


def _columns(width: int, *texts: str) -> list[str]:
    """The further columns with room behind the first ones."""
    ends = len(_HEADING) + len(_EPISODES), len(_HEADING) + len(_EPISODES) + len(_EXTRA)
    return [text for text, end in zip(texts, ends, strict=True) if end <= width]


def _state(worker: WorkerInfo) -> tuple[str, str, str]:
    """Symbol, word and style of a worker's state."""
    symbol, style = _STATES[worker.state]
    if worker.state is WorkerState.STARTING and worker.restarts:
        return "↻", "restart", "$warning"
    return symbol, str(worker.state), style


def _row(worker: WorkerInfo, slow: bool, pace: float, width: int) -> Content:
    symbol, word, style = _state(worker)
    busy = 1 - worker.wait_share
    columns = _columns(
        width,
        f" {formats.count(worker.episodes):>5} {formats.number(worker.last_return):>6}",
        f" {worker.restarts or '':>2} {worker.memory_mb:>4.0f}",
    )
    return Content.assemble(
        f"{worker.index:>3}",
        ("◂" if slow else " ", "bold $warning"),
        (f"{symbol} {word:<{_STATE}}", style),
        f" {formats.count(pace * worker.steps_per_second):>7} ",
        bar(busy, _BAR, "$warning" if slow else "$primary"),
        (formats.percent(busy), "bold $warning" if slow else ""),
        *columns,
    )


def _cells(workers: Sequence[WorkerInfo], slow: frozenset[int], pace: float, columns: int) -> Iterator[Content]:
    """Rows of cells: number, sign, state and steps a second."""
    for start in range(0, len(workers), columns):
        parts: list[str | tuple[str, str]] = []
        for worker in workers[start : start + columns]:
            symbol, _, style = _state(worker)
            sign = "◂" if worker.index in slow else "↻" if worker.restarts else " "
            parts += [f"{worker.index:>3}", (sign, "bold $warning"), (symbol, style)]
            parts.append(f"{formats.count(pace * worker.steps_per_second, 2):>5}  ")
        yield Content.assemble(*parts)


def _summary(workers: Sequence[WorkerInfo], factor: float) -> Content:
    dead = sum(worker.state is WorkerState.DEAD for worker in workers)
    restarts = sum(worker.restarts for worker in workers)
    slow = _stragglers(workers)
    pace = formats.count(factor * sum(worker.steps_per_second for worker in workers))
    busy = formats.percent(1 - sum(worker.wait_share for worker in workers) / len(workers)).strip()
    episodes = formats.count(sum(worker.episodes for worker in workers))
    parts: list[str | tuple[str, str]] = [("workers  ", "$quiet"), f"{len(workers)}"]
    if dead:
        parts.append((f"  ✗ {dead} dead", "bold $error"))
    if slow:
        parts.append((f"  ◂ {', '.join(map(str, sorted(slow)))} slow", "bold $warning"))
    parts.append(f"  {pace} steps/s  busy {busy}  {episodes} eps")
    if restarts:
        parts.append((f"  ↻ {restarts} restarted", "$warning"))
    parts.append(f"  {sum(worker.memory_mb for worker in workers):.0f} MB")
    return Content.assemble(*parts)
