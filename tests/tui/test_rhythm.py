"""The one clock of the screen, and the one write of each of its beats."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ppo_tui.protocol import Alarm, Level, RolloutProgress
from ppo_tui.tui.session_app import POLL_HZ, Rhythm
from ppo_tui.tui.terminal_diff import SYNC_START
from tests.tui.clips import clip
from tests.tui.desk import desk
from tests.tui.fake import ROLLOUT, recorded
from tests.tui.test_terminal import Terminal

FPS = 15.0


@given(st.floats(0.001, 120.0), st.floats(0.5, 20.0))
def test_frames_come_at_their_own_pace_and_news_no_oftener_than_wanted_but_half_as_often(fps: float, poll_hz: float):
    rhythm = Rhythm.of(fps, poll_hz)
    assert rhythm.seconds * rhythm.beats_per_frame == pytest.approx(1 / fps)
    ticks_per_second = 1 / (rhythm.seconds * rhythm.beats_per_tick)
    assert poll_hz / 2 - 1e-9 < ticks_per_second < poll_hz + 1e-9


@pytest.mark.parametrize(("fps", "beats"), [(15.0, 15), (4.0, 4), (2.0, 4), (0.0, 4)])
def test_the_clock_beats_no_oftener_than_frames_or_news_need(fps: float, beats: int):
    assert 1 / Rhythm.of(fps, 4.0).seconds == pytest.approx(beats)


@pytest.mark.parametrize("fps", [FPS, 0.0])
async def test_a_beat_shows_a_frame_and_some_of_them_take_in_news(fps: float, monkeypatch):
    async with desk(fps=fps) as it:
        await it.say(clip(30))
        player, polls, poll = it.app.controller.clip_player, [], it.session.poll
        monkeypatch.setattr(it.session, "poll", lambda: [polls.append(True), *poll()][1:])
        shown = -1 if player.frame is None else player.frame.t
        for _ in range(8):
            it.app.beat()
        assert len(polls) == 8 // Rhythm.of(fps, POLL_HZ).beats_per_tick
        assert (player.frame.t if player.frame else -1) == shown + 8 * (fps > 0)


async def test_all_that_a_beat_changes_is_painted_in_one_piece(monkeypatch):
    async with desk(*recorded(30), fps=FPS) as it:
        await it.say(clip(30))
        view, painted = it.app.controller.view, []
        step, update = view.step + 8, view.update + 1
        it.session.put(
            RolloutProgress(step=step, update=update, t=1, length=ROLLOUT, fps=631.0),
            Alarm(level=Level.WARNING, message="something for the events"),
        )
        monkeypatch.setattr(it.app, "_display", lambda screen, update: painted.append(update))
        beats = Rhythm.of(FPS, POLL_HZ).beats_per_tick
        for _ in range(beats):
            it.app.beat()
        assert view.step == step
        assert 1 <= len(painted) <= beats


PROGRAM = """
from textual.drivers._writer_thread import WriterThread
from ppo_tui.tui.screen_options import ScreenOptions
from ppo_tui.tui.terminal import run_screen
from tests.tui.fake import PlayingEngine, fake_session

pieces, write = [], WriterThread.write

def noted(thread, text):
    pieces.append(text)
    write(thread, text)

class Engine(PlayingEngine):
    def __init__(self, emit, inbox):
        super().__init__(emit, inbox, updates=10, speed=10.0)

WriterThread.write = noted
run_screen(fake_session(Engine), ScreenOptions(fps=0.0))
parts = sum(piece.count("\\x1b[?2026h") != piece.count("\\x1b[?2026l") for piece in pieces)
print(f"\\n{parts} of {len(pieces)} pieces are parts of a painting", flush=True)
"""

ASKED, SUPPORTED = b"\x1b[?2026$p", b"\x1b[?2026;2$y"
"""The question for synchronised output, and the answer."""


def test_a_painting_reaches_the_terminal_in_one_piece_with_its_marks():
    terminal = Terminal("-c", PROGRAM, size=(40, 120, 0, 0))
    try:
        terminal.read_until(ASKED)
        os.write(terminal.master, SUPPORTED)
        terminal.read_until(b"FINISHED")
        os.write(terminal.master, b"q")
        terminal.read_until(b"parts of a painting")
    finally:
        terminal.close()
    assert SYNC_START.encode() in terminal.output
    assert b"\n0 of " in terminal.output.replace(b"\r", b"")
