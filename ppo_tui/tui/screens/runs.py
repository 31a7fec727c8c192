"""All runs of this directory, and actions on them."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, overload

import msgspec
from textual import events, work
from textual.binding import BindingType
from textual.content import Content
from textual.message import Message
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Input

from ...errors import PPOTuiError
from ...plotting.plot import curve_letter
from ...runs import RunSummary
from ...runs.catalogue import Catalogue
from ...runs.client import ask_runs
from ...runs.registry import DAMAGED, PAUSED
from ...text import one_line
from .. import keys, run_actions
from ..chart_view import ChartView
from ..controller import READ_ONLY, Controller
from ..run_actions import Curves
from ..run_list import (
    REFRESH_SECONDS,
    SORTINGS,
    Columns,
    Item,
    Sweep,
    arrange,
    describe_item,
    is_run,
    key_of,
    run_row,
    sweep_row,
)
from ..session import Session
from ..widgets.overlay import Overlay, RunCurves, letter_style
from .charts import ChartActions
from .dialogs import TextScreen
from .run_changes import RunChanges
from .run_screen import ListScreen

_SHOW_SECONDS = 0.5
"""Least time between two fillings of the list while metrics are being read."""


class RunsScreen(ChartActions, ListScreen[Item]):
    """All runs, the newest first, with a chart of the marked ones.

    Files are read in a thread, so that a slow disk does not stop the screen.
    """

    BINDINGS: ClassVar[list[BindingType]] = [*keys.bindings(keys.RUNS)]

    NAME = "Runs"
    EMPTY = "no runs in ./runs"

    class Opened(Message):
        """A session with another run, to be shown above this screen."""

        def __init__(self, session: Session) -> None:
            super().__init__()
            self.session = session

    class Marked(Message):
        """The marked runs, for the main chart of the return."""

        def __init__(self, runs: Sequence[RunCurves]) -> None:
            super().__init__()
            self.runs = tuple(runs)

    class Watched(Message):
        """A request to watch the policy of the run in this directory."""

        def __init__(self, path: str) -> None:
            super().__init__()
            self.path = path

    def __init__(self, controller: Controller, *, ascii: bool = False) -> None:
        super().__init__(controller)
        self._catalogue = Catalogue()
        self._runs: Mapping[str, RunSummary] = {}
        self._marked: list[str] = []
        self._curves: dict[str, Curves] = {}
        self._unfolded: set[str] = set()
        self._sorting = 0
        self._columns = Columns.of(100, ())
        self._is_read = self._is_reading = self._read_again = False
        self._overlay = Overlay(ChartView(ascii=ascii))
        self._overlay.display = False
        self._reading: Timer | None = None
        self._changes = RunChanges(self, self._read)

    # ── Reading ─────────────────────────────────────────────────────────────────────────────────────────────

    def on_mount(self) -> None:
        self._reading = self.set_interval(REFRESH_SECONDS, self._read)

    def on_screen_resume(self, event: events.ScreenResume) -> None:
        self._read()
        if self._reading:
            self._reading.reset()  # resumed, it would read again at once

    def on_screen_suspend(self) -> None:
        if self._reading and not self._marked:  # their curves go on in the main chart
            self._reading.pause()

    def on_resize(self, event: events.Resize) -> None:
        self.call_after_refresh(self._fill)

    def _read(self) -> None:
        """Read all runs in a thread, and once more if asked meanwhile."""
        self._read_again = self._is_reading
        if not self._is_reading:
            self._is_reading = True
            known = {path: self._curves.get(path, Curves()) for path in self._marked}
            self._read_all(known, [item.path for item in self._items if is_run(item)])

    def _end_reading(self) -> None:
        self._is_reading = False
        if self._read_again:
            self._read()

    @work(thread=True, group="reading")
    def _read_all(self, marked: Mapping[str, Curves], on_screen: Sequence[str]) -> None:
        """Look at all runs, then read metrics, of the visible ones first."""
        runs = self._catalogue.look()
        if not self._is_read:
            self.call_later(self._take, runs)
        runs = ask_runs(runs)
        asked = {run.path: run for run in runs}
        at = time.monotonic()
        for path in dict.fromkeys([*marked, *on_screen, *asked]):
            if path not in asked or (read := self._catalogue.read(path)) is None:
                continue
            state = PAUSED if asked[path].state == PAUSED and read.under_way else read.state
            asked[path] = msgspec.structs.replace(read, state=state, step=max(read.step, asked[path].step))
            if time.monotonic() - at > _SHOW_SECONDS:
                at = time.monotonic()
                self.call_later(self._take, list(asked.values()))
        curves = {path: known.renewed(path) for path, known in marked.items() if path in asked}
        self.call_later(self._take, list(asked.values()), curves)
        self.call_later(self._end_reading)

    def _take(self, runs: Iterable[RunSummary], curves: dict[str, Curves] | None = None) -> None:
        self._runs = {run.path: run for run in runs}
        self._marked = [path for path in self._marked if path in self._runs]
        self._fill()
        if curves is not None:
            self._is_read = True
            self._curves = curves
            self._draw_marked()

    def _draw_marked(self) -> None:
        self._overlay.display = bool(self._marked)
        marked = {
            path: RunCurves(
                one_line(self._runs[path].name),
                self._curves.get(path, Curves()).series,
                curve_letter(index),
                None if self._is_own(path) else index,
            )
            for index, path in enumerate(self._marked)
        }
        self.call_after_refresh(self._overlay.show, list(marked.values()))
        self.post_message(self.Marked([run for path, run in marked.items() if not self._is_own(path)]))

    # ── The list ────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def chart(self) -> Overlay:
        return self._overlay

    def renew_charts(self) -> None:
        self._overlay.renew()

    def between(self) -> Sequence[Widget]:
        return (self._overlay,)

    def identity(self, item: Item) -> object:
        return key_of(item)

    def renew(self) -> None:
        """Bring the head up to date; events change no other run."""
        self.header.renew()
        if not self._items:
            self._fill()

    def on_input_changed(self, message: Input.Changed) -> None:
        self._fill()

    def _fill(self) -> None:
        """Show the runs as they are by now."""
        runs = list(self._runs.values())
        sorting = SORTINGS[self._sorting]
        wanted = self._filter.value
        items = arrange(runs, sorting, wanted, self._unfolded)
        self._columns = Columns.of(self._listing.content_size.width - 2, (run.name for run in runs))
        shown = sum(is_run(item) for item in items) + sum(
            len(item.trials) for item in items if isinstance(item, Sweep) and item.folded
        )
        count = f"{shown} of {len(runs)}" if wanted else f"{len(runs)}"
        self.fill(items, _Rows(self, items), f"{self.NAME} · {count} · {sorting[0]}")

    def heading(self) -> str:
        return self._columns.heading()

    def row(self, item: Item) -> Content:
        if isinstance(item, Sweep):
            return sweep_row(item, self._columns, self._catalogue.curve(item.best.path))
        return run_row(item, self._columns, self._sign(item), self._catalogue.curve(item.path))

    def _sign(self, run: RunSummary) -> Content:
        """The run's letter in the charts; a point for the own run."""
        own = self._is_own(run.path)
        letter, style = "", "primary"
        if run.path in self._marked:
            index = self._marked.index(run.path)
            letter, style = curve_letter(index), "curve-1" if own else letter_style(index)
        return Content.assemble((letter + ("•" if own else ""), f"bold ${style}"))

    def _is_own(self, path: str) -> bool:
        started = self.controller.view.started
        return started is not None and bool(started.run_dir) and _same_place(started.run_dir, path)

    def describe(self, item: Item) -> Content:
        return describe_item(item, own=is_run(item) and self._is_own(item.path))

    # ── Moving ──────────────────────────────────────────────────────────────────────────────────────────────

    def action_move(self, across: int, down: int) -> None:
        """Choose a run by down and up.

        Left and right fold and unfold a sweep, or move the cursor over the curves.
        """
        if down:
            super().action_move(across, down)
        elif across and not self._fold(across < 0):
            self.action_cursor(across)

    def _fold(self, folded: bool) -> bool:
        """Hide or show a sweep's trials; False without a change."""
        item = self.chosen
        if item is None or (is_run(item) and not (folded and item.sweep)):
            return False
        name = item.name if isinstance(item, Sweep) else item.sweep or ""
        if folded == (name not in self._unfolded):
            return False
        self._unfolded ^= {name}
        if is_run(item):  # from a trial the cursor goes to its sweep
            at = next((index for index, each in enumerate(self._items) if key_of(each) == f"sweep {name}"), 0)
            self._listing.move(0, at - self._listing.cursor)
        self._fill()
        return True

    def action_sort(self) -> None:
        self._sorting = (self._sorting + 1) % len(SORTINGS)
        self._fill()

    # ── Looking ─────────────────────────────────────────────────────────────────────────────────────────────

    def choose(self, item: Item) -> None:
        """Open a run, or unfold a sweep."""
        if isinstance(item, Sweep):
            self._fold(item.name in self._unfolded)
        elif self._is_own(item.path):
            self.dismiss()
        else:
            self._open(item, readonly=self.controller.session.only_watches)

    @work(thread=True, exclusive=True, group="opening")
    def _open(self, run: RunSummary, *, readonly: bool) -> None:
        try:
            session = run_actions.open_session(run.path, readonly=readonly)
        except (OSError, PPOTuiError) as error:
            if run.state == DAMAGED:
                self.call_later(self._show_damage, run, run_actions.damage(run))
            else:
                self.call_later(functools.partial(self.notify, str(error), severity="warning", timeout=6))
            return
        self.call_later(self._hand_over, session)

    def _hand_over(self, session: Session) -> None:
        if self.is_current:
            self.post_message(self.Opened(session))
        else:  # left meanwhile
            session.close(0.0)

    def _show_damage(self, run: RunSummary, text: Content) -> None:
        self.app.push_screen(TextScreen(f"{one_line(run.name)} is damaged", text))

    def action_mark(self) -> None:
        """Add or remove the chosen run's curve, or those of a sweep."""
        if (item := self.chosen) is None:
            return
        paths = [trial.path for trial in item.trials] if isinstance(item, Sweep) else [item.path]
        if new := [path for path in paths if path not in self._marked]:
            self._marked += new
        else:
            self._marked = [path for path in self._marked if path not in paths]
        self._fill()
        self._draw_marked()
        self._read()

    def action_watch(self) -> None:
        if (run := self._run()) is not None:
            self.post_message(self.Watched(run.path))

    def action_compare(self) -> None:
        if runs := self._several("compare"):
            self.app.push_screen(TextScreen("Compared runs", run_actions.comparison_table(runs)))

    def action_settings(self) -> None:
        if runs := self._several("differ"):
            self._show_settings(runs)

    @work(thread=True, exclusive=True, group="settings")
    def _show_settings(self, runs: Mapping[str, RunSummary]) -> None:
        table = run_actions.settings_table(runs)
        self.call_later(self.app.push_screen, TextScreen("Settings that differ", table))

    def _several(self, what: str) -> dict[str, RunSummary]:
        """At least two runs, by their letters.

        The marked ones, or the chosen one beside this screen's.
        """
        paths = list(self._marked)
        if len(paths) < 2 and (run := self._run(quietly=True)) is not None:
            own = [path for path in self._runs if self._is_own(path)]
            paths = list(dict.fromkeys([*(paths or own), run.path]))
        if len(paths) < 2:
            self.app.notify(f"mark two runs or more with space to see how they {what}", timeout=4)
            return {}
        return {curve_letter(index): self._runs[path] for index, path in enumerate(paths)}

    # ── Acting ──────────────────────────────────────────────────────────────────────────────────────────────

    def action_stop_run(self) -> None:
        if (run := self._run_to_change("stop")) is not None:
            self._changes.stop(run)

    def action_resume_run(self) -> None:
        if (run := self._run_to_change("resume")) is not None:
            self._changes.resume(run)

    def action_delete_run(self) -> None:
        if (run := self._run_to_change("delete")) is not None:
            self._changes.delete(run)

    def _run(self, *, quietly: bool = False) -> RunSummary | None:
        """The chosen run; a sweep is none."""
        item = self.chosen
        if isinstance(item, Sweep) and not quietly:
            self.app.notify(f"{one_line(item.name)} is a sweep: choose one of its trials, → shows them", timeout=4)
        return item if is_run(item) else None

    def _run_to_change(self, verb: str) -> RunSummary | None:
        """The chosen run if this screen may change it; else notify."""
        if self.controller.session.only_watches:
            self.app.notify(READ_ONLY, timeout=4)
            return None
        if (run := self._run()) is not None and self._is_own(run.path):
            self.app.notify(f"this screen shows {one_line(run.name)}: leave it with q to {verb} it", timeout=4)
            return None
        return run


class _Rows(Sequence[Content]):
    """The rows of a screen's items, each made when it is shown."""

    def __init__(self, screen: RunsScreen, items: Sequence[Item]) -> None:
        self._screen, self._items = screen, items

    def __len__(self) -> int:
        return len(self._items)

    @overload
    def __getitem__(self, index: int) -> Content: ...

    @overload
    def __getitem__(self, index: slice) -> list[Content]: ...

    def __getitem__(self, index: int | slice) -> Content | list[Content]:
        if isinstance(index, slice):
            return [self._screen.row(item) for item in self._items[index]]
        return self._screen.row(self._items[index])


def _same_place(one: str, other: str) -> bool:
    try:
        return one == other or os.path.samefile(one, other)
    except OSError:
        return False
