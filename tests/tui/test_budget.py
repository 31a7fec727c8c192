"""The cost of a minute of training, in bytes and paintings.

It is the same on every machine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec
from rich.console import Console
from textual.content import Content

from ppo_tui.protocol import Event, RolloutProgress, UpdateFinished, UpdateProgress
from ppo_tui.tui.terminal_diff import TerminalDiff
from ppo_tui.tui.widgets.curves import CurvesWidget
from ppo_tui.tui.widgets.game import Game
from ppo_tui.tui.widgets.panel import Panel
from tests.tui.clips import clip
from tests.tui.desk import Desk, desk
from tests.tui.fake import BATCH, ROLLOUT, SECONDS_PER_UPDATE, recorded

POLL_SECONDS = 0.2
MINUTE = 60.0
BYTES_PER_SECOND = 3_000
PAINTINGS_PER_SECOND = 1.0


def as_it_goes(updates: int) -> Iterator[tuple[float, Event]]:
    """Events of a Breakout run of `updates` updates with the seconds when they come, progress at each poll."""
    update, began = 0, 1.5
    for event in recorded(updates):
        if isinstance(event, RolloutProgress | UpdateProgress):
            continue
        if isinstance(event, UpdateFinished):
            update = event.update
            began = event.elapsed - SECONDS_PER_UPDATE
            yield from _progress(update, began)
        yield max(event.elapsed, began), event


def _progress(update: int, began: float) -> Iterator[tuple[float, Event]]:
    """Half of the time goes to collecting, half to learning; each is told of four times."""
    for part in range(1, 5):
        at = began + part / 8 * SECONDS_PER_UPDATE
        t = ROLLOUT * part // 4
        step = (update - 1) * BATCH + BATCH * part // 4
        yield at, RolloutProgress(step=step, update=update, t=t, length=ROLLOUT, fps=631.0, elapsed=at)
    for part in range(1, 5):
        at = began + (4 + part) / 8 * SECONDS_PER_UPDATE
        yield at, UpdateProgress(update=update, epoch=part, epochs=4, minibatch=4, minibatches=4, elapsed=at)


@contextmanager
def counting(it: Desk, monkeypatch) -> Iterator[Counter]:
    """What the terminal would be given to write, and how often a chart is painted."""
    counts: Counter = Counter()
    console, difference = Console(force_terminal=True, color_system="truecolor"), TerminalDiff()
    paint = CurvesWidget._paint

    def painted(chart: CurvesWidget, width: int, height: int):
        counts[chart.id] += 1
        return paint(chart, width, height)

    def displayed(screen, update) -> None:
        if update is not None:
            counts["bytes"] += len(difference.reduce(update.render_segments(console)).encode())

    with monkeypatch.context() as patch:
        patch.setattr(CurvesWidget, "_paint", painted)
        patch.setattr(it.app, "_display", displayed)
        yield counts


async def play(it: Desk, events: Iterator[tuple[float, Event]], seconds: float) -> None:
    """Let so many seconds pass, a poll at a time, with the events that they bring."""
    end, held = it.now + seconds, next(events, None)
    while it.now < end:
        due = []
        while held and held[0] <= it.now:
            due.append(held[1])
            held = next(events, None)
        it.session.put(*due)
        await it.pass_time(POLL_SECONDS)


async def test_a_minute_of_training_writes_little_and_paints_charts_no_oftener_than_there_is_news(monkeypatch):
    async with desk() as it:
        with counting(it, monkeypatch) as counts:
            await play(it, as_it_goes(40), MINUTE)
        written = counts.pop("bytes")
        assert 300 * MINUTE < written < BYTES_PER_SECOND * MINUTE
        updates = MINUTE / SECONDS_PER_UPDATE
        assert counts, "no chart was painted"
        assert all(updates / 2 <= paintings <= updates + 2 for paintings in counts.values()), counts


async def test_charts_are_painted_at_most_once_a_second_however_fast_updates_come(monkeypatch):
    async with desk() as it:
        events = ((event.elapsed / 20, event) for event in recorded(200))
        with counting(it, monkeypatch) as counts:
            await play(it, events, 10)
        del counts["bytes"]
        assert counts
        assert all(5 <= paintings <= 10 * PAINTINGS_PER_SECOND + 1 for paintings in counts.values()), counts


async def test_charts_of_a_long_run_are_painted_when_they_have_grown_by_a_dot(monkeypatch):
    async with desk() as it:
        seconds = 3600.0  # that it has taken already
        events = (
            (event.elapsed / 20, msgspec.structs.replace(event, elapsed=event.elapsed + seconds))
            for event in recorded(200)
        )
        with counting(it, monkeypatch) as counts:
            await play(it, events, 20)
        del counts["bytes"]
        assert counts
        assert all(2 <= paintings <= 6 for paintings in counts.values()), counts


async def test_nothing_is_written_or_painted_without_news_but_the_time(monkeypatch):
    async with desk() as it:
        await it.pass_time(POLL_SECONDS)
        with counting(it, monkeypatch) as counts:
            await play(it, iter(()), 10)
        assert counts.pop("bytes") < 100 * 10
        assert not counts


async def test_nothing_is_painted_below_a_page_that_covers_it(monkeypatch):
    async with desk() as it:
        await it.press("question_mark")
        painted = []
        monkeypatch.setattr(it.app, "_display", lambda screen, update: painted.append(update) if update else None)
        await play(it, as_it_goes(5), 5)
        assert not painted


async def test_panels_are_drawn_only_if_what_they_show_has_changed(monkeypatch):
    drawn: Counter = Counter()
    async with desk(*recorded(40), fps=15.0) as it:
        await it.say(clip(30))
        game = it.app.main.query_one(Game)
        it.app.controller.clip_player.advance()
        it.app.controller.clip_player.held = True
        game.renew()
        await it.pass_time(POLL_SECONDS)
        for panel in it.app.main.query(Panel):
            monkeypatch.setattr(panel, "lines", _counted(panel, drawn))
        view = it.app.controller.view
        for t in range(1, 20):
            step = view.step + t
            await it.say(
                RolloutProgress(step=step, update=view.update + 1, t=t, length=ROLLOUT, fps=631.0, elapsed=it.now)
            )
        assert set(drawn) == {"header"}


def _counted(panel: Panel, drawn: Counter) -> Callable[[int, int], list[Content]]:
    lines = panel.lines

    def counted(width: int, height: int) -> list[Content]:
        drawn[panel.id] += 1
        return lines(width, height)

    return counted
