"""A screen on a run of another process.

It has the whole history, one screen steers, and the run survives the connection.
"""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import get_args

import pytest

from ppo_tui.protocol import (
    PASSIVE,
    AnyCommand,
    CheckpointSaved,
    CommandRefused,
    Event,
    GameClip,
    GameFrame,
    Pause,
    Resume,
    Rewind,
    RunFinished,
    RunState,
    SaveCheckpoint,
    SetValue,
    StateChanged,
    StepMinibatches,
    StepUpdates,
    Stop,
    UpdateFinished,
    WatchGame,
    WatchUpdate,
    WithdrawValue,
    encode,
)
from ppo_tui.tui.app import PpoTuiApp
from ppo_tui.tui.controller import Controller
from ppo_tui.tui.keys import APP, EDIT, GAME, KEYS, LIST, RUNS, TRAIN
from ppo_tui.tui.log_entries import Kind
from ppo_tui.tui.session import AttachedSession, Session
from ppo_tui.tui.session import attached as attached_module
from ppo_tui.tui.session_app import Departure
from tests.runs.conftest import ServedRun
from tests.tui.fake import recorded
from tests.waiting import wait_until


@pytest.fixture
def served(tmp_path: Path):
    run = ServedRun(tmp_path / "run")
    yield run
    run.close()


class Attached:
    """A session whose events are folded into a view, as the screen does it."""

    def __init__(self, run: ServedRun, **options: bool) -> None:
        self.session = AttachedSession(run.directory, **options)
        self.controller = Controller(self.session, clock=lambda: 0.0)
        self.session.start()

    @property
    def view(self):
        return self.controller.view

    def wait_until(self, condition) -> None:
        def polled() -> bool:
            self.controller.poll()
            return condition()

        wait_until(polled)

    def refusals(self) -> list[str]:
        self.controller.poll()
        return [entry.text for entry in self.view.log if entry.kind is Kind.WARNING]


def update(number: int) -> UpdateFinished:
    return UpdateFinished(update=number, step=number, metrics={"time/fps_update": 1.0, "train/value_loss": 0.5})


def finished() -> RunFinished:
    return RunFinished(state=RunState.FINISHED, exit_code=0, reason="done", step=9, update=9)


def test_the_screen_of_an_attached_run_equals_that_of_the_run_itself(served):
    """However late it joins, and the transient events included."""
    here = Controller(ListSession(events := list(recorded(40))), clock=lambda: 0.0)
    here.poll()
    for event in events:
        if isinstance(event, UpdateFinished):
            event.metrics.setdefault("time/fps_update", 1.0)
        served.emit(event)
    there = Attached(served)
    there.wait_until(lambda: there.view.rollout == here.view.rollout and there.view.update == 40)
    assert encode(there.view.started) == encode(here.view.started)
    assert list(there.view.log) == list(here.view.log)
    assert there.view.workers == here.view.workers
    assert there.view.settings == here.view.settings
    for key, series in here.view.series.items():
        assert series.values.tolist() == pytest.approx(there.view.series[key].values.tolist(), nan_ok=True)
    there.session.close(1)


class ListSession(Session):
    live = True

    def __init__(self, events: list[Event]) -> None:
        self._events = events

    def poll(self) -> list[Event]:
        events, self._events = self._events, []
        return events


def test_commands_go_to_the_run_and_refusals_come_back(served):
    served.train()
    here = Attached(served)
    here.wait_until(lambda: here.session.status == "attached")
    here.session.send(Pause())
    wait_until(lambda: len(served.commands) == 1)
    assert served.commands[0].by.startswith("screen")
    served.emit(CommandRefused(message="not now"))
    here.wait_until(lambda: here.refusals() == ["refused: not now"])
    here.session.close(1)


def test_a_second_screen_watches_until_it_takes_control(served):
    first, second = Attached(served), Attached(served)
    for screen in (first, second):
        screen.wait_until(lambda screen=screen: bool(screen.session.status))
    assert (first.session.can_steer, second.session.can_steer) == (True, False)
    second.session.send(Pause())
    assert "T takes" in second.refusals()[0]
    second.session.take_control()
    second.wait_until(lambda: second.session.can_steer)
    first.wait_until(lambda: not first.session.can_steer)
    third = Attached(served, take_control=True)
    third.wait_until(lambda: third.session.can_steer)
    watcher = Attached(served, readonly=True)
    watcher.wait_until(lambda: watcher.session.status == "read-only")
    assert served.commands == []
    for screen in (first, second, third, watcher):
        screen.session.close(1)


def test_a_run_that_ends_is_not_lost(served):
    served.train()
    here = Attached(served)
    served.emit(finished())
    here.wait_until(lambda: here.view.finished is not None)
    served.close()
    wait_until(lambda: not here.session.live)
    here.controller.poll()
    assert here.view.state is RunState.FINISHED
    here.session.close(1)


def test_a_lost_run_leaves_the_screen_standing_and_a_resumed_one_fills_it_anew(served, monkeypatch):
    monkeypatch.setattr(attached_module, "RETRY_SECONDS", 0.05)
    served.train()
    served.emit(update(1), update(2))
    here = Attached(served)
    here.wait_until(lambda: here.view.update == 2)
    served.close()
    here.wait_until(lambda: here.view.state is RunState.LOST and "is gone" in here.view.reason)
    assert not here.session.live
    assert here.view.update == 2
    here.session.send(Pause())
    assert "does not answer" in here.refusals()[-1]

    # A resumed run's record ends at its checkpoint, and goes on from there.
    run = served.directory
    lines = run.events.read_bytes().splitlines(keepends=True)
    run.events.write_bytes(b"".join(lines[:-1]))
    run.json_path.unlink()
    resumed = ServedRun(run.path, again=True)
    resumed.train()
    resumed.emit(update(2), update(3))
    here.wait_until(lambda: here.session.live and here.view.update == 3)
    assert here.view.state is RunState.TRAINING
    assert here.view.series["train/value_loss"].steps.tolist() == [1, 2, 3]
    here.session.close(1)
    resumed.close()


# ── On the screen ───────────────────────────────────────────────────────────────────────────────────────────


async def test_d_leaves_an_attached_run_to_itself(served):
    served.train()
    app = PpoTuiApp(AttachedSession(served.directory))
    async with app.run_test() as pilot:
        while app.controller.view.started is None:
            await pilot.pause(0.05)
        await pilot.press("d")
    assert app.departure is Departure.DETACHED
    assert app.return_code == 0
    assert served.commands == []


@pytest.mark.parametrize("leave", [lambda app: app.terminate("SIGTERM", 143), PpoTuiApp.hang_up])
async def test_closing_the_terminal_or_ending_the_screen_never_ends_the_run(served, leave):
    app = PpoTuiApp(AttachedSession(served.directory))
    async with app.run_test() as pilot:
        leave(app)
        await pilot.pause()
    assert app.return_code in (129, 143)
    assert served.commands == []


async def test_ctrl_c_twice_leaves_the_run_and_stops_nothing(served):
    served.train()
    app = PpoTuiApp(AttachedSession(served.directory))
    async with app.run_test() as pilot:
        while not app.controller.session.can_steer:
            await pilot.pause(0.05)
        await pilot.press("ctrl+c", "ctrl+c")
    assert app.departure is Departure.DETACHED
    assert served.commands == []


async def test_a_read_only_screen_is_left_without_a_question_and_steers_nothing(served):
    served.train()
    app = PpoTuiApp(AttachedSession(served.directory, readonly=True))
    async with app.run_test() as pilot:
        while app.controller.session.status != "read-only":
            await pilot.pause(0.05)
        await pilot.press("p", "s", "c", "plus", "T", "p", "u", "v", "v")
        await pilot.pause()
        assert "read-only" in app.screen.query_one("#header").render().plain
        await pilot.press("q")
    assert app.return_code == 0
    assert served.commands == []


EVERY_COMMAND = (
    Pause(), Resume(), StepUpdates(), SaveCheckpoint(), Rewind(path="best"), Stop(), WatchGame(env=0),
    WatchUpdate(), StepMinibatches(),
    WatchGame(env=None), SetValue(key="optim.learning_rate", value=0.1), WithdrawValue(key="optim.learning_rate"),
)  # fmt: skip


def files_of(run: ServedRun) -> dict[str, bytes]:
    found = (path for path in run.directory.path.rglob("*") if path.is_file())
    return {str(path): path.read_bytes() for path in found}


def test_a_session_that_only_watches_sends_nothing(served):
    served.train()
    steering, watching = Attached(served), Attached(served, readonly=True)
    steering.wait_until(lambda: steering.session.can_steer)
    watching.wait_until(lambda: watching.session.status == "read-only")
    assert {type(command) for command in EVERY_COMMAND} == set(get_args(AnyCommand))
    for command in EVERY_COMMAND:
        watching.session.send(command)
        watching.session.take_control()
    refusals = watching.refusals()
    assert len(refusals) == len([command for command in EVERY_COMMAND if not isinstance(command, PASSIVE)])
    assert all("this screen only watches" in refusal for refusal in refusals)
    # What the steering client sends now comes after all that, and alone.
    steering.session.send(Pause())
    wait_until(lambda: bool(served.commands))
    assert [type(command) for command in served.commands] == [Pause]
    assert steering.session.can_steer
    for screen in (steering, watching):
        screen.session.close(1)


def test_a_screen_that_only_watches_shows_the_game_that_others_watch(served):
    served.train()
    watching = Attached(served, readonly=True)
    watching.wait_until(lambda: watching.view.started is not None)
    watching.controller.choose_env(1)
    watching.controller.watch_game(True)
    served.emit(GameClip(env=5, step=1, fps=15.0, frames=(GameFrame(action=0, value=1.0, entropy=0.5),)))
    watching.wait_until(watching.controller.clip_player.advance)
    assert watching.controller.clip_player.env == 5
    assert served.commands == []
    watching.session.close(1)


@pytest.mark.slow
async def test_no_key_of_a_read_only_screen_reaches_the_run(served):
    """Every key on the main screen and on every page, each confirmed, and a setting by the palette."""
    served.train()
    served.emit(update(1), CheckpointSaved(path="step-1", step=1, update=1, reason="manual", seconds=0.1))
    steering = Attached(served)
    steering.wait_until(lambda: steering.session.can_steer)
    before = files_of(served)
    app = PpoTuiApp(AttachedSession(served.directory, readonly=True))

    async def back_to_the_main_screen() -> None:
        while len(app.screen_stack) > 1:
            app.pop_screen()
        app.set_focus(None)

    async with app.run_test(size=(120, 40)) as pilot:
        while app.controller.session.status != "read-only" or app.controller.view.update < 1:
            await pilot.pause(0.05)
        pages = ((), TRAIN, APP), (("e",), EDIT), (("A",), LIST), (("C",), LIST), (("r",), RUNS), (("V",), GAME)
        for opening, *contexts in pages:
            for key in KEYS:
                if key.id in ("quit", "detach") or not set(contexts) & set(key.contexts):
                    continue
                await pilot.press(*opening, *key.keys.split(","), "enter", "enter")
                await back_to_the_main_screen()
        app.set_value("optim.learning_rate", 0.1)
        await pilot.pause()
        assert app.controller.session.status == "read-only"
    steering.session.send(Stop())
    wait_until(lambda: bool(served.commands))
    assert [type(command) for command in served.commands] == [Stop]
    assert files_of(served) == before
    steering.session.close(1)


def test_the_state_of_a_screen_is_no_state_of_a_run(served):
    """`lost` is never sent: it says that nobody answers."""
    served.emit(StateChanged(state=RunState.PAUSED))
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(served.directory.socket))
        assert json.loads(connection.makefile().readline())["state"] == "paused"
