"""The start screen: presets, runs, and what enter does."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from ppo_tui.config import load_preset
from ppo_tui.protocol import RunFinished, RunState, UpdateFinished
from ppo_tui.runs import RunDirectory
from ppo_tui.sinks import EventLog
from ppo_tui.tui.overview import NO_COURSE, PresetFacts, RunCourse, duration, missing_extra, preset_facts
from ppo_tui.tui.screens.start import StartScreen
from ppo_tui.tui.session.idle import Choice, StartSession
from ppo_tui.tui.start_app import StartApp
from tests.tui.desk import characters as picture
from tests.tui.fake import started


@pytest.fixture
def ended_run(tmp_path, monkeypatch) -> RunDirectory:
    monkeypatch.chdir(tmp_path)
    directory = RunDirectory.create(load_preset("cartpole"), label="cartpole", name="first")
    log = EventLog(directory)
    log.emit(started())
    for update in range(1, 6):
        metrics = {"time/total_timesteps": 100.0 * update, "time/time_elapsed": 1.0 * update}
        log.emit(UpdateFinished(update=update, step=100 * update, metrics={**metrics, "rollout/ep_rew_mean": update}))
    log.emit(RunFinished(state=RunState.FINISHED, exit_code=0, reason="", step=500, update=5))
    log.close()
    directory.release()
    return directory


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
async def test_presets_and_runs_stand_side_by_side(ended_run, size):
    app = StartApp(StartSession())
    async with app.run_test(size=size) as pilot:
        await app.workers.wait_for_complete()
        await pilot.pause()
        shown = picture(app)
        assert "Presets · 29" in shown
        assert "Runs here · 1" in shown
        assert "cartpole-fast" in shown
        assert "first" in shown
        assert "▁" in shown, "the course of its return"
        assert "enter starts it: ppo-tui --preset" in shown
        assert "…" not in "".join(row for row in shown.splitlines() if " steps · " in row), "where it was measured"


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_wide_names_of_runs_push_nothing_aside(ended_run, size):
    for number, name in enumerate(("学习-平衡杆-一", "🚀rocket-🚀🚀-run", "plain")):
        directory = RunDirectory.create(load_preset("cartpole"), label="cartpole", name=f"run-{number}")
        directory.update(name=name, status="finished")
        directory.metrics.write_text('{"time/total_timesteps": 100, "rollout/ep_rew_mean": 482.5}\n')
        directory.release()
    app = StartApp(StartSession())
    async with app.run_test(size=size) as pilot:
        await app.workers.wait_for_complete()
        await pilot.pause()
        rows = [row.partition(" 482")[0] for row in picture(app).splitlines() if " 482" in row]
        assert len(rows) == 3
        assert len({cell_len(row) for row in rows}) == 1


async def test_keys_choose_filter_and_change_the_side(ended_run):
    session = StartSession()
    app = StartApp(session)
    async with app.run_test(size=(120, 40)) as pilot:
        await app.workers.wait_for_complete()
        await pilot.press("slash", *"cartpole-fast", "enter")
        assert "Presets · 1 of 29" in picture(app)
        await pilot.press("escape", "question_mark")
        await pilot.pause()
        assert not isinstance(app.screen, StartScreen)
        await pilot.press("escape", "p", "e", "tab")
        assert isinstance(app.screen, StartScreen), "keys of a run do nothing here"
        await pilot.pause()
        assert "enter replays it: ppo-tui replay first" in picture(app)
        await pilot.press("enter")
    assert session.choice == Choice("replay", str(ended_run.path))


async def test_enter_starts_a_preset_and_names_a_missing_extra_instead(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = {each.name: each for each in preset_facts()}
    lacking = PresetFacts("ant", "Ant", "Ant-v5", 10, install="pip install 'ppo-tui[mujoco]'")
    monkeypatch.setattr("ppo_tui.tui.screens.start.preset_facts", lambda: [lacking, found["cartpole"]])
    session = StartSession()
    app = StartApp(session)
    async with app.run_test(size=(80, 24)) as pilot:
        await app.workers.wait_for_complete()
        await pilot.pause()
        assert "pip install 'ppo-tui[mujoco]'" in picture(app)
        assert "none yet" in picture(app)
        await pilot.press("enter")
        assert session.choice is None
        await pilot.press("down", "enter")
    assert session.choice == Choice("start", "cartpole")


async def test_q_leaves_without_a_choice(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    session = StartSession()
    app = StartApp(session)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("q")
    assert session.choice is None
    assert app.return_code == 0


def test_a_duration_is_measured_or_not_there():
    measured, unknown = PresetFacts("a", "", "", 1_000, seconds=12.0, machine="x"), PresetFacts("b", "", "", 1_000)
    here = {"one": RunCourse("b", NO_COURSE.returns, 0.1)}
    assert duration(measured, {}) == "about 20 s"
    assert duration(unknown, {}) == ""
    assert duration(unknown, here) == "about 3 h here"
    assert duration(measured, {"one": RunCourse("b", NO_COURSE.returns, 9.0)}) == "about 20 s"
    assert missing_extra("CartPole-v1") == ""
