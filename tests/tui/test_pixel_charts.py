"""Charts in pixels: when, where, and what is left of the characters."""

from __future__ import annotations

import asyncio
import os
import re

import numpy as np
import pytest

from ppo_tui.protocol import RunState, StateChanged
from ppo_tui.tui.pixels import Answer, Graphics
from ppo_tui.tui.screen_options import Look, ScreenOptions
from ppo_tui.tui.terminal import ask_for_pixels
from ppo_tui.tui.widgets.chart import Chart
from tests.tui.desk import Desk, desk
from tests.tui.fake import recorded
from tests.tui.pixel_terminals import ANSWERS, PixelCanvas, kitty_pictures, sixel_picture
from tests.tui.test_charts import updates
from tests.tui.test_terminal import Terminal

pytest.importorskip("textual_image", reason="it draws pixels: pip install 'ppo-tui[pixels]'")

PLACEHOLDER = "\U0010eeee"
NEARLY = 2
"""Sixels have 101 levels of a colour."""


def dots(text: str) -> int:
    """Cells with dots of braille."""
    return sum("\u2801" <= character <= "\u28ff" for character in text)


def charts(it: Desk) -> list[Chart]:
    return [chart for chart in it.app.screen.query(Chart) if chart.region.area]


def in_charts(canvas: PixelCanvas, it: Desk) -> list[str]:
    """What the terminal shows in the frame of each chart."""
    lines = canvas.display.split("\n")
    return [
        "\n".join(line[chart.region.x : chart.region.right] for line in lines[chart.region.y : chart.region.bottom])
        for chart in charts(it)
    ]


async def test_the_key_draws_charts_in_sixels_and_draws_again_only_what_is_new():
    canvas = PixelCanvas(Graphics.SIXEL)
    async with desk(*recorded(98), terminal=canvas, notifications=True) as it:
        canvas.plug(it.app)
        await it.pilot.pause()
        before = canvas.display
        assert not canvas.sent
        assert dots(before) > 400
        await it.press("P")
        await it.pilot.pause()
        assert all(dots(shown) for shown in in_charts(canvas, it)), "the dots lie below"
        for chart in charts(it):
            under = canvas.over[chart.region.y : chart.region.bottom, chart.region.x : chart.region.right]
            assert under[1, -2]
            assert not under[0].any()
            assert not under[-1].any()
            assert not under[:, 0].any()
            assert under.mean() > 0.5
        assert canvas.display == before
        sent = len(canvas.sent)
        await it.say(StateChanged(state=RunState.TRAINING))
        await it.pass_time(1.0)
        assert len(canvas.sent) == sent, "nothing is new"
        await it.say(*updates(99, **{"time/fps": 630.0}))
        await it.pass_time(1.0)
        sent = len(canvas.sent)
        await it.say(*updates(100, **{"time/fps": 631.0}))
        await it.pass_time(1.0)
        async with asyncio.timeout(60):
            while len(canvas.sent) == sent:  # on a busy machine it is painted later
                await it.pilot.pause()
        area = sum(np.prod(sixel_picture(each).shape[:2]) for each in canvas.sent[sent:])
        assert area < 200 * canvas.over.sum() / 10, "cells that have changed, of the chart that has"
        for key in ("q", "question_mark"):
            await it.press(key)
            assert not canvas.over.any(), "no pixels lie over a dialog"
            assert canvas.display == it.picture
            await it.press("escape")
            await it.pilot.pause()
            assert canvas.over.mean() > 0.2
        await it.press("P")
        await it.pilot.pause()
        assert not canvas.over.any()
        assert canvas.display == it.picture


async def test_in_kittys_protocol_each_chart_is_a_picture_with_its_labels_as_text():
    canvas = PixelCanvas(Graphics.KITTY)
    async with desk(*recorded(30), terminal=canvas) as it:
        await it.press("P")
        await it.pilot.pause()
        assert dots(it.picture) < 50, "of the tiles"
        numbers = {re.search(r",i=(\d+)", sent)[1] for sent in canvas.sent}
        assert len(numbers) == len(charts(it))
        chart = charts(it)[0]
        picture = kitty_pictures(canvas.sent[0])[0]
        columns, lines = map(int, re.search(r"c=(\d+),r=(\d+)", canvas.sent[0]).groups())
        assert picture.shape == (20 * lines, 10 * columns, 3)
        assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 5
        assert "Return" in it.picture
        assert "steps" in it.picture
        rows = it.picture.split("\n")[chart.region.y : chart.region.bottom]
        assert rows[1][chart.region.x] == "┃"
        assert sum(row.count(PLACEHOLDER) for row in rows) >= lines * columns
        await it.pilot.pause()
        sent = len(canvas.sent)
        await it.press("right")
        assert len(canvas.sent) == sent + len(numbers), "the cursor stands in each"
        assert not np.array_equal(kitty_pictures(canvas.sent[sent])[0], picture)
        await it.press("m")
        await it.pilot.pause()
        assert PLACEHOLDER in it.picture, "a chart with a screen of its own too"
        await it.press("escape", "q")
        assert PLACEHOLDER not in it.picture, "the dimmed screen behind a dialog"
        await it.press("escape")
        await it.pilot.pause()
        assert PLACEHOLDER in it.picture
        await it.press("P")
        await it.pilot.pause()
        assert PLACEHOLDER not in it.picture
        deleted = re.findall(r"a=d,d=I,i=(\d+)", "".join(canvas.sent))
        assert numbers <= set(deleted)


async def test_a_terminal_without_pixels_says_why_and_keeps_its_characters():
    answer = Answer(reason="the connection is ssh; --pixels charts asks it all the same")
    async with desk(*recorded(30), answer=answer, notifications=True) as it:
        before = [chart.render_line(3).text for chart in charts(it)]
        await it.press("P")
        assert "the connection is ssh" in it.picture.replace("\n", " ")
        assert [chart.render_line(3).text for chart in charts(it)] == before


@pytest.mark.parametrize(
    ("options", "environment", "words"),
    [
        (ScreenOptions(), {"SSH_CONNECTION": "a"}, "ssh; --pixels charts asks it all the same"),
        (ScreenOptions(fps=0.0), {}, "no game is shown; --pixels charts asks it all the same"),
        (ScreenOptions(pixels="off"), {}, "--pixels off; --pixels charts asks it all the same"),
        (ScreenOptions(pixels="charts", fps=0.0), {}, "the terminal draws none"),
        (ScreenOptions(pixels="charts"), {"NO_COLOR": "1"}, "NO_COLOR is set"),
        (ScreenOptions(pixels="charts", look=Look(ascii=True)), {}, "ASCII"),
    ],
)
def test_the_reason_for_characters_is_known_and_told_to_those_who_wanted_pixels(
    options, environment, words, monkeypatch
):
    for name in ("TMUX", "STY", "SSH_CONNECTION", "NO_COLOR", "TEXTUAL_DRIVER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    messages = []
    answer = ask_for_pixels(options, messages)
    assert words in answer.reason
    assert not answer.charts
    assert len(messages) == (options.pixels == "charts")


PROGRAM = """
import sys
from ppo_tui.protocol import RunFinished, RunState, Stop
from ppo_tui.tui.screen_options import ScreenOptions
from ppo_tui.tui.terminal import run_screen
from tests.tui.fake import fake_session, recorded

class Engine:
    def __init__(self, emit, inbox):
        self.emit, self.inbox = emit, inbox

    def run(self):
        for event in recorded(30):
            self.emit(event)
        while not isinstance(command := self.inbox.receive(wait=True), Stop):
            pass
        self.emit(RunFinished(state=RunState.STOPPED, exit_code=command.exit_code, reason="", step=0, update=0))

sys.exit(run_screen(fake_session(Engine), ScreenOptions(fps=0.0, pixels="charts")).exit_code)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "begins"), [("kitty", b"a=T,U=1,"), ("sixel", b"\x1bP0;0;0q")])
def test_a_terminal_that_answers_gets_charts_from_the_start_and_keeps_none(kind, begins, monkeypatch):
    for name in ("TMUX", "STY", "NO_COLOR", "TEXTUAL_DRIVER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SSH_CONNECTION", "a slow line, but asked for")
    monkeypatch.setenv("COLORTERM", "truecolor")
    terminal = Terminal("-c", PROGRAM, size=(40, 120, 1200, 800))
    try:
        terminal.read_until(b"\x1b[c")
        os.write(terminal.master, ANSWERS[kind])
        terminal.read_until(begins)
        terminal.read_until(b"\x1b\\")
        terminal.end_by_sigterm()
    finally:
        terminal.close()
    if kind == "kitty":
        assert b"\x1b_Ga=d,d=I,i=" in terminal.output
