"""All runs of this place."""

from __future__ import annotations

from collections.abc import Sequence

from textual import work
from textual.content import Content

from ...runs.registry import RunSummary, list_runs
from .. import formats
from ..controller import Controller
from .run_screen import ListScreen

REFRESH_SECONDS = 5.0
"""How often the runs are looked at again while the screen shows them."""


class RunsScreen(ListScreen[RunSummary]):
    """The newest run first. Files are read in a thread, so that a slow disk does not stop the screen."""

    NAME = "Runs"
    EMPTY = "no runs in ./runs"

    def __init__(self, run: Controller) -> None:
        super().__init__(run)
        self._runs: Sequence[RunSummary] = ()
        self._marked: set[str] = set()

    def on_mount(self) -> None:
        self._read()
        self.set_interval(REFRESH_SECONDS, self._read)

    @work(thread=True, exclusive=True)
    def _read(self) -> None:
        runs = list_runs()
        self.app.call_from_thread(self._show, runs)

    def _show(self, runs: Sequence[RunSummary]) -> None:
        self._runs = runs
        self.renew()

    def items(self) -> Sequence[RunSummary]:
        return self._runs

    def heading(self) -> str:
        return f"  {'name':<28} {'state':<9} {'environment':<20} {'steps':>7} {'return':>7} {'best':>7} {'age':>9}"

    def row(self, item: RunSummary) -> Content:
        here = self.run.view.started is not None and self.run.view.started.run_dir == item.path
        return Content.assemble(
            ("◆ " if item.path in self._marked else "• " if here else "  ", "bold $primary"),
            f"{formats.one_line(item.name):<28.28} {item.state:<9} {formats.one_line(item.env):<20.20} ",
            f"{formats.count(item.step):>7} {formats.number(item.last_return):>7} ",
            f"{formats.number(item.best_return):>7} ",
            (f"{formats.duration(item.age_seconds):>9}", "$quiet"),
        )

    def describe(self, item: RunSummary) -> Content:
        done = f"{item.step:,}" + (f" of {item.total_steps:,}" if item.total_steps else "")
        facts = [
            f"{done} steps",
            f"seed {item.seed}" if item.seed is not None else "",
            f"pid {item.pid}" if item.pid else "",
        ]
        marked = [run for run in self._runs if run.path in self._marked]
        lines = [
            Content.assemble((formats.one_line(item.path), "bold"), f"  {' · '.join(filter(None, facts))}"),
            Content.assemble(("enter marks a run to compare it; • is the run on this screen", "$quiet")),
        ]
        if marked:
            best = max(marked, key=lambda run: run.best_return if run.best_return is not None else float("-inf"))
            names = ", ".join(f"{run.name} {formats.number(run.best_return)}" for run in marked)
            lines[1] = Content(f"◆ {len(marked)} marked, best return of each: {names}; highest: {best.name}")
        return Content("\n").join(lines)

    def choose(self, item: RunSummary) -> None:
        self._marked ^= {item.path}
        self.renew()
