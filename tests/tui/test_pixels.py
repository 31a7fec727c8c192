"""The game in pixels: who is asked, what is sent, what remains."""

from __future__ import annotations

import importlib.util
import os
import pty
import re
import signal
import sys
import threading

import cv2
import numpy as np
import pytest

from ppo_tui.errors import UsageError
from ppo_tui.tui.pixels import (
    Enlargement,
    Graphics,
    Indexed,
    ask,
    indexed,
    kitty_picture,
    reason_against,
    without_answers,
)
from ppo_tui.tui.screen_options import Look, ScreenOptions, choose_screen
from ppo_tui.tui.widgets import game_pixels
from ppo_tui.tui.widgets.game import Game
from tests.tui.clips import clip, pong
from tests.tui.desk import Desk, desk
from tests.tui.fake import started
from tests.tui.pixel_terminals import ANSWERS, PixelCanvas, kitty_pictures, sixel_picture
from tests.tui.test_terminal import DEADLINE, LEAVES_ALTERNATE_SCREEN, Terminal

pytest.importorskip("textual_image", reason="it draws pixels: pip install 'ppo-tui[pixels]'")

PLACEHOLDER = "\U0010eeee"
NEARLY = 2
"""Sixels have 101 levels of a colour."""


# ── Who is asked ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("pixels", "environment", "words"),
    [
        ("auto", {}, ""),
        ("on", {"SSH_CONNECTION": "a", "TMUX": "b"}, ""),
        ("off", {}, "--pixels off"),
        ("auto", {"SSH_CONNECTION": "a"}, "ssh"),
        ("auto", {"TMUX": "/tmp/x"}, "tmux"),
        ("auto", {"TERM": "screen-256color"}, "screen"),
        ("on", {"NO_COLOR": "1"}, "NO_COLOR"),
        ("on", {"TERM": "dumb"}, "TERM is dumb"),
        ("on", {"TERM": ""}, "TERM is not set"),
        ("on", {"TEXTUAL_DRIVER": "x:y"}, "browser"),
    ],
)
def test_a_terminal_is_asked_only_where_pixels_are_wanted_and_near(pixels, environment, words):
    reason = reason_against(ScreenOptions(pixels=pixels), {"TERM": "xterm-256color", **environment})
    assert words in reason
    assert bool(words) == bool(reason)


def test_ascii_the_16_colours_and_no_game_want_no_pixels(monkeypatch):
    def reason(**options) -> str:
        return reason_against(ScreenOptions(pixels="on", **options), {"TERM": "xterm"})

    assert "ASCII" in reason(look=Look(ascii=True))
    assert "16 colours" in reason(look=Look(theme="ansi"))
    assert "no game" in reason(fps=0.0)
    monkeypatch.setitem(sys.modules, "textual_image", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "not installed" in reason()


def test_a_wrong_choice_is_refused_with_the_right_ones():
    with pytest.raises(UsageError, match="--pixels 'of'"):
        choose_screen("dark", False, None, "of")


# ── What it answers ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("terminal", "graphics"),
    [("kitty", "kitty"), ("sixel", "sixel"), ("both", "sixel"), ("neither", None), ("silent", None)],
)
def test_the_answer_is_read_whole_and_what_was_typed_is_kept(terminal, graphics):
    master, slave = pty.openpty()
    answered = threading.Event()

    def reply() -> None:
        asked = b""
        while b"\x1b[c" not in asked:
            asked += os.read(master, 1000)
        os.write(master, b"g" + ANSWERS[terminal] + b"")
        answered.set()

    thread = threading.Thread(target=reply)
    thread.start()
    try:
        answer = ask({}, slave, slave)
        assert answered.wait(DEADLINE)
        assert answer.graphics == graphics
        assert answer.typed == b"g"
        if graphics:
            assert answer.cell == (10, 20)
    finally:
        thread.join()
        os.close(master)
        os.close(slave)


def test_a_pipe_is_never_asked():
    reader, writer = os.pipe()
    try:
        assert ask({}, reader, writer).graphics is None
        os.close(writer)
        assert os.read(reader, 10) == b""
    finally:
        os.close(reader)


def test_answers_that_come_late_are_no_keys():
    assert without_answers(ANSWERS["kitty"]) == (b"", (10, 20))
    assert without_answers(b"q" + ANSWERS["neither"] + b"\x1b[A") == (b"q\x1b[A", None)
    assert without_answers(b"\x1b[6;0;0t") == (b"", None)


# ── What is sent ────────────────────────────────────────────────────────────────────────────────────────────


def test_pictures_survive_both_protocols():
    noise = np.random.default_rng(0).integers(0, 256, (210, 160, 3), dtype=np.uint8)
    for frame in (pong(3), noise):
        sent = kitty_picture(frame, 16, 40, 20)
        assert (kitty_pictures(sent)[0] == frame).all()
        assert max(map(len, re.findall(r";([^;\x1b]*)\x1b", sent))) <= 4096
        few = indexed(frame)
        assert len(few.colours) <= 256
        decoded = sixel_picture(game_pixels.sixels(few)).astype(int)
        assert abs(decoded - few.colours[few.numbers]).max() <= NEARLY
    assert (indexed(pong(3)).colours[indexed(pong(3)).numbers] == pong(3)).all(), "a game's colours are few: exact"


def test_only_changed_cells_are_sent_in_sixels():
    scale = Enlargement((80, 50), 4, 5, (10, 20))
    changed = np.zeros((80, 50), bool)
    assert scale.changed_blocks(changed) == []
    changed[0, 49] = changed[25, 3] = changed[79, 12] = True
    assert scale.changed_blocks(changed) == [(0, 2, 0, 5), (3, 4, 1, 2)]
    middle = np.arange(9).reshape(3, 3) == 4
    assert Enlargement((3, 3), 2, 2, (10, 20)).changed_blocks(middle) == [(0, 2, 0, 2)], "it reaches into all four"


# ── On the screen ───────────────────────────────────────────────────────────────────────────────────────────


async def play(it: Desk) -> np.ndarray:
    """Show the next frame, and return it."""
    player = it.app.controller.clip_player
    assert player.advance()
    for game in it.app.screen.query(Game):
        game.renew()
    await it.pilot.pause()
    assert player.picture is not None
    return player.picture


def assert_shows(canvas: PixelCanvas, frame: np.ndarray) -> None:
    """The sixels there are the frame, whole, and nowhere else."""
    rows, columns = np.flatnonzero(canvas.over.any(axis=1)), np.flatnonzero(canvas.over.any(axis=0))
    top, end, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    assert canvas.over[top:end, left:right].all()
    shown = canvas.pixels[20 * top : 20 * end, 10 * left : 10 * right].astype(int)
    numbers = np.arange(210 * 160, dtype=np.int32).reshape(210, 160)
    wanted = frame.reshape(-1, 3)[cv2.resize(numbers, shown.shape[1::-1], interpolation=cv2.INTER_NEAREST)]
    assert abs(shown - wanted).max() <= NEARLY


async def test_sixels_lie_over_the_half_blocks_and_never_in_part():
    canvas = PixelCanvas(Graphics.SIXEL)
    async with desk(started(), terminal=canvas, fps=0.001, notifications=True) as it:
        canvas.plug(it.app)
        await it.say(clip(40))
        for _ in range(2):  # with the first ones the panel takes its shape
            assert_shows(canvas, await play(it))
        canvas.sent.clear()
        assert_shows(canvas, await play(it))
        drawn = sum(np.prod(sixel_picture(each).shape[:2]) for each in canvas.sent)
        assert 0 < drawn < 200 * canvas.over.sum() / 10, "only cells that have changed"
        count = len(canvas.sent)
        it.app.screen.query_one(Game).renew()
        assert len(canvas.sent) == count, "a still picture is sent once"
        for key in ("q", "question_mark"):
            await it.press(key)
            assert not canvas.over.any()
            assert canvas.display == it.picture
            await it.press("escape")
            assert_shows(canvas, pong(2))
        it.app.notify("a notification that lies above the game " * 60)
        await it.pilot.pause()
        for _ in range(3):
            await play(it)
            assert not canvas.over.any(), "half blocks until it is gone"
            assert canvas.display == it.picture
        it.app.clear_notifications()
        await it.pilot.pause()
        assert_shows(canvas, await play(it))
        canvas.cell = None
        count = len(canvas.sent)
        await play(it)
        assert len(canvas.sent) == count, "cells of unknown size are not drawn in"
        assert not canvas.over.any()
        canvas.cell = (10, 20)
        assert_shows(canvas, await play(it))
        await it.press("v")
        assert not canvas.over.any()
        assert canvas.display == it.picture


async def test_kittys_placeholders_are_cells_like_others():
    canvas = PixelCanvas(Graphics.KITTY)
    async with desk(started(), terminal=canvas, fps=0.001) as it:
        await it.say(clip(40))
        for _ in range(3):
            frame = await play(it)
            assert (kitty_pictures(canvas.sent[-1])[0] == frame).all()
        lines, columns = map(int, re.search(r"c=(\d+),r=(\d+)", canvas.sent[-1]).groups()[::-1])
        assert it.picture.count(PLACEHOLDER) == lines * columns
        assert "▀" not in it.picture
        await it.press("q")
        assert PLACEHOLDER not in it.picture, "the dimmed screen behind a dialog is half blocks"
        await it.press("escape")
        assert it.picture.count(PLACEHOLDER) == lines * columns
        await it.press("V", "enter")
        await play(it)
        numbers = [re.search(r",i=(\d+)", sent)[1] for sent in canvas.sent]
        assert len(set(numbers)) > 1, "each picture has its own number"
        await it.press("escape")
        deleted = set(re.findall(r"a=d,d=I,i=(\d+)", "".join(canvas.sent)))
        assert numbers[-1] in deleted
        assert numbers[0] not in deleted
        await it.press("g")
        await it.say()
        it.app.theme = "ansi-dark"
        await it.pilot.pause()
        await play(it)
        assert PLACEHOLDER not in it.picture


def test_without_the_extra_the_file_says_that_nothing_fits(monkeypatch):
    monkeypatch.setitem(sys.modules, "ppo_tui.tui.private_textual_image", None)
    spec = importlib.util.spec_from_file_location("ppo_tui.tui.widgets.game_pixels_alone", game_pixels.__file__)
    alone = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(alone)
    for graphics in Graphics:
        picture = alone.PixelPicture(PixelCanvas(graphics))
        assert not picture.fits(alone.Region(0, 0, 10, 10), 40)
        assert alone.sixels(Indexed(np.zeros((1, 1), np.uint8), np.zeros((1, 3), np.uint8))) == ""


# ── In a terminal ───────────────────────────────────────────────────────────────────────────────────────────

PROGRAM = """
import sys
from ppo_tui.protocol import RunFinished, RunState, Stop, WatchGame
from ppo_tui.tui.screen_options import ScreenOptions
from ppo_tui.tui.terminal import run_screen
from tests.tui.clips import clip
from tests.tui.fake import fake_session, started

class Engine:
    def __init__(self, emit, inbox):
        self.emit, self.inbox = emit, inbox

    def run(self):
        self.emit(started())
        shown = False
        while not isinstance(command := self.inbox.receive(wait=True), Stop):
            if isinstance(command, WatchGame) and command.env is not None and not shown:
                shown = True
                self.emit(clip(6))
        self.emit(RunFinished(state=RunState.STOPPED, exit_code=command.exit_code, reason="", step=0, update=0))

sys.exit(run_screen(fake_session(Engine), ScreenOptions(fps=15.0)).exit_code)
"""


@pytest.mark.parametrize("kind", ["kitty", "sixel", "silent"])
def test_a_terminal_draws_the_frames_and_keeps_nothing(kind, monkeypatch):
    for name in ("TMUX", "STY", "SSH_CONNECTION", "NO_COLOR", "TEXTUAL_DRIVER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLORTERM", "truecolor")
    terminal = Terminal("-c", PROGRAM, size=(40, 120, 1200, 800))
    try:
        terminal.read_until(b"\x1b[c")
        os.write(terminal.master, ANSWERS[kind])
        if kind == "kitty":
            last = kitty_picture(pong(5), 16, 1, 1).split(";")[-1]
            terminal.read_until(last.encode())
            assert [next((t for t in range(6) if (pong(t) == each).all()), None) for each in shown(terminal)][-1] == 5
            for number in (signal.SIGTSTP, signal.SIGSTOP):
                terminal.output = b""
                terminal.process.send_signal(number)
                if number == signal.SIGTSTP:
                    terminal.read_until(LEAVES_ALTERNATE_SCREEN)
                    assert b"\x1b_Ga=d,d=I,i=16,q=2\x1b\\" in terminal.output
                assert os.waitpid(terminal.process.pid, os.WUNTRACED)[1]
                terminal.process.send_signal(signal.SIGCONT)
                terminal.read_until(last.encode())
        elif kind == "sixel":
            terminal.read_until(b"\x1bP0;0;0q")
            terminal.read_until(b"\x1b\\")
        else:
            terminal.read_until("▀".encode())
        terminal.output = b"" if kind == "kitty" else terminal.output
        terminal.end_by_sigterm()
    finally:
        terminal.close()
    if kind == "kitty":
        assert terminal.output.index(b"\x1b_Ga=d,d=I,i=16,q=2\x1b\\") < terminal.output.index(LEAVES_ALTERNATE_SCREEN)
    elif kind == "silent":
        assert b"\x1bP" not in terminal.output
        assert PLACEHOLDER.encode() not in terminal.output


def shown(terminal: Terminal) -> list[np.ndarray]:
    return kitty_pictures(terminal.output.decode())
