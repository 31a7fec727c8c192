"""The theatre of `ppo-tui watch`: policies, games, speed, returns."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from ppo_tui.protocol import Alarm, EpisodeFinished, Event, Gaze, Level, RunFinished, RunState
from ppo_tui.training.evaluation.programme import AS_FAST_AS_IT_GOES, UNTRAINED, Choice, NowPlaying, Programme
from ppo_tui.tui.clip_player import ClipPlayer
from ppo_tui.tui.screens.edit import EditScreen
from ppo_tui.tui.theatre import cast_of
from ppo_tui.tui.theatre_app import TheatreApp, TheatreCommands
from tests.tui.clips import clip
from tests.tui.desk import characters
from tests.tui.fake import FakeSession, recorded, started

CHOICES = (
    Choice(UNTRAINED),
    Choice("step-1", 10_000, path=Path("step-1"), score=91.0),
    Choice("step-2", 120_064, "latest", Path("step-2"), 219.0),
)


class FakeTheatre(FakeSession):
    """A session of trained policies without an engine."""

    owns_run = False
    can_steer = False
    status = "watching"

    def __init__(self) -> None:
        super().__init__()
        self.choices, self.programme = CHOICES, Programme(checkpoints=("step-2",))

    @property
    def wish(self) -> Programme:
        return self.sent[-1]


def playing(*names: str, game: int = 1, scene: int = 0) -> NowPlaying:
    return NowPlaying(checkpoints=names, game=game, greedy=True, scene=scene)


def returned(value: float, stage: int = 0) -> EpisodeFinished:
    return EpisodeFinished(env=stage, episode_return=value, length=9, step=9)


class Theatre:
    def __init__(self, app: TheatreApp, pilot, session: FakeTheatre) -> None:
        self.app, self.pilot, self.session = app, pilot, session

    async def say(self, *events: Event) -> str:
        self.session.put(*events)
        self.app.tick()
        await self.pilot.pause()
        return characters(self.app)

    async def press(self, *keys: str) -> str:
        await self.pilot.press(*keys)
        return await self.say()


@asynccontextmanager
async def theatre(size: tuple[int, int] = (120, 40)) -> AsyncIterator[Theatre]:
    session = FakeTheatre()
    app = TheatreApp(session, clock=lambda: 0.0, fps=15.0)
    async with app.run_test(size=size) as pilot:
        yield Theatre(app, pilot, session)


async def test_the_palette_of_the_theatre_offers_no_settings():
    async with theatre() as it:
        await it.say(started(), playing("step-2"))
        shown = await it.press("ctrl+p", *"slower")
        assert "Watch slower" in shown
        assert "Replay" not in shown
        await it.press("escape")
        await it.press("ctrl+p", *"gamma")
        await it.press("enter")
        assert it.app.screen_stack[0] is it.app.theatre_screen
        assert not [screen for screen in it.app.screen_stack if isinstance(screen, EditScreen)]


async def test_a_visit_to_the_theatre():
    async with theatre() as it:
        assert "loading PyTorch" in await it.say()
        shown = await it.say(started(), playing("step-2"))
        assert "breakout-7 · checkpoint 120,064 (latest) · greedy · game 1" in shown
        for nothing in ("TRAINING", "Pause", "Step", "workers", "seed 0", "[ ] env", "known after"):
            assert nothing not in shown, "it is no dashboard of a training"
        await it.say(returned(500.0), playing("step-2", game=2), returned(400.0))
        shown = await it.say(playing("step-2", game=3))
        assert "game 3 · returns 500 400 · mean 450" in shown
        assert "checkpoint 10,000" in shown
        assert "91.0" in shown
        assert "in training" in shown
        assert "2 games" in shown

        shown = await it.say(playing("step-1", "step-2", game=3))
        assert "games 500" not in shown, "those games were of the policy that stood there before"
        await it.say(playing("step-2", game=3))

        await it.press("n")
        assert (it.session.wish.game, it.session.wish.scene) == (4, 1)
        await it.say(playing("step-2", game=4, scene=1))
        shown = await it.press("greater_than_sign", "greater_than_sign")
        assert it.session.wish.speed == 4.0
        assert "×4" in shown
        shown = await it.press(*["greater_than_sign"] * 5)
        assert it.session.wish.speed == AS_FAST_AS_IT_GOES
        assert "as fast as it goes" in shown
        await it.press(*["less_than_sign"] * 9)
        assert it.session.wish.speed == 0.5
        shown = await it.press("space")
        assert it.session.wish.held
        assert "held" in shown
        assert "p Go on" in shown
        assert all(player.held for player in it.app.theatre.players)
        await it.press("space", "g")
        assert (it.session.wish.held, it.session.wish.gaze) == (False, Gaze.ACTION)
        await it.press("s")
        assert not it.session.wish.greedy

        await it.press("full_stop")
        assert it.session.wish.checkpoints == ("step-2",), "there is no later one"
        await it.press("comma")
        assert it.session.wish.checkpoints == ("step-1",)
        await it.press("comma", "full_stop", "full_stop", "b")
        assert it.session.wish.checkpoints == (UNTRAINED, "step-2")
        scene = it.session.wish.scene
        names = it.session.wish.checkpoints
        both = playing(*names, game=4, scene=scene)
        shown = await it.say(both, returned(9.0, 0), clip(env=0, scene=scene), clip(env=1, scene=scene))
        assert "2 checkpoints, the same seeds" in shown
        assert "untrained · return 9.00" in shown
        assert [stage.display for stage in it.app.theatre_screen.stages] == [True, True, False, False]
        await it.press("b")
        assert it.session.wish.checkpoints == (UNTRAINED, "step-1", "step-2")
        await it.press("b")
        assert it.session.wish.checkpoints == ("step-2",)

        shown = await it.press("question_mark")
        assert "Go to the next game." in shown
        assert "Run one update" not in shown
        await it.press("escape")
        await it.press("escape")
    assert it.app.return_code == 0
    assert it.session.sent, "and nothing else was asked for"
    assert all(isinstance(each, Programme) for each in it.session.sent)


async def test_it_fits_a_small_screen_and_says_how_it_ends():
    async with theatre(size=(80, 24)) as it:
        await it.say(started(), playing("step-2"), clip(3))
        shown = await it.press("b", "b")
        assert it.session.wish.checkpoints == ("step-2",), "two fit, three do not"
        assert "120,064" in shown
        done = RunFinished(state=RunState.FINISHED, exit_code=0, reason="2 episodes played", step=9, update=0)
        assert "2 episodes played" in await it.say(done)
        await it.press("q")
    assert it.app.return_code == 0


async def test_a_window_without_room_shows_nothing():
    async with theatre() as it:
        await it.say(started(), playing("step-2"), clip(3))
        for size in ((1, 1), (2, 30), (3, 2), (120, 40)):
            await it.pilot.resize_terminal(*size)
            shown = await it.say()
        assert "checkpoint 120,064" in shown


async def test_a_policy_that_cannot_be_watched_is_told():
    session = FakeTheatre()
    app = TheatreApp(session, clock=lambda: 0.0, fps=15.0)
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        it = Theatre(app, pilot, session)
        await it.say(started(), Alarm(level=Level.ERROR, message="[red]step-1 cannot be watched"), playing("step-2"))
        assert "[red]step-1 cannot be watched" in await it.say()


def test_the_cast_goes_from_clumsy_to_good():
    choices = tuple(Choice(str(number), number) for number in range(9))
    assert cast_of(choices, 1) == ("8",)
    assert cast_of(choices, 2) == ("0", "8")
    assert cast_of(choices, 3) == ("0", "4", "8")
    assert cast_of(choices[:1], 4) == ("0",)


def test_speed_and_hold_take_effect_at_once():
    player = ClipPlayer(FakeSession(), lambda: 0.0, 15.0)
    player.offer(clip(60))
    player.pace = 0.5
    assert [player.advance() for _ in range(4)] == [False, True, False, True]
    player.pace = 8.0
    player.advance()
    assert player.frame.score == 9.0
    player.held = True
    assert not player.advance()
    player.held, player.pace = False, float("inf")
    for _ in range(4):
        player.advance()
    assert player.frame.score == 59.0, "a clip in a few ticks"
    player.offer(clip(3, first=100))
    player.offer(clip(3, first=7, scene=1))
    player.pace = 1.0
    player.advance()
    assert player.frame.score == 7.0, "a new scene begins at once"


async def test_the_theatre_itself_is_never_left_for_the_screen_below():
    async with theatre() as it:
        lowest = it.app.screen
        await it.app.pop_screen()
        assert it.app.screen is lowest


async def test_the_palette_offers_no_charts_where_there_are_none():
    async with theatre() as it:
        await it.say(*recorded(3), playing("step-2"))
        commands = TheatreCommands(it.app.screen)
        commands._post_init()
        names = [str(hit.text) async for hit in commands.search("time")]
        assert not [name for name in names if name.startswith("Chart")]
