"""The start screen: presets to train, and runs to look at."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from textual import events, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content
from textual.message import Message
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Input

from ... import __version__
from ...plotting import formats
from ...plotting.series import bucket_means
from ...runs.registry import RunSummary, list_runs
from ...text import one_line
from .. import keys
from ..cells import longest, padded
from ..controller import Controller
from ..metrics import sparkline
from ..overview import NO_COURSE, PresetFacts, RunCourse, courses, duration, preset_facts
from ..run_list import REFRESH_SECONDS, state_look
from ..session.idle import Choice, StartSession
from ..widgets.filter_line import FilterLine, matches
from ..widgets.key_line import KeyLine
from ..widgets.listing import Listing
from ..widgets.panel import fit
from ..widgets.plain import Horizontal, Static

_NAME, _TIME = 23, 18
"""Cells for the name of a preset, and for how long it takes."""

_TIME_FROM = _NAME + 14
"""Width from which on a row says how long its preset takes, which stands below in any case."""

_SENTENCE_FROM = _NAME + _TIME + 20
"""Width from which on a row has the sentence of its preset, which stands below in any case."""

_STATE_FROM, _STEPS_FROM = 48, 60
"""Widths from which on a row of a run has its state in words, and its steps."""


class StartScreen(Screen[None]):
    """Presets on the left, the runs of this directory on the right.

    Enter starts a preset, attaches to a running run, or replays one that has ended. Files are read in threads, one
    after the other, so that the screen stands at once and never waits for a disk.
    """

    BINDINGS: ClassVar[list[BindingType]] = [*keys.bindings(keys.START)]
    AUTO_FOCUS = ""

    class Chosen(Message):
        """The session has the user's choice."""

    def __init__(self, controller: Controller, session: StartSession) -> None:
        super().__init__()
        self._session = session
        self._presets: Sequence[PresetFacts] = ()
        self._runs: Sequence[RunSummary] = ()
        self._courses: Mapping[str, RunCourse] = {}
        self._read_runs = self._is_reading = False
        self._sides = (
            Listing(controller, empty="reading the presets …", id="presets"),
            Listing(controller, empty="looking for runs …", id="start-runs"),
        )
        self._side = 0
        self._shown_presets: Sequence[PresetFacts] = ()
        self._shown_runs: Sequence[RunSummary] = ()
        self._details = Static(id="start-details")
        self._filter = FilterLine("presets and the runs")

    def compose(self) -> ComposeResult:
        yield Static(
            Content.assemble(
                ("ppo-tui", "bold $primary"),
                (f" {__version__}   train a preset, or look at a run", "$quiet"),
            ),
            id="start-title",
        )
        yield Horizontal(*self._sides, id="start-sides")
        yield self._details
        yield self._filter
        yield KeyLine()

    def on_mount(self) -> None:
        self._renew()
        self._load_presets()
        self._look_for_runs()
        self.set_interval(REFRESH_SECONDS, self._look_for_runs)

    def on_resize(self) -> None:
        self.call_after_refresh(self._renew)

    # ── Reading ─────────────────────────────────────────────────────────────────────────────────────────────

    @work(thread=True, group="presets")
    def _load_presets(self) -> None:
        self.app.call_from_thread(self._take_presets, preset_facts())

    def _take_presets(self, presets: Sequence[PresetFacts]) -> None:
        self._presets = presets
        self._renew()

    def _look_for_runs(self) -> None:
        """Read the runs in a thread, unless one still reads them."""
        if not self._is_reading:
            self._is_reading = True
            self._load_runs()

    @work(thread=True, group="runs")
    def _load_runs(self) -> None:
        runs = list_runs()
        self.app.call_from_thread(self._take_runs, runs, {})
        known = {run.path: self._courses[run.path] for run in runs if run.path in self._courses and not run.under_way}
        found = dict(courses([run for run in runs if run.path not in known]))
        everything = {run.path: known.get(run.path) or found.get(run.path, NO_COURSE) for run in runs}
        self.app.call_from_thread(self._take_runs, runs, everything)
        self._is_reading = False

    def _take_runs(self, runs: Sequence[RunSummary], found: Mapping[str, RunCourse]) -> None:
        self._runs, self._read_runs = runs, True
        self._courses = {**self._courses, **found}
        if self.is_attached:
            self._renew()

    # ── Painting ────────────────────────────────────────────────────────────────────────────────────────────

    def _renew(self) -> None:
        presets, runs = self._sides
        wanted = self._filter.value
        self._shown_presets = [each for each in self._presets if matches(wanted, f"{each.name} {each.sentence}")]
        self._shown_runs = [each for each in self._runs if matches(wanted, f"{each.name} {each.state} {each.env}")]
        presets.entitle(_counted("Presets", self._shown_presets, self._presets, wanted))
        runs.entitle(_counted("Runs here", self._shown_runs, self._runs, wanted))
        presets.show(
            Content(f"{'preset':<{_NAME}}{'takes' if presets.content_size.width >= _TIME_FROM else ''}"),
            [self._preset_row(each) for each in self._shown_presets],
        )
        if self._read_runs and not self._shown_runs:
            runs.say("no run has this in it" if self._runs else "none yet: choose a preset, enter starts it")
        runs.show(self._run_heading(), [self._run_row(each) for each in self._shown_runs])
        for number, side in enumerate(self._sides):
            side.set_class(number == self._side, "-focused")
        self._describe()

    def _preset_row(self, preset: PresetFacts) -> Content:
        takes, style = duration(preset, self._ordered_courses), "$success"
        if preset.install:
            takes, style = "not installed", "$warning"
        elif not takes and preset.steps:
            takes, style = f"{formats.count(preset.steps)} steps", "$quiet"
        name, width = padded(preset.name, _NAME - 1) + " ", self._sides[0].content_size.width
        if width < _TIME_FROM:
            return Content.styled(name, "" if not preset.install else style)
        if width < _SENTENCE_FROM:
            return Content.assemble(name, (takes.removesuffix(" here"), style))
        return Content.assemble(name, (f"{takes:<{_TIME}}", style), (one_line(preset.sentence), "$quiet"))

    @property
    def _ordered_courses(self) -> dict[str, RunCourse]:
        """The newest run first."""
        return {run.path: self._courses[run.path] for run in self._runs if run.path in self._courses}

    def _run_cells(self, name: str, state: str, steps: str, score: str) -> tuple[str, int]:
        """A row of a run, and the cells left for its curve."""
        width = self._sides[1].content_size.width - 4
        cells = f" {state:<9}" * (width >= _STATE_FROM) + f" {steps:>6}" * (width >= _STEPS_FROM) + f" {score:>7} "
        longest_name = longest(one_line(run.name) for run in self._shown_runs)
        spark = max(0, min(24, (width - len(cells)) // 3, width - len(cells) - min(longest_name, 32)))
        room = max(8, min(32, width - len(cells) - spark))
        return padded(name, room) + cells, spark

    def _run_heading(self) -> Content:
        return Content("  " + self._run_cells("run", "state", "steps", "return")[0])

    def _run_row(self, run: RunSummary) -> Content:
        sign, style = state_look(run.state)
        returns = self._courses.get(run.path, NO_COURSE).returns
        score = formats.number(run.last_return)
        cells, spark = self._run_cells(one_line(run.name), f"{one_line(run.state):.9}", formats.count(run.step), score)
        return Content.assemble((f"{sign} ", style), cells, (sparkline(bucket_means(returns, spark)), "$curve-1"))

    def _describe(self) -> None:
        chosen, width = self._chosen, max(20, self._details.content_size.width)
        if isinstance(chosen, PresetFacts):
            lines = self._of_preset(chosen)
        else:
            lines = self._of_run(chosen) if chosen else [Content("")]
        self._details.update(Content("\n").join(fit(line, width) for line in lines))

    def _of_preset(self, preset: PresetFacts) -> list[Content]:
        facts = [preset.env, f"{formats.count(preset.steps)} steps" if preset.steps else ""]
        if takes := duration(preset, self._ordered_courses):
            facts.append(takes if takes.endswith("here") else f"{takes} on {preset.machine}")
        while len(facts) > 1 and len(" · ".join(filter(None, facts))) > self._details.content_size.width:
            facts.pop(0)
        if preset.install:
            action = Content.assemble(("not installed: ", "$warning"), (preset.install, "bold"))
        else:
            action = Content.assemble(("enter ", "bold"), ("starts it: ", "$quiet"), f"ppo-tui --preset {preset.name}")
        return [Content(one_line(preset.sentence)), Content.styled(" · ".join(filter(None, facts)), "$quiet"), action]

    def _of_run(self, run: RunSummary) -> list[Content]:
        done = f"{run.step:,}" + (f" of {run.total_steps:,}" if run.total_steps else "") + " steps"
        facts = [
            run.env,
            done,
            f"return {formats.number(run.last_return)}, best {formats.number(run.best_return)}",
            f"started {formats.span(run.age_seconds)} ago",
        ]
        action = "attaches to it" if run.under_way else "replays it"
        name = one_line(run.name)
        directory = one_line(run.name if run.sweep else Path(run.path).name)  # whatever run.json calls it
        command = f"ppo-tui {'attach' if run.under_way else 'replay'} {shlex.quote(directory)}"
        return [
            Content.assemble((name, "bold"), f"  {one_line(run.state)}"),
            Content.styled(" · ".join(filter(None, facts)), "$quiet"),
            Content.assemble(("enter ", "bold"), (f"{action}: ", "$quiet"), command),
        ]

    # ── Keys ────────────────────────────────────────────────────────────────────────────────────────────────

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Disable keys while a line is typed."""
        return not isinstance(self.focused, Input)

    @property
    def _chosen(self) -> PresetFacts | RunSummary | None:
        """The item under the cursor of the chosen side."""
        shown = (self._shown_presets, self._shown_runs)[self._side]
        return shown[self._sides[self._side].cursor] if shown else None

    def action_next_side(self) -> None:
        self._go_to(1 - self._side)

    def _go_to(self, side: int) -> None:
        self._side = side
        self._renew()

    def action_move(self, across: int, down: int) -> None:
        """Choose by down and up, change the side by across."""
        if across:
            self._go_to(int(across > 0))
        else:
            self._sides[self._side].move(0, down)

    def action_page(self, direction: int) -> None:
        self._sides[self._side].page(direction)

    def action_end(self, direction: int) -> None:
        self._sides[self._side].end(direction)

    def action_filter(self) -> None:
        self._filter.show()

    def action_back(self) -> None:
        self._filter.clear_and_close()

    def on_input_changed(self, message: Input.Changed) -> None:
        self._renew()

    def on_listing_moved(self) -> None:
        self._describe()

    def on_listing_chosen(self) -> None:
        self.action_choose()

    def on_click(self, event: events.Click) -> None:
        """Change to the clicked side."""
        widget: Widget | None = event.widget
        if isinstance(widget, Listing):
            self._go_to(self._sides.index(widget))

    def action_choose(self) -> None:
        chosen = self._chosen
        if isinstance(chosen, PresetFacts):
            if chosen.install:
                self.notify(f"{chosen.name} needs an extra; install it: {chosen.install}")
                return
            self._leave(Choice("start", chosen.name))
        elif chosen is not None:
            self._leave(Choice("attach" if chosen.under_way else "replay", chosen.path))

    def _leave(self, choice: Choice) -> None:
        self._session.choice = choice
        self.post_message(self.Chosen())


def _counted(name: str, shown: Sequence[object], everything: Sequence[object], wanted: str) -> str:
    return f"{name} · {len(shown)} of {len(everything)}" if wanted else f"{name} · {len(everything)}"
