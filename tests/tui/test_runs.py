"""The list of runs acts on what it shows: on real run directories, with a real control socket."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from ppo_tui.config import load_preset
from ppo_tui.protocol import TRANSIENT, Pause, RunFinished, RunState, StateChanged, Stop, UpdateFinished, encode
from ppo_tui.runs import RunDirectory
from ppo_tui.runs.catalogue import Catalogue
from ppo_tui.tui.keys import KEYS, RUNS
from ppo_tui.tui.screens import runs as runs_module
from ppo_tui.tui.screens.dialogs import ConfirmDialog, TextScreen
from ppo_tui.tui.screens.runs import RunsScreen
from ppo_tui.tui.screens.visit import ReplayVisitScreen, VisitScreen
from ppo_tui.tui.widgets.overlay import Overlay
from tests.runs.conftest import ServedRun
from tests.runs.test_catalogue import make_sweep
from tests.tui.desk import Desk, desk
from tests.tui.fake import recorded, started

NOW = 1.7e9


def make_ended(path: Path, *, begun: float, returns=(5.0, 90.0, 60.0), **settings) -> RunDirectory:
    """A run with a record, as a short training leaves it."""
    overrides = [f"{key.replace('__', '.')}={value}" for key, value in settings.items()]
    run = RunDirectory.create(load_preset("cartpole", overrides=overrides), label="cartpole", path=path)
    run.update(started=begun, status="finished")
    events = [event for event in recorded(3) if not isinstance(event, TRANSIENT)]
    end = RunFinished(state=RunState.FINISHED, exit_code=0, reason="3,072 steps done", step=3072, update=3, elapsed=9.0)
    run.events.write_bytes(b"".join(encode(event) + b"\n" for event in [*events, end]))
    lines = [
        {"time/total_timesteps": 1024 * number, "rollout/ep_rew_mean": value, "time/time_elapsed": 2.0 * number}
        for number, value in enumerate(returns, start=1)
    ]
    run.metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
    run.release()
    return run


@pytest.fixture
def box(tmp_path, monkeypatch) -> Iterator[ServedRun]:
    """Two ended runs, a paused one, a damaged one, a sweep and a link; the paused one is returned."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runs_module, "REFRESH_SECONDS", 1.0)
    folder = tmp_path / "runs"
    make_ended(folder / "alpha", begun=NOW + 3, returns=(5.0, 90.0, 60.0))
    make_ended(folder / "beta", begun=NOW + 2, returns=(7.0, 8.0, 300.0), optim__learning_rate=0.002)
    make_ended(folder / "broken", begun=NOW + 1).json_path.write_text("{")
    make_sweep(folder)
    (tmp_path / "elsewhere").mkdir()
    make_ended(tmp_path / "elsewhere" / "linked", begun=NOW)
    (folder / "linked").symlink_to(tmp_path / "elsewhere" / "linked")
    live = ServedRun(folder / "live")
    live.train()
    live.emit(StateChanged(state=RunState.PAUSED))
    yield live
    live.close()


async def until(it: Desk, condition: Callable[[], object]) -> None:
    """Let the screen work until `condition` holds."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, it.picture
        await it.pilot.pause(0.1)


async def open_runs(it: Desk) -> None:
    await it.press("r")
    await until(it, lambda: "‖ paused" in it.picture and "300" in it.picture)


def names(it: Desk) -> list[str]:
    """The names in the list, from the top."""
    lines = [line.strip("│").removeprefix("▸").strip() for line in it.picture.splitlines() if line.startswith("│")]
    known = ("alpha", "beta", "broken", "linked", "live", "search", "trial-000", "trial-001", "newest")
    return [word for line in lines for word in line.split()[:3] if word in known]


def chosen(it: Desk) -> str:
    """The line under the cursor."""
    return next(line for line in it.picture.splitlines() if line.startswith("│▸"))


async def choose(it: Desk, name: str) -> None:
    await it.press("home")
    for _ in range(12):
        if name in chosen(it):
            return
        await it.press("down")
    raise AssertionError(f"no {name} in {it.picture}")


def told(it: Desk) -> str:
    """All that the screen has told in a corner."""
    return "\n".join(str(notice.message) for notice in it.app._notifications)


async def test_the_list_is_a_tree_to_sort_to_filter_and_to_look_into(box, tmp_path):
    async with desk(started(), notifications=True) as it:
        await open_runs(it)
        assert names(it) == ["live", "broken", "alpha", "beta", "linked", "search"]
        assert "2 trials" in it.picture
        assert "▁" in next(line for line in it.picture.splitlines() if "alpha" in line)
        await choose(it, "search")
        assert "1 pruned, 1 finished · best 80.0 by trial-001" in it.said("#details")
        await it.press("right")
        assert names(it)[-2:] == ["trial-000", "trial-001"]
        assert "■ pruned" in it.picture
        await it.press("down", "left")
        assert "search" in chosen(it)
        assert names(it)[-1] == "search"
        await it.press("s", "s")
        assert "by return" in it.picture
        assert names(it)[0] == "beta"
        await it.press("s", "s", "s")
        await it.press("slash", *"prun", "enter")
        assert names(it) == ["search", "trial-000"]
        await it.press("escape")
        await it.press("slash", *"cart pau", "enter")
        assert names(it) == ["live"], "the preset and the state are among the words"
        await it.press("escape")
        await choose(it, "broken")
        assert "not valid JSON" in it.said("#details")
        # The cursor stays with its run while another one comes and one goes.
        make_ended(tmp_path / "runs" / "newest", begun=time.time() + 60)
        await until(it, lambda: "newest" in names(it))
        assert "broken" in chosen(it)
        (tmp_path / "runs" / "linked").unlink()
        await until(it, lambda: "linked" not in names(it))
        assert "broken" in chosen(it)
        await it.press("enter")  # its record is whole
        await until(it, lambda: isinstance(it.app.screen, ReplayVisitScreen))
        await it.press("escape")
        (tmp_path / "runs" / "broken" / "events.jsonl").unlink()
        await it.press("enter")
        await until(it, lambda: isinstance(it.app.screen, TextScreen))
        assert "not valid JSON" in it.picture
        assert "metrics.jsonl" in it.picture


async def test_an_opened_list_is_read_once_and_then_in_its_rhythm(box, monkeypatch):
    looks: list[float] = []
    look = Catalogue.look
    monkeypatch.setattr(Catalogue, "look", lambda catalogue: looks.append(time.monotonic()) or look(catalogue))
    async with desk(started(), notifications=True) as it:
        await open_runs(it)
        await it.press("escape")
        left = time.monotonic()
        await until(it, lambda: time.monotonic() - left > runs_module.REFRESH_SECONDS)
        looks.clear()
        await open_runs(it)
        await until(it, lambda: len(looks) >= 2)
        assert looks[1] - looks[0] > runs_module.REFRESH_SECONDS / 2


async def test_other_runs_are_visited_and_the_own_run_goes_on_meanwhile(box):
    later = [event for event in recorded(20) if isinstance(event, UpdateFinished)][3:]
    async with desk(*recorded(3), notifications=True) as it:
        own = it.app.main
        await open_runs(it)
        await choose(it, "live")
        await it.press("enter")
        await until(it, lambda: isinstance(it.app.screen, VisitScreen) and "‖ PAUSED · attached" in it.picture)
        await it.press("p")
        await until(it, lambda: box.commands)
        assert not isinstance(box.commands[0], Pause)
        assert it.session.sent == [], "the keys steer the visited run alone"
        await it.say(later[0])
        await it.press("e", "escape", "q")  # its pages, and leaving: a visit ends, and nothing else
        assert isinstance(it.app.screen, RunsScreen)
        await choose(it, "alpha")
        await it.press("enter")
        await until(it, lambda: isinstance(it.app.screen, ReplayVisitScreen))
        assert "esc Back" in it.picture
        await it.press("end")
        await until(it, lambda: "FINISHED" in it.picture)
        it.app.show_metric("time/fps")
        assert isinstance(it.app.screen, ReplayVisitScreen), "the chart of the visited run"
        await it.press("ctrl+c")
        assert isinstance(it.app.screen, RunsScreen)
        await it.press("escape")
        assert it.app.screen is it.app.main is own
        assert it.app.controller.view.update == later[0].update, "its news were taken in"
        assert it.app.is_running


async def test_marked_runs_are_compared_and_lie_over_the_own_return(box, tmp_path):
    own = msgspec.structs.replace(started(), run_dir=str(tmp_path / "runs" / "alpha"))
    async with desk(own, *list(recorded(3))[1:], notifications=True) as it:
        await open_runs(it)
        await choose(it, "beta")
        await it.press("equals_sign")
        await until(it, lambda: isinstance(it.app.screen, TextScreen))
        assert "optim.learning_rate" in it.picture
        assert "0.002" in it.picture
        await it.press("escape")
        await it.press("space")
        await choose(it, "alpha")
        await it.press("space")
        await until(it, lambda: "A beta 300" in it.picture and "B alpha 60" in it.picture)
        assert "B•" in chosen(it), "the point stays with this screen's run"
        await it.press("left", "left")
        assert "step 2,048" in it.picture
        assert "A beta●8.00" in it.picture
        await it.press("0")
        await it.press("c")
        compared = [line for line in it.picture.splitlines() if "finished" in line and "│ " in line]
        assert ["beta" in line for line in compared][:2] == [True, False]
        assert "3,072" in compared[0]
        await it.press("escape", "escape")
        await until(it, lambda: "A beta 300" in it.picture)
        assert it.app.screen is it.app.main
        assert "alpha" not in it.picture.split("\n", 5)[5], "the own run is there already"
        await it.press("r")
        await choose(it, "alpha")
        await it.press("space")
        await choose(it, "beta")
        await it.press("space")
        assert not it.app.screen.query_one(Overlay).display
        await it.press("escape")
        await until(it, lambda: "A beta" not in it.picture)


async def test_runs_are_stopped_and_deleted_after_a_question(box, tmp_path):
    folder = tmp_path / "runs"
    other = ServedRun(folder / "other")
    other.train()
    make_ended(folder / "newest", begun=NOW + 9, run__total_steps=3072)
    async with desk(started(), notifications=True) as it:
        await open_runs(it)
        await choose(it, "newest")
        await it.press("R")
        assert "newest has done all of its 3,072 steps" in told(it)
        assert "ppo-tui resume newest --total-steps 6144" in told(it)
        await choose(it, "alpha")
        await it.press("X")
        assert "alpha is not running: finished" in told(it)
        await choose(it, "live")
        await it.press("R")
        assert "live is running already" in told(it)
        await it.press("D")
        assert "live is running: X stops it first" in told(it)
        await it.press("X")
        assert "It saves a checkpoint" in it.picture
        await it.press("enter")  # staying is what enter means at first
        assert box.commands == []
        await it.press("X", "y")
        await until(it, lambda: any(isinstance(command, Stop) for command in box.commands))
        box.emit(
            RunFinished(state=RunState.STOPPED, exit_code=0, reason="stopped from the list of runs", step=7, update=1)
        )
        await until(it, lambda: "live: stopped at step 7" in told(it))
        # Another one ends while the question stands.
        await choose(it, "other")
        await it.press("X")
        assert isinstance(it.app.screen, ConfirmDialog)
        other.close()
        await it.press("y")
        await until(it, lambda: "other is not running: crashed" in told(it))
        # A link is refused, a run is deleted, and one that is gone meanwhile is said to be.
        await choose(it, "linked")
        await it.press("D")
        await until(it, lambda: "symbolic link" in told(it))
        assert (tmp_path / "elsewhere" / "linked" / "run.json").exists()
        await choose(it, "search")
        await it.press("D")
        assert "search is a sweep" in told(it)
        await choose(it, "alpha")
        await it.press("D")
        await until(it, lambda: isinstance(it.app.screen, ConfirmDialog))
        assert "files, with 0" in it.picture
        await it.press("y")
        await until(it, lambda: "alpha is deleted" in told(it) and "alpha" not in names(it))
        assert not (folder / "alpha").exists()
        await choose(it, "beta")
        await it.press("D")
        await until(it, lambda: isinstance(it.app.screen, ConfirmDialog))
        (folder / "beta").rename(tmp_path / "moved")
        await it.press("y")
        await until(it, lambda: "beta is gone already" in told(it))
        assert sorted(os.listdir(folder)) == ["broken", "linked", "live", "newest", "other", "search"]


async def test_a_screen_that_only_watches_looks_and_changes_nothing(box):
    async with desk(started(), notifications=True) as it:
        it.session.only_watches = True
        await open_runs(it)
        await choose(it, "live")
        for key in ("X", "R", "D"):
            await it.press(key)
            assert isinstance(it.app.screen, RunsScreen)
        assert told(it).count("read-only: this screen only watches") >= 1
        await it.press("enter")
        await until(it, lambda: isinstance(it.app.screen, VisitScreen) and "read-only" in it.picture)
        await it.press("p", "T", "p")
        await asyncio.sleep(0)
        assert box.commands == []


async def test_the_screen_may_not_lend_a_terminal_that_it_has_not(box, tmp_path):
    finished = RunFinished(state=RunState.FINISHED, exit_code=0, reason="", step=3072, update=3, elapsed=9.0)
    async with desk(*recorded(3), finished, notifications=True) as it:
        await it.press("w")
        assert "w watches" not in it.picture, "there is no directory to watch"
        await open_runs(it)
        await choose(it, "alpha")
        await it.press("w")
        await until(it, lambda: "ppo-tui watch" in told(it))
        assert str(tmp_path / "runs" / "alpha") in told(it)


def test_every_key_of_the_list_has_a_sentence_and_an_action():
    for key in KEYS:
        if RUNS in key.contexts:
            assert hasattr(RunsScreen, f"action_{key.action.partition('(')[0]}"), key.id
