"""A record plays like the run, at any speed and from anywhere."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ppo_tui.errors import UsageError
from ppo_tui.protocol import TRANSIENT, Pause, RunFinished, RunState, encode
from ppo_tui.tui.app import PpoTuiApp
from ppo_tui.tui.controller import Controller
from ppo_tui.tui.screens.replay import ReplayScreen
from ppo_tui.tui.session import ReplaySession
from tests.tui.desk import characters
from tests.tui.fake import SECONDS_PER_UPDATE, recorded

UPDATES = 30


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    path = tmp_path_factory.mktemp("record") / "events.jsonl"
    events = [event for event in recorded(UPDATES) if not isinstance(event, TRANSIENT)]
    last = events[-1].elapsed
    events.append(
        RunFinished(state=RunState.FINISHED, exit_code=0, reason="done", step=30_720, update=UPDATES, elapsed=last + 1)
    )
    path.write_bytes(b"".join(encode(event) + b"\n" for event in events))
    return path


class Replay:
    def __init__(self, record, **options) -> None:
        self.clock = Clock()
        self.session = ReplaySession(record, clock=self.clock, **options)
        self.controller = Controller(self.session, self.clock)
        self.session.start()

    def wait(self, seconds: float) -> None:
        self.clock.now += seconds
        self.controller.poll()

    @property
    def view(self):
        return self.controller.view


def shown(view) -> tuple:
    """What a screen could tell two views apart by."""
    return (
        view.state, view.step, view.update, view.elapsed, view.episodes, view.best, view.settings, list(view.log),
        view.finished, {key: series.values.tolist() for key, series in view.series.items() if "rew" not in key},
    )  # fmt: skip


def test_events_come_when_they_came_in_the_run(record):
    replay = Replay(record, speed=10)
    replay.wait(0)
    assert replay.view.started is not None
    for update in range(1, UPDATES + 1):
        replay.wait(SECONDS_PER_UPDATE / 10 + (0.15 if update == 1 else 0) + 1e-6)
        assert replay.view.update == update
    assert replay.controller.elapsed == pytest.approx(replay.view.elapsed)
    replay.wait(1)
    assert replay.view.finished
    assert replay.session.status == "replay at the end"


def test_by_default_it_takes_a_minute_or_as_long_as_the_run(record, tmp_path):
    assert Replay(record).session.speed == 1  # 50 seconds
    lines = record.read_bytes().replace(b'"elapsed":', b'"elapsed":10')  # a hundred times as long and more
    long = tmp_path / "long.jsonl"
    long.write_bytes(lines)
    replay = Replay(long)
    replay.wait(60)
    assert replay.session.at_end


def test_holding_stops_the_time_and_speed_doubles(record):
    replay = Replay(record, speed=1)
    replay.wait(5)
    replay.session.toggle_pause()
    before = shown(replay.view)
    replay.wait(1_000)
    assert shown(replay.view) == before
    assert replay.session.status == "replay paused"
    replay.session.toggle_pause()
    replay.session.change_speed(1)
    replay.session.change_speed(1)
    assert replay.session.status == "replay ×4"
    assert Replay(record, speed=1.66612).session.status == "replay ×1.67"
    replay.wait(5)
    assert replay.view.elapsed == pytest.approx(25, abs=SECONDS_PER_UPDATE)


@settings(max_examples=60)
@given(places=st.lists(st.floats(-10, 80), min_size=1, max_size=6))
def test_a_place_looks_the_same_wherever_one_comes_from(record, places):
    wandering, straight = Replay(record), Replay(record)
    for replay in (wandering, straight):
        replay.session.toggle_pause()
    for place in places:
        wandering.session.seek_to(place)
        wandering.wait(0)
    straight.session.seek_to(places[-1])
    straight.wait(0)
    assert shown(wandering.view) == shown(straight.view)


def test_what_is_cut_off_or_damaged_is_left_out(record, tmp_path):
    damaged = tmp_path / "events.jsonl"
    damaged.write_bytes(b'\xff\n{"event":"of the future"}\n' + record.read_bytes() + b'{"event":"upd')
    replay = Replay(damaged, speed=1_000)
    replay.wait(60)
    assert replay.view.update == UPDATES


@pytest.mark.parametrize("content", [b"", b"[]\n", None])
def test_without_a_record_there_is_no_replay(tmp_path, content):
    path = tmp_path / "events.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match="events.jsonl"):
        ReplaySession(path)


async def test_a_record_says_what_it_has_not_and_its_banner_is_readable_after_every_return(record, tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_bytes(record.read_bytes().replace(b'"state":"finished"', b'"state":"stopped"'))
    clock = Clock()
    app = PpoTuiApp(ReplaySession(path, speed=1, clock=clock), clock=clock)
    async with app.run_test(size=(120, 40)) as pilot:

        async def press(*keys: str) -> str:
            for key in keys:
                await pilot.press(key)
                app.tick()
                await pilot.pause()
            return characters(app)

        assert "■ STOPPED: done" in await press("end")
        assert "a record has no workers" in await press("home")
        assert "■ STOPPED: done" in await press("end")
        shown = await press("v")
        assert "a recorded run has no game frames" in shown
        assert "ppo-tui watch breakout-7 plays it" in shown
        assert "games " in shown, "the returns of the last ones"
        assert "recorded run" not in await press("v")


async def test_the_keys_of_a_replay_move_in_time_and_steer_nothing(record):
    clock = Clock()
    session = ReplaySession(record, speed=1, clock=clock)
    app = PpoTuiApp(session, clock=clock)
    async with app.run_test(size=(120, 40)) as pilot:
        view = app.controller.view
        assert isinstance(app.screen, ReplayScreen)
        await pilot.pause()

        async def press(*keys: str) -> None:
            await pilot.press(*keys)
            app.tick()
            await pilot.pause()

        await press("end")
        assert view.finished
        assert app.screen.query_one("#banner").display
        await press("home")
        assert (view.finished, view.update) == (None, 0)
        assert not app.screen.query_one("#banner").display
        await press("full_stop", "full_stop", "full_stop", "comma")
        assert 0 < view.update < 5
        await press("greater_than_sign", "greater_than_sign", "less_than_sign")
        assert session.speed == 2
        await press("space")
        assert session.paused
        assert "p Resume" in characters(app)
        assert "replay paused" in app.screen.query_one("#header").render().plain
        await press("question_mark")
        assert "Play twice as fast" in app.screen.query_one("TextScreen Static, Static").render().plain
        await press("escape", "s", "c", "plus")
        assert app.controller.request == ""
        session.send(Pause())
        await press("q")
    assert app.return_code == 0
