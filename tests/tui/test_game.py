"""Watching the game: requests, playing, and output to the terminal."""

from __future__ import annotations

import functools

import pyte
import pytest
from msgspec import structs
from rich.console import Console

from ppo_tui.protocol import WATCH_SECONDS, EpisodeFinished, GameClip, Gaze, WatchGame, decode_event, encode
from ppo_tui.tui.app import PpoTuiApp
from ppo_tui.tui.clip_player import ClipPlayer, default_fps
from ppo_tui.tui.screens.game import GameScreen
from ppo_tui.tui.widgets.game import Game
from ppo_tui.tui.widgets.game_facts import GameFacts, GameObservation
from ppo_tui.tui.widgets.game_picture import GamePicture
from ppo_tui.tui.widgets.mosaic import Mosaic, MosaicTile
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
    assert default_fps({}) == 10
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
        game.play()
        await it.pilot.pause()


def text_of_picture(it: Desk) -> str:
    picture = it.app.screen.query_one(GamePicture)
    return "".join(picture.render_line(y).text for y in range(picture.size.height))


async def test_the_game_plays_beside_the_charts_with_the_policys_mind():
    async with desk() as it:
        assert it.session.watched == [WatchGame(env=0, fps=SLOW)]
        assert "waiting for a" in it.text(GameFacts)
        await it.say(clip())
        await play(it)
        assert "▀" in it.picture
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
        assert "▀" in it.picture


async def test_brackets_choose_the_environment():
    async with desk() as it:
        await it.press("right_square_bracket", "right_square_bracket", "left_square_bracket", "left_square_bracket")
        await it.press("left_square_bracket")
        assert it.app.screen.query_one(Game).border_title == "6 Game · env 7 of 8"
        await it.say()
        assert it.session.watched[-1] == WatchGame(env=7, fps=SLOW)


async def test_in_a_narrow_border_words_are_left_out_whole():
    async with desk(size=(60, 16)) as it:
        await it.press("v", "g")
        await it.say(clip())
        border = [row for row in it.picture.splitlines() if "Game · env" in row or "g gaze" in row]
        assert len(border) == 2
        assert not [row for row in border if "…" in row.partition("┓")[2]], border


@pytest.mark.parametrize("key", ["escape", "m", "V", "v"])
async def test_the_game_can_have_the_whole_screen(key):
    async with desk() as it:
        await it.say(clip())
        await it.press("V", "enter")
        assert isinstance(it.app.screen, GameScreen)
        await it.say()
        await play(it)
        assert it.app.screen.query_one(Game).query_one(GamePicture)._cells.shape == (37, 56)
        assert it.session.watched[-1] == WatchGame(env=0, fps=SLOW), "still looking"
        await it.press(key)
        assert len(it.app.screen_stack) == 1


async def test_all_environments_play_again_after_a_look_at_one():
    async with desk() as it:
        await it.press("V", "enter")
        assert not it.app.screen.query(MosaicTile), "nothing is kept of what is not shown"
        await it.press("enter")
        await it.say()
        await it.say(*(clip(env=env) for env in range(8)))
        mosaic = it.app.screen.query_one(Mosaic)
        for _ in mosaic.tiles:
            mosaic.play()
        assert [tile.player.frame is not None for tile in mosaic.tiles] == 8 * [True]


async def test_a_big_screen_shows_all_environments_at_once_in_turn():
    async with desk() as it:
        await it.press("V")
        await it.say()
        assert it.session.watched[-1] == WatchGame(env=0, fps=SLOW, beside=(1, 2, 3, 4, 5, 6, 7))
        await it.say(*(clip(env=env, first=10 * env) for env in range(8)))
        mosaic = it.app.screen.query_one(Mosaic)
        for tick in range(8):
            mosaic.play()
            assert [tile.player.frame is not None for tile in mosaic.tiles] == [n <= tick for n in range(8)], "in turn"
        await it.say()
        assert mosaic.tiles[3].border_title == "env 3 · 30.0"
        assert "▀" in it.picture
        regions = [tile.region for tile in mosaic.tiles]
        assert len({region.y for region in regions}) == 2, "2 × 4"
        assert max(region.height for region in regions) - min(region.height for region in regions) <= 1
        await it.press("right_square_bracket")
        await it.say()
        assert it.session.watched[-1].env == 1
        assert mosaic.tiles[1].has_class("-chosen")
        await it.press("enter")
        await it.say()
        assert it.session.watched[-1] == WatchGame(env=1, fps=SLOW)
        assert it.app.screen.query_one(Game).display
        await it.press("enter")
        await it.pilot.resize_terminal(80, 24)
        await it.pilot.pause()
        assert it.app.screen.query_one(Game).display, "no room for all"
        await it.press("escape")
        await it.say()
        assert it.session.watched[-1].beside == ()


async def test_g_shows_what_moves_the_action_and_then_the_value():
    async with desk() as it:
        await it.say(clip())
        await play(it)
        picture = it.app.screen.query_one(GamePicture)
        before = picture.render_line(picture.size.height // 2).text, [s.style for s in picture.render_line(8)]
        await it.press("g")
        await it.say(clip(gaze=Gaze.ACTION))
        assert it.session.watched[-1] == WatchGame(env=0, fps=SLOW, gaze=Gaze.ACTION)
        await play(it)
        await it.say()
        assert "action looks at" in it.text(GameFacts)
        assert [s.style for s in picture.render_line(8)] != before[1], "tinted and darkened"
        await it.press("g")
        await it.say()
        assert it.session.watched[-1].gaze is Gaze.VALUE
        await it.press("g")
        await it.say()
        assert it.session.watched[-1].gaze is Gaze.NONE


async def test_the_panel_tells_time_advantage_last_games_and_the_course_of_the_value():
    games = [EpisodeFinished(env=0, episode_return=float(number), length=9, step=1) for number in range(12)]
    other = EpisodeFinished(env=1, episode_return=777.0, length=9, step=1)
    async with desk(size=(120, 44)) as it:
        await it.say(*games, other, clip())
        await play(it, 8)
        await it.say()
        facts = it.text(GameFacts)
        assert "steps          7" in facts
        assert "advantage +0.125" in facts
        assert "value ▁▁▁▁▁▁▁▁" in facts
        games = " ".join(facts[facts.index("games") :].partition("NOOP")[0].split())
        assert games.endswith("9.00 10.0 11.0"), "the newest last"
        assert "777" not in facts
        await it.say(clip(5, first=0))
        await play(it, 23)
        assert len(it.app.controller.clip_player.values) == 1, "another episode"


async def test_classic_environments_have_names_of_actions_and_numbers():
    cartpole = structs.replace(started(), config={"env": {"id": "CartPole-v1"}})
    picture = clip(1)
    frame = structs.replace(
        picture.frames[0],
        probabilities=(0.25, 0.75),
        observation=(1.2, -3.0, 0.0, 0.5),
        gradients=(0.01, 0.0, -2.0, 1.5),
    )
    async with desk(cartpole, size=(80, 24)) as it:
        await it.say(structs.replace(picture, action_names=(), frames=(frame,)))
        await it.press("V")
        await play(it)
        facts = it.app.screen.query_one(GameFacts)
        lines = facts.draw(*facts.content_size).plain.split("\n")
        assert any(line.startswith("▸left") for line in lines)
        assert any(line.startswith(" right") for line in lines)
        named = {
            name: line for line in lines for name in ("position", "velocity", "angle", "ang. vel.") if name in line
        }
        assert "┼━" in named["position"]
        assert "━┼" in named["velocity"]
        assert [name for name, line in named.items() if "◆" in line] == ["angle", "ang. vel."]


async def test_after_shrinking_the_first_press_shows_the_game():
    async with desk() as it:
        await it.pilot.resize_terminal(80, 24)
        await it.pilot.pause()
        assert not it.app.screen.query_one(Game).region.area
        await it.press("v")
        assert it.app.screen.query_one(Game).region.area
    async with desk() as it:
        await it.press("v", "v")
        await it.pilot.resize_terminal(80, 24)
        await it.pilot.pause()
        shown = bool(it.app.screen.query_one(Game).region.area)
        await it.press("v")
        assert bool(it.app.screen.query_one(Game).region.area) != shown


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
        text = it.picture
        assert "▀" not in text
        assert "*" in text_of_picture(it), "the ball"


async def test_a_terminal_of_16_colours_gets_half_blocks_in_them(monkeypatch):
    async with desk() as it:
        with monkeypatch.context() as terminal:
            terminal.setattr(PpoTuiApp, "is_headless", False)
            terminal.setattr(it.app, "console", Console(force_terminal=True, color_system="standard"))
            await it.say(clip())
            await play(it)
            assert "▀" in it.picture


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
