"""Watching the game: requests, playing, and output to the terminal."""

from __future__ import annotations

import functools

import pyte
import pytest
from rich.console import Console

from ppo_tui.protocol import WATCH_SECONDS, GameClip, WatchGame, decode_event, encode
from ppo_tui.tui.app import PpoTuiApp
from ppo_tui.tui.clip_player import ClipPlayer, default_fps
from ppo_tui.tui.screens.game import GameScreen
from ppo_tui.tui.widgets.game import Game, GameFacts, GameObservation
from ppo_tui.tui.widgets.game_picture import GamePicture
from tests.tui.clips import clip, numbers_clip, pong
from tests.tui.desk import DONE, Desk
from tests.tui.desk import desk as any_desk
from tests.tui.fake import FakeSession, started

BUDGET = 20_000 / 15
"""Bytes a frame that make 20 kB a second at 15 frames a second."""


def clip_player(fps: float = 15.0) -> tuple[ClipPlayer, FakeSession, list[float]]:
    session, now = FakeSession(), [0.0]
    return ClipPlayer(session, lambda: now[0], fps), session, now


# ── Without a screen ────────────────────────────────────────────────────────────────────────────────────────


def test_the_engine_is_told_when_somebody_looks_and_when_nobody_does():
    player, session, now = clip_player()
    player.attend(False)
    assert session.watched == [], "nobody looked before either"
    player.attend(True)
    player.attend(True)
    now[0] = WATCH_SECONDS / 2
    player.attend(True)
    player.choose(-1, 8)
    player.attend(True)
    player.attend(False)
    assert [(command.env, command.fps) for command in session.watched] == [(0, 15), (0, 15), (7, 15), (None, 15)]


def test_no_frames_a_second_never_ask_for_any():
    player, session, _ = clip_player(0.0)
    player.attend(True)
    assert session.watched == []


def test_frames_are_played_in_order_and_the_last_one_stays():
    player, _, _ = clip_player()
    assert not player.advance()
    player.offer(clip(3))
    for t in range(3):
        assert player.advance()
        assert player.frame.score == t
        assert (player.picture == pong(t)).all()
    assert not player.advance()
    assert (player.picture == pong(2)).all()


def test_a_clip_is_played_to_its_end_and_then_the_newest_one_follows():
    player, _, _ = clip_player()
    player.offer(clip(3))
    player.advance()
    player.offer(clip(3, first=50))
    player.offer(clip(3, first=100))
    scores = []
    while player.advance():
        scores.append(player.frame.score)
        assert (player.picture == pong(int(player.frame.score))).all()
    assert scores == [1, 2, 100, 101, 102]


def test_another_environment_is_shown_at_once_and_clips_of_the_old_one_no_more():
    player, _, _ = clip_player()
    player.offer(clip(9))
    player.advance()
    player.choose(1, 8)
    player.offer(clip(9, first=200))
    player.offer(clip(9, env=1, first=30))
    player.advance()
    assert (player.clip.env, player.frame.score) == (1, 30)


def test_a_damaged_clip_is_skipped():
    player, _, _ = clip_player()
    broken = clip(3)
    frames = (broken.frames[0], clip(1).frames[0], broken.frames[2])
    player.offer(GameClip(**{**{f: getattr(broken, f) for f in broken.__struct_fields__}, "frames": frames}))
    assert player.advance()
    assert not player.advance()
    player.offer(clip(2, first=7))
    assert player.advance()
    assert (player.picture == pong(7)).all()


def test_a_clip_survives_the_journey_over_a_socket():
    for sent in (clip(3), numbers_clip()):
        assert decode_event(encode(sent)) == sent


def test_a_terminal_behind_ssh_gets_fewer_frames():
    assert default_fps({}) == 15
    assert default_fps({"SSH_CONNECTION": "10.0.0.1 50000 10.0.0.2 22"}) == 4


SLOW = 0.001
"""Frames a second, so that the game stands still but for `play`."""

desk = functools.partial(any_desk, fps=SLOW)


# ── On the screen ───────────────────────────────────────────────────────────────────────────────────────────


async def play(it: Desk, frames: int = 1) -> None:
    """Let time pass for the game: as many frames as that."""
    shown = it.app.screen.query(Game) or it.app.main.query(Game)
    game = shown.first()
    for _ in range(frames):
        game._play()
        await it.pilot.pause()


def screen_text(it: Desk) -> str:
    return "\n".join(strip.text for strip in it.app.screen._compositor.render_strips())


async def test_the_game_plays_beside_the_charts_with_the_policys_mind():
    async with desk() as it:
        assert it.session.watched == [WatchGame(env=0, fps=SLOW)]
        assert "waiting for a" in it.text(GameFacts)
        await it.say(clip())
        await play(it)
        assert "▀" in screen_text(it)
        facts = it.text(GameFacts)
        assert "score       0.00" in facts
        assert "lives          5" in facts
        assert "value       1.25" in facts
        assert "▸NOOP  ━" in facts
        assert " LEFT  ━━━ " in facts
        assert " 40%" in facts


async def test_v_hides_the_game_and_nothing_is_recorded_any_more():
    async with desk() as it:
        await it.press("v")
        assert not it.app.screen.query_one(Game).region.area
        await it.say()
        assert [command.env for command in it.session.watched] == [0, None]
        await it.press("v")
        await it.say()
        assert [command.env for command in it.session.watched] == [0, None, 0]


async def test_on_a_small_screen_v_shows_it():
    async with desk(size=(80, 24)) as it:
        assert it.session.watched == []
        await it.press("v")
        await it.say(clip())
        assert it.session.watched == [WatchGame(env=0, fps=SLOW)]
        await play(it)
        assert "▀" in screen_text(it)


async def test_brackets_choose_the_environment():
    async with desk() as it:
        await it.press("right_square_bracket", "right_square_bracket", "left_square_bracket", "left_square_bracket")
        await it.press("left_square_bracket")
        assert it.app.screen.query_one(Game).border_title == "6 Game · env 7 of 8"
        await it.say()
        assert it.session.watched[-1] == WatchGame(env=7, fps=SLOW)


@pytest.mark.parametrize("key", ["escape", "m", "enter", "V", "v"])
async def test_the_game_can_have_the_whole_screen(key):
    async with desk() as it:
        await it.say(clip())
        await it.press("V")
        assert isinstance(it.app.screen, GameScreen)
        await it.say()
        await play(it)
        assert it.app.screen.query_one(GamePicture)._cells.shape == (37, 56)
        assert [command.env for command in it.session.watched] == [0], "still looking"
        await it.press(key)
        assert len(it.app.screen_stack) == 1


async def test_behind_a_dialog_and_after_the_end_nobody_looks():
    async with desk() as it:
        await it.press("question_mark")
        await it.say()
        assert it.session.watched[-1].env is None
        await it.press("escape")
        await it.say()
        assert it.session.watched[-1].env == 0
        asked = len(it.session.watched)
        await it.say(DONE)
        await it.pass_time(WATCH_SECONDS)
        assert len(it.session.watched) == asked


async def test_an_environment_without_pictures_shows_its_observation():
    async with desk() as it:
        await it.say(numbers_clip())
        await play(it)
        text = it.text(GameObservation)
        assert [line.split()[:2] for line in text.split("\n")] == [["x0", "0.500"], ["x1", "-1.00"], ["x2", "0.00"]]
        assert "━┼" in text.split("\n")[1], "to the left: negative"
        assert "┼━" in text.split("\n")[0]
        facts = it.text(GameFacts)
        assert "a0" in facts
        assert "-1.0 ± 0.50" in facts


@pytest.mark.parametrize("without_colour", ["ansi-dark", "NO_COLOR"])
async def test_without_colours_it_is_drawn_in_characters(without_colour, monkeypatch):
    if without_colour == "NO_COLOR":
        monkeypatch.setenv("NO_COLOR", "1")
    async with desk() as it:
        if without_colour == "ansi-dark":
            it.app.theme = "ansi-dark"
        await it.say(clip())
        await play(it)
        text = screen_text(it)
        assert "▀" not in text
        assert "*" in "".join(strip.text for strip in it.app.screen.query_one(GamePicture)._strips), "the ball"


async def test_a_terminal_of_16_colours_gets_half_blocks_in_them(monkeypatch):
    async with desk() as it:
        with monkeypatch.context() as terminal:
            terminal.setattr(PpoTuiApp, "is_headless", False)
            terminal.setattr(it.app, "console", Console(force_terminal=True, color_system="standard"))
            await it.say(clip())
            await play(it)
            assert "▀" in screen_text(it)


async def test_a_clip_costs_few_bytes_and_a_still_picture_none():
    """Counted in what a driver would be given to write: the same on every machine."""
    async with desk(started()) as it:
        written: list[str] = []
        console = Console(force_terminal=True, color_system="truecolor")
        it.app._display = lambda screen, update: written.append(update.render_segments(console))
        await it.say(clip(60))
        await play(it, 2)
        written.clear()
        await play(it, 45)
        played = len("".join(written).encode())
        assert 45 * 20 < played < 45 * BUDGET / 2
        await play(it, 13)
        await it.pass_time(1.0)
        written.clear()
        await play(it, 30)
        assert sum(map(len, written)) == 0


async def test_fps_0_keeps_the_game_off():
    app = PpoTuiApp(FakeSession([started()]), clock=lambda: 0.0, fps=0.0)
    async with app.run_test(size=(120, 40)) as pilot:
        app.tick()
        await pilot.press("v", "V")
        app.tick()
        assert app.controller.session.watched == []
        assert not app.screen.query_one(Game).region.area


async def test_the_game_at_any_size():
    async with desk() as it:
        await it.press("v", "v")
        await it.say(clip(200))
        for size in [(1, 1), (60, 16), (300, 100), (2, 50), (200, 18), (40, 20), (120, 40), (70, 18)]:
            await it.pilot.resize_terminal(*size)
            await play(it, 2)
            await it.press("V")
            await play(it, 2)
            await it.press("escape")


async def test_a_terminal_shows_the_game_as_the_compositor_has_it_dialogs_and_notifications_above_it():
    terminal = pyte.Screen(120, 40)
    stream, console = pyte.Stream(terminal), Console(force_terminal=True, color_system="truecolor")
    async with desk(started(), notifications=True) as it:
        it.app._display = lambda screen, update: update and stream.feed(update.render_segments(console))
        it.app.screen.refresh()
        await it.say(clip(20))
        for keys in ((), ("q",), ("escape",), ("question_mark",), ("escape",)):
            await it.press(*keys)
            await play(it, 5)
            await it.say()
            assert "\n".join(terminal.display) == it.picture
        await it.press("V")
        it.app.notify("a notification that lies above the game's lower right corner " * 5)
        await it.pilot.pause()
        assert "lower right corner" in it.picture
        await it.say(clip(16, first=60))  # the ball comes down to the corner
        for _ in range(16):
            await play(it)
            await it.say()
            assert "\n".join(terminal.display) == it.picture
