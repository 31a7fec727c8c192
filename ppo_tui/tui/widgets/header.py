"""The head of the screen: the run, its state, its progress."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from textual.content import Content

from ...expectations import MEAN_RETURN
from ...plotting import formats
from ...protocol import RunState
from ...sinks.wording import describe_distance, describe_forecast
from ...text import counted
from ..controller import Controller
from ..metrics import PHASES
from ..topics import HEADER_TOPICS, Topic, of_header
from .panel import KeptLine, LinedPanel, Panel, bar, fit

STATES: dict[RunState, tuple[str, str]] = {
    RunState.STARTING: ("○", "$quiet"),
    RunState.TRAINING: ("▸", "$success"),
    RunState.PAUSED: ("‖", "$warning"),
    RunState.SAVING: ("↓", "$warning"),
    RunState.FINISHED: ("✓", "$success"),
    RunState.STOPPED: ("■", "$warning"),
    RunState.FAILED: ("✗", "$error"),
    RunState.LOST: ("?", "$error"),
}
"""Symbol and colour of each state; the word always stands beside them."""


_NARROW = 60
"""Cells below which the head keeps to how far and how long."""

_ROOMY = 100
"""Cells from which on the head spells everything out."""


_BAR = 6
"""Fewest cells of the bar beside all the numbers."""

_WIDE = 150
"""Cells from which on it says under which condition the next milestone comes."""

_FORECAST = 31
"""Cells for the next milestone: "return 12500 in about 90 min", and some distance."""

_CONDITION = ", if it goes as before"

_ENLARGE, _STATUS_KEYS = " · enlarge to 60×16", " · ? q"

_NAME = 8
"""Cells of the run's name that come before the hint."""

_SPACIOUS = 72
"""Cells from which on the second half of a line has room for a sentence."""

_LABEL = 14
"""Cells before the epoch: "update 1,234  "."""

_PHASE_UPDATES = 10
_PHASE_STYLES = ("$primary", "$warning", "$secondary", "$quiet")


def state_label(state: RunState) -> Content:
    symbol, style = STATES[state]
    return Content.assemble((f"{symbol} {state.upper()}", f"bold {style}"))


class StatusLine(Panel):
    """The most important facts, for a very small terminal."""

    def draw(self, width: int, height: int) -> Content:
        view = self.controller.view
        score = view.series[MEAN_RETURN].last if MEAN_RETURN in view.series else None
        symbol, style = STATES[view.state]
        facts = f" {formats.number(score)} {formats.percent(view.share_done).strip()}"
        room = width - len(symbol) - len(facts) - len(_STATUS_KEYS)
        name = view.started.run if view.started else "ppo-tui"
        hint = _ENLARGE if room > len(_ENLARGE) + min(cell_len(name), _NAME) else ""
        shown = Content(name).truncate(max(1, room - len(hint) - 1), ellipsis=True)
        parts = (shown.stylize("bold"), (f" {symbol}", f"bold {style}"), facts, (hint + _STATUS_KEYS, "$quiet"))
        return fit(Content.assemble(*parts), width)


class Header(LinedPanel):
    """Identity, state, progress and shares of time, in 1 to 4 lines."""

    def __init__(self, controller: Controller, *, id: str | None = None) -> None:
        super().__init__(controller, id=id)
        self._first_line, self._last_line = KeptLine(), KeptLine()

    def topics(self) -> Sequence[Topic]:
        return HEADER_TOPICS

    def topic_at(self, x: int, y: int) -> Topic:
        """The field under a click."""
        lines = self.lines(*self.content_size)
        return of_header(lines[min(y, len(lines) - 1)].plain, y, x)

    def lines(self, width: int, height: int) -> list[Content]:
        lines = [self._identity, self._progress, self._update, self._phases][: max(1, height)]
        return [fit(line(width), width) for line in lines]

    def _identity(self, width: int) -> Content:
        controller, view = self.controller, self.controller.view
        session, said = controller.session, (controller.request, view.state, view.starting, view.finished)
        source = (width, view, view.settled, *said, session.status, session.reading_history)
        return self._first_line.drawn(source, lambda: self._identity_anew(width))

    def _identity_anew(self, width: int) -> Content:
        """The run and its state; stop rules or milestone on the right.

        Its room stays taken until the last one, so that nothing moves.
        """
        view = self.controller.view
        distance = describe_distance(view.stop, time_left=False) if view.stop and not view.finished else ""
        if distance and width >= _NARROW:
            room = max(_FORECAST, len(distance) + 2)
            return fit(self._facts(width - room), width - room) + Content.assemble((f"{distance:>{room}}", "$quiet"))
        room = _FORECAST + len(_CONDITION) * (width >= _WIDE)
        if not view.standing.expects or view.finished or width < _NARROW:
            return self._facts(width)
        text = f"return {describe_forecast(view.forecast)}" if view.forecast else ""
        text += _CONDITION if text and width >= _WIDE else ""
        return fit(self._facts(width - room), width - room) + Content.assemble((f"{text:>{room}}", "$quiet"))

    def _facts(self, width: int) -> Content:
        """The run, its state, and the properties with room."""
        view, started = self.controller.view, self.controller.view.started
        request = f" · {self.controller.request}…" if self.controller.request else ""
        status = f" · {self.controller.session.status}" if self.controller.session.status else ""
        reading = self.controller.session.reading_history
        parts: list[Content | tuple[str, str]] = [
            (f"{started.run if started else 'ppo-tui'}  ", "bold"),
            (status.removeprefix(" · "), "$quiet") if reading else state_label(view.state),  # the state of then
            (request, "$warning"),
            (f" · {view.starting.text}" if view.starting and not reading else "", "$quiet"),
            ("" if reading else status, "$warning"),
        ]
        if started:
            env_id = started.config.get("env", {}).get("id", "")
            facts = [
                env_id,
                f"{counted(started.num_envs, 'env')} in {counted(started.num_workers, 'worker')}",
                started.device,
                f"{formats.count(started.parameters)} weights",
                f"seed {started.seed}",
            ]
            room = width - Content.assemble(*parts).cell_length
            while facts and len(_beside(facts)) > room:
                facts.pop()
            parts.append((_beside(facts), "$quiet"))
        return Content.assemble(*parts)

    def _progress(self, width: int) -> Content:
        view = self.controller.view
        steps = f"{formats.count(view.step)} / {formats.count(view.total_steps)}" if view.started else formats.NOTHING
        pace = formats.count(view.fps) if view.fps else formats.NOTHING
        if width < _NARROW:
            right = f" {100 * view.share_done:.1f}%  {formats.clock(view.eta)} left"
            return _with_bar(Content(f"{steps} "), Content(right), view.share_done, width)
        left = Content.assemble(("steps    ", "$quiet"), f"{steps:<15} ")
        times = Content.assemble(f"{formats.clock(self.controller.elapsed):>7}")
        if view.state.is_final:
            times += Content.assemble((" elapsed", "$quiet"))
        else:
            between = " elapsed · " if width >= _ROOMY else " · "
            times += Content.assemble((between, "$quiet"), f"{formats.clock(view.eta):>7}", (" left", "$quiet"))
        share = Content(f" {100 * view.share_done:5.1f}% ")
        speed = Content.assemble(f"{pace:>6}", (" steps/s ", "$quiet"))
        whole = share + speed + times
        fits = left.cell_length + _BAR + whole.cell_length <= width
        return _with_bar(left, whole if fits else share + times, view.share_done, width)

    def _update(self, width: int) -> Content:
        view = self.controller.view
        rollout, learning = view.rollout, view.learning
        done = rollout.t / rollout.length if rollout and rollout.length else 0.0
        where = f"{rollout.t}/{rollout.length}" if rollout else formats.NOTHING
        left = Content.assemble(("rollout  ", "$quiet"), f"{where:<15} ")
        half = max(0, width // 2 - 1)
        room = width - half - 2
        first = _with_bar(left, Content(""), done, half)
        share, text = 0.0, "after the rollout" if width >= _SPACIOUS else "to come"
        if learning:
            batches = learning.epochs * learning.minibatches
            share = ((learning.epoch - 1) * learning.minibatches + learning.minibatch) / batches if batches else 0.0
            text = f"epoch {learning.epoch}/{learning.epochs}"
            batch = f" batch {learning.minibatch}/{learning.minibatches}"
            text += batch if room >= _LABEL + len(text + batch) else ""
        number = learning.update if learning else rollout.update if rollout else view.update
        label = Content.assemble(("update ", "$quiet"), f"{number:<6,} {text:<{max(0, min(19, room - _LABEL - 1))}} ")
        return first + Content("  ") + _with_bar(label, Content(""), share, room)

    def _first_update(self) -> str:
        """The time until the first losses and charts."""
        view = self.controller.view
        left = view.first_update_left
        if left is None or view.state is not RunState.TRAINING:
            return "losses, charts and more: after the first update"
        when = (
            f"in about {formats.about(left)}"
            if view.learning
            else f"its rollout takes about {formats.about(left)} more"
        )
        return f"losses, charts and more: after the first update, {when}"

    def _phases(self, width: int) -> Content:
        view = self.controller.view
        known = any(key in view.series for _, _, keys in PHASES for key in keys)
        text = "" if known else self._first_update()
        return self._last_line.drawn((width, view, view.settled, text), lambda: self._phases_anew(width))

    def _phases_anew(self, width: int) -> Content:
        """The shares of the time of the last updates."""
        series = self.controller.view.series
        recent = [[series[key].values[-_PHASE_UPDATES:] for key in keys if key in series] for _, _, keys in PHASES]
        shares = [sum(float(values.mean()) for values in each if len(values)) for each in recent]
        if not any(shares):
            return Content.styled(f"time     {self._first_update()}", "$quiet")
        legend = Content("  ").join(
            Content.assemble((sign, style), f" {word} ", f"{formats.percent(share).strip()}")
            for (sign, word, _), style, share in zip(PHASES, _PHASE_STYLES, shares, strict=True)
        )
        room = max(0, width - 11 - legend.cell_length)
        ends = [round(room * sum(shares[: number + 1])) for number in range(len(shares))]
        parts = [
            (sign * max(0, end - begin), style)
            for (sign, _, _), style, begin, end in zip(PHASES, _PHASE_STYLES, [0, *ends], ends, strict=False)
        ]
        return Content.assemble(("time     ", "$quiet"), *parts, "  ", legend)


def _beside(facts: list[str]) -> str:
    return f"   {' · '.join(filter(None, facts))}" if facts else ""


def _with_bar(left: Content, right: Content, share: float, width: int) -> Content:
    """`left` and `right` with a bar in the remaining `width`."""
    room = width - left.cell_length - right.cell_length
    return left + (bar(share, room) if room >= 4 else Content("")) + right
