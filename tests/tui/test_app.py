"""The screen, driven by keys."""

from __future__ import annotations

import pytest
from textual.widgets import OptionList, Static

from ppo_tui.protocol import (
    CheckpointSaved,
    Pause,
    Resume,
    RolloutProgress,
    RunFinished,
    RunState,
    SaveCheckpoint,
    SettingChanged,
    SetValue,
    StateChanged,
    StepUpdates,
    Stop,
    UpdateFinished,
)
from ppo_tui.tui.keys import KEYS
from ppo_tui.tui.screens.dialogs import LeaveDialog
from ppo_tui.tui.screens.help import HelpScreen
from ppo_tui.tui.session_app import SAVE_SECONDS, SIGTERM_SECONDS, STOP_SECONDS, Departure
from ppo_tui.tui.widgets.banner import Banner
from ppo_tui.tui.widgets.chart import Chart
from ppo_tui.tui.widgets.events import Events
from ppo_tui.tui.widgets.header import Header
from ppo_tui.tui.widgets.settings import Settings
from ppo_tui.tui.widgets.workers import Workers
from tests.tui.desk import DONE, FAILURE, desk
from tests.tui.fake import recorded, started

# ── Steering ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_session_is_started_once_the_screen_stands():
    async with desk() as it:
        assert it.session.was_started


async def test_pause_and_resume():
    async with desk() as it:
        await it.press("space")
        assert it.session.sent == [Pause()]
        assert "pausing…" in it.text(Header)
        await it.say(StateChanged(state=RunState.PAUSED))
        assert "‖ PAUSED" in it.text(Header)
        assert "pausing" not in it.text(Header)
        assert "p Resume" in it.picture
        await it.press("p")
        assert it.session.sent == [Pause(), Resume()]
        await it.say(StateChanged(state=RunState.TRAINING))
        assert "p Pause" in it.picture


async def test_a_second_press_takes_an_unanswered_pause_back():
    async with desk() as it:
        await it.press("p", "p")
        assert it.session.sent == [Pause(), Resume()]


async def test_step_and_save():
    async with desk() as it:
        await it.press("s", "c")
        assert it.session.sent == [StepUpdates(updates=1), SaveCheckpoint()]
        assert "saving…" in it.text(Header)
        await it.say(CheckpointSaved(path="p", step=2048, update=2, reason="manual", seconds=0.1))
        assert "saving" not in it.text(Header)


async def test_a_nudge_is_pending_until_the_engine_confirms_it():
    async with desk() as it:
        await it.press("3")
        while it.app.controller.editor.selected != "ppo.clip_range":
            await it.press("down")
        await it.press("plus", "plus", "minus")
        assert it.session.sent == [SetValue(key="ppo.clip_range", value=v) for v in (0.11, 0.12, 0.11)]
        assert "▸ clip range         0.1 → 0.11" in it.text(Settings)
        await it.say(SettingChanged(key="ppo.clip_range", old=0.1, new=0.11, by="user", step=1, update=31))
        assert "▸ clip range        0.11" in it.text(Settings)
        assert "→" not in it.text(Settings)


async def test_before_the_run_has_started_keys_do_no_harm():
    async with desk(StateChanged(state=RunState.STARTING)) as it:
        await it.press(
            "down", "plus", "enter", "escape", "y", "m", "2", "tab", "e", "plus", "enter", "a", "escape", "u"
        )
        assert it.session.sent == []
        assert "STARTING" in it.text(Header)


# ── Charts and screens ──────────────────────────────────────────────────────────────────────────────────────


async def test_on_a_small_screen_keys_choose_the_one_chart():
    async with desk(size=(80, 24)) as it:
        assert it.charts_shown() == ["return"]
        await it.press("down", "j", "j")
        assert it.charts_shown() == ["entropy"]
        await it.press("up", "k", "k")
        assert it.charts_shown() == ["return"]


async def test_on_a_large_screen_all_charts_are_there():
    async with desk() as it:
        assert len(it.charts_shown()) == 5


async def test_the_axis_of_the_chosen_chart_can_be_logarithmic():
    async with desk() as it:
        await it.press("down", "y")
        assert [chart.options.log_axis for chart in it.app.screen.query(Chart)] == [False, True, False, False, False]


async def test_charts_are_painted_at_most_once_a_second_and_only_for_new_data():
    async with desk() as it:
        chart = it.app.screen.query_one("#chart-kl", Chart)
        painted = chart.picture
        more = UpdateFinished(update=31, step=31 * 1024, metrics={"train/approx_kl": 0.5})
        await it.say(more)
        assert chart.picture is painted
        await it.pass_time(1.1)
        assert chart.picture is not painted  # the last news before a silence
        painted = chart.picture
        await it.pass_time(1.1)
        await it.say(RolloutProgress(step=32 * 1024, update=32, t=1, length=128, fps=1.0))
        assert chart.picture is painted


async def test_help_lists_every_key():
    async with desk() as it:
        await it.press("question_mark")
        assert isinstance(it.app.screen, HelpScreen)
        text = " ".join(it.said("#help-text").split())
        assert all(key.help in text for key in KEYS)
        await it.press("escape")
        assert len(it.app.screen_stack) == 1


# ── The end ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_failure_stands_in_a_banner_and_its_traceback_is_a_key_away():
    async with desk(*recorded(3), FAILURE) as it:
        assert "✗ FAILED: worker 2 died see workers.log" in it.text(Banner)
        assert "t shows the traceback" in it.text(Banner)
        await it.press("t")
        assert "BrokenPipeError" in str(it.app.screen.query_one(Static).content)
        await it.press("escape", "q")
    assert it.app.return_code == 3


async def test_after_the_end_the_screen_stays_and_q_leaves_at_once():
    async with desk(*recorded(3), DONE) as it:
        assert "✓ FINISHED" in it.text(Banner)
        assert "10.0M steps in 4:24:08" in it.text(Banner)
        assert "mean of " in it.text(Banner), "the return is not of all episodes"
        await it.pilot.resize_terminal(80, 24)
        await it.pilot.pause()
        assert "10.0M steps in 4:24:08" in it.text(Banner)
        assert "…" not in it.text(Banner), "facts without room are left out whole"
        await it.press("p", "s", "c", "plus", "u", "ctrl+r")
        assert it.session.sent == []
        await it.press("e", "plus", "a", "escape", "escape", "C", "enter", "escape")
        assert it.session.sent == []
        assert it.app.is_running
        await it.press("q")
    assert it.app.return_code == 0


@pytest.mark.parametrize("key", ["q", "ctrl+c"])
async def test_leaving_asks_first_and_staying_changes_nothing(key):
    async with desk() as it:
        await it.press(key)
        assert isinstance(it.app.screen, LeaveDialog)
        await it.press("escape")
        assert it.session.sent == []
        assert len(it.app.screen_stack) == 1


@pytest.mark.parametrize("choice", [("s",), ("enter",)])
async def test_save_and_stop_waits_for_the_run_to_end(choice):
    async with desk() as it:
        await it.press("q", *choice)
        assert it.session.sent == [Stop(save=True)]
        await it.say(StateChanged(state=RunState.SAVING))
        assert "SAVING" in it.text(Header)
        assert "stopping…" in it.text(Header)
        assert it.app.is_running
        await it.say(RunFinished(state=RunState.STOPPED, exit_code=0, reason="stopped by the user", step=1, update=1))
    assert it.app.return_code == 0


async def test_stop_now():
    async with desk() as it:
        await it.press("q", "n")
        (stop,) = it.session.sent
        assert not stop.save
        await it.say(RunFinished(state=RunState.STOPPED, exit_code=0, reason="", step=1, update=1))
    assert it.app.return_code == 0


async def test_the_dialog_can_be_used_with_the_arrows():
    async with desk() as it:
        await it.press("q", "j", "down", "enter")
        assert it.session.sent == []
        await it.press("q", "down")
        assert it.app.screen.query_one(OptionList).highlighted == 1


async def test_twice_ctrl_c_stops_now():
    async with desk() as it:
        await it.press("ctrl+c", "ctrl+c")
        assert it.session.sent == [Stop(save=False, exit_code=130, reason="stopped by the user, without a checkpoint")]
        await it.pass_time(STOP_SECONDS + 1)
    assert it.app.return_code == 130


async def test_ctrl_c_during_a_slow_save_stops_now():
    async with desk() as it:
        await it.press("q", "s", "ctrl+c")
        assert [stop.save for stop in it.session.sent] == [True, False]


async def test_an_engine_that_does_not_stop_is_left_with_a_failure():
    async with desk() as it:
        await it.press("q", "s")
        await it.pass_time(SAVE_SECONDS - 1)
        assert it.app.is_running
        await it.pass_time(2)
    assert it.app.return_code == 3


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGINT", 130)])
async def test_a_signal_saves_and_leaves_with_its_code(name, code):
    async with desk() as it:
        it.app.terminate(name, code)
        assert it.session.sent == [Stop(save=True, exit_code=code, reason=f"terminated ({name})", by=name)]
        await it.pass_time(SIGTERM_SECONDS + 1)
    assert it.app.return_code == code


async def test_a_run_elsewhere_is_left_to_itself():
    async with desk() as it:
        it.session.owns_run, it.session.can_detach = False, True
        await it.press("q", "d")
    assert it.app.departure is Departure.DETACHED
    assert it.session.sent == []
    assert it.app.return_code == 0


async def test_a_run_in_this_process_is_stopped_and_saved_before_it_is_handed_over():
    async with desk() as it:
        it.session.can_detach = True
        await it.press("d")
        assert [command.save for command in it.session.sent] == [True]
        await it.say(RunFinished(state=RunState.STOPPED, exit_code=0, reason="handed over", step=1, update=1))
    assert it.app.departure is Departure.DETACHED


async def test_what_cannot_be_detached_from_is_not():
    async with desk() as it:
        await it.press("q", "d", "escape", "d")
        assert it.app.is_running
        assert it.session.sent == []


async def test_a_dialog_open_at_the_end_still_leaves():
    async with desk() as it:
        await it.press("q")
        await it.say(DONE)
        await it.press("s")
        await it.say()
    assert it.app.return_code == 0


# ── Any size ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_storm_of_sizes():
    async with desk(*recorded(40)) as it:
        sizes = [(1, 1), (300, 100), (2, 50), (200, 3), (60, 16), (120, 40), (80, 24), (7, 7), (109, 33), (110, 34)]
        for width, height in sizes:
            await it.pilot.resize_terminal(width, height)
            await it.press("tab", "y", "m", "down")
            await it.say(StateChanged(state=RunState.TRAINING))
            assert it.app.screen.size == (width, height)
        await it.press("escape", "question_mark", "escape", "q", "escape")
        for key in ("e", "A", "C", "r"):
            await it.press(key)
            for width, height in sizes[:4]:
                await it.pilot.resize_terminal(width, height)
            await it.press("down", "escape")
        await it.say(FAILURE)
        for width, height in sizes:
            await it.pilot.resize_terminal(width, height)
            await it.pilot.pause()
        assert it.app.is_running
        assert len(it.app.screen_stack) == 1


@pytest.mark.parametrize("size", [(60, 16), (80, 24), (120, 40), (300, 100)])
async def test_what_matters_most_is_on_every_screen(size):
    async with desk(*recorded(40), size=size) as it:
        for panel in (Header, Settings, Workers, Events):
            region = it.app.screen.query_one(panel).region
            assert region.area
            assert it.app.screen.region.contains_region(region)
        assert any(chart.region.height >= 3 for chart in it.app.screen.query(Chart))
        assert it.app.screen.query_one("#tiles").region.area
        assert it.app.screen.max_scroll_y == it.app.screen.max_scroll_x == 0


@pytest.mark.parametrize("theme", ["ppo-light", "ppo-ansi", "ansi-dark", "textual-dark", "nord"])
async def test_other_themes(theme):
    async with desk(started(), *list(recorded(20))[1:]) as it:
        it.app.theme = theme
        await it.pilot.pause()
        assert it.app.export_screenshot()
