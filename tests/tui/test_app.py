"""The screen under a user's fingers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, OptionList, Static

from ppo_tui.protocol import (
    CheckpointSaved,
    Event,
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
from ppo_tui.tui.app import SAVE_SECONDS, SIGTERM_SECONDS, STOP_SECONDS, PpoTuiApp
from ppo_tui.tui.keys import KEYS
from ppo_tui.tui.screens.dialogs import LeaveDialog, TextScreen
from ppo_tui.tui.widgets.banner import Banner
from ppo_tui.tui.widgets.chart import Chart
from ppo_tui.tui.widgets.header import Header
from ppo_tui.tui.widgets.panel import Panel
from ppo_tui.tui.widgets.settings import Settings
from ppo_tui.tui.widgets.value_input import ValueInput

from .fake import FakeSession, recorded, started

FAILURE = RunFinished(
    state=RunState.FAILED,
    exit_code=3,
    reason="worker 2 died\n  see workers.log",
    step=2048,
    update=2,
    details="Traceback (most recent call last):\n  …\nBrokenPipeError: pipe",
)
DONE = RunFinished(state=RunState.FINISHED, exit_code=0, reason="", step=10_000_000, update=9766, elapsed=15_848.0)


class Desk:
    """An app with its fake session and a clock that stands until it is moved."""

    def __init__(self, events: list[Event], fps: float = 0.0) -> None:
        self.now = 0.0
        self.session = FakeSession(events)
        self.app = PpoTuiApp(self.session, clock=lambda: self.now, fps=fps)
        self.pilot: Pilot[None]

    async def say(self, *events: Event) -> None:
        self.session.put(*events)
        self.app.tick()
        await self.pilot.pause()

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.pilot.pause()

    async def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.app.tick()
        await self.pilot.pause()

    def charts_shown(self) -> list[str]:
        return [chart.spec.id for chart in self.app.screen_stack[0].query(Chart) if chart.region.area]

    def text(self, panel: type[Panel]) -> str:
        widget = self.app.screen_stack[0].query_one(panel)
        return widget.draw(*widget.content_size).plain


@asynccontextmanager
async def desk(*events: Event, size: tuple[int, int] = (120, 40), fps: float = 0.0) -> AsyncIterator[Desk]:
    made = Desk(list(events) or list(recorded(30)), fps)
    async with made.app.run_test(size=size) as pilot:
        made.pilot = pilot
        await made.say()
        yield made


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
        await it.press("p")
        assert it.session.sent == [Pause(), Resume()]


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
        while it.app.run_controller.editor.selected != "ppo.clip_range":
            await it.press("down")
        await it.press("plus", "plus", "minus")
        assert it.session.sent == [SetValue(key="ppo.clip_range", value=v) for v in (0.11, 0.12, 0.11)]
        assert "▸ clip range         0.1 → 0.11" in it.text(Settings)
        await it.say(SettingChanged(key="ppo.clip_range", old=0.1, new=0.11, by="user", step=1, update=31))
        assert "▸ clip range        0.11" in it.text(Settings)
        assert "→" not in it.text(Settings)


async def test_typing_a_value():
    async with desk() as it:
        await it.press("enter", *"3e-4", "enter")
        assert it.session.sent == [SetValue(key="optim.learning_rate", value=3e-4)]
        assert not it.app.screen.query_one(ValueInput).open


async def test_a_wrong_value_says_why_and_stays_to_be_mended():
    async with desk() as it:
        await it.press("enter", "7", "enter")
        error = str(it.app.screen.query_one("#value-error", Static).content)
        assert "optim.learning_rate = 7" in error
        assert "at most 1" in error
        assert it.app.screen.query_one(Input).value == "7"
        assert it.session.sent == []
        await it.press("backspace", *"0.01", "enter")
        assert it.session.sent == [SetValue(key="optim.learning_rate", value=0.01)]


async def test_escape_leaves_the_value_as_it_was():
    async with desk() as it:
        await it.press("enter", "9", "escape")
        assert it.session.sent == []
        assert not it.app.screen.query_one(ValueInput).open


async def test_keys_are_text_while_typing():
    async with desk() as it:
        selected = it.app.run_controller.editor.selected
        await it.press("enter", *"psc+-qy2m?", "down", "tab")
        assert it.session.sent == []
        assert it.app.screen.query_one(Input).value == "psc+-qy2m?"
        assert it.app.screen.query_one("#chart-return").has_class("-chosen")
        assert it.app.run_controller.editor.selected == selected
        assert len(it.app.screen_stack) == 1


async def test_before_the_run_has_started_keys_do_no_harm():
    async with desk(StateChanged(state=RunState.STARTING)) as it:
        await it.press("down", "plus", "enter", "y", "m", "2", "tab")
        assert it.session.sent == []
        assert "STARTING" in it.text(Header)


# ── Charts and screens ──────────────────────────────────────────────────────────────────────────────────────


async def test_on_a_small_screen_keys_choose_the_one_chart():
    async with desk(size=(80, 24)) as it:
        assert it.charts_shown() == ["return"]
        await it.press("4")
        assert it.charts_shown() == ["entropy"]
        await it.press("tab", "tab")
        assert it.charts_shown() == ["return"]


async def test_on_a_large_screen_all_charts_are_there():
    async with desk() as it:
        assert len(it.charts_shown()) == 5


async def test_the_axis_of_the_chosen_chart_can_be_logarithmic():
    async with desk() as it:
        await it.press("2", "y")
        assert [chart.options.log_axis for chart in it.app.screen.query(Chart)] == [False, True, False, False, False]


async def test_charts_are_painted_at_most_twice_a_second_and_only_for_new_data():
    async with desk() as it:
        chart = it.app.screen.query_one("#chart-kl", Chart)
        painted = chart._picture
        more = UpdateFinished(update=31, step=31 * 1024, metrics={"train/approx_kl": 0.5})
        await it.say(more)
        assert chart._picture is painted
        await it.pass_time(0.6)
        assert chart._picture is painted  # no event since: the screen does not even look
        await it.say(RolloutProgress(step=32 * 1024, update=32, t=1, length=128, fps=1.0))
        assert chart._picture is not painted
        painted = chart._picture
        await it.pass_time(0.6)
        await it.say(RolloutProgress(step=32 * 1024, update=32, t=2, length=128, fps=1.0))
        assert chart._picture is painted


async def test_help_lists_every_key():
    async with desk() as it:
        await it.press("question_mark")
        assert isinstance(it.app.screen, TextScreen)
        text = str(it.app.screen.query_one(Static).content)
        assert all(key.help in text for key in KEYS)
        await it.press("escape")
        assert len(it.app.screen_stack) == 1


async def test_key_bindings_do_not_collide():
    names = [name for key in KEYS for name in key.keys.split(",")]
    assert len(names) == len(set(names))
    assert len({key.id for key in KEYS}) == len(KEYS)


async def test_the_whole_log_can_be_read():
    async with desk() as it:
        await it.press("l")
        assert "training" in str(it.app.screen.query_one(Static).content)


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
        await it.press("p", "s", "c", "plus", "enter")
        assert it.session.sent == []
        assert it.app.is_running
        await it.press("q")
    assert it.app.return_code == 0


async def test_the_end_closes_a_half_typed_value():
    async with desk() as it:
        await it.press("enter", "1")
        await it.say(DONE)
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
        await it.press("q", "down", "down", "enter")
        assert it.session.sent == []
        await it.press("q", "down")
        assert it.app.screen.query_one(OptionList).highlighted == 1


async def test_twice_ctrl_c_stops_now():
    async with desk() as it:
        await it.press("ctrl+c", "ctrl+c")
        assert it.session.sent == [Stop(save=False, exit_code=130, reason="stopped by the user, without a checkpoint")]
        await it.pass_time(STOP_SECONDS + 1)
    assert it.app.return_code == 130


async def test_ctrl_c_works_while_typing():
    async with desk() as it:
        await it.press("enter", "1", "ctrl+c")
        assert isinstance(it.app.screen, LeaveDialog)


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


async def test_sigterm_saves_and_leaves_with_143():
    async with desk() as it:
        it.app.terminate()
        assert it.session.sent == [Stop(save=True, exit_code=143, reason="terminated (SIGTERM)")]
        await it.pass_time(SIGTERM_SECONDS + 1)
    assert it.app.return_code == 143


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
        sizes = [(1, 1), (300, 100), (2, 50), (200, 3), (40, 10), (120, 40), (80, 24), (7, 7), (109, 33), (110, 34)]
        for width, height in sizes:
            await it.pilot.resize_terminal(width, height)
            await it.press("tab", "y")
            await it.say(StateChanged(state=RunState.TRAINING))
        await it.press("enter", "escape", "question_mark", "escape", "q", "escape")
        await it.say(FAILURE)
        for width, height in sizes:
            await it.pilot.resize_terminal(width, height)
            await it.pilot.pause()


@pytest.mark.parametrize("size", [(40, 10), (80, 24), (120, 40), (200, 50)])
async def test_what_matters_most_is_on_every_screen(size):
    async with desk(*recorded(40), size=size) as it:
        visible = it.app.screen.query_one(Header), it.app.screen.query_one(Settings)
        assert all(widget.region.area for widget in visible)
        assert any(chart.region.height >= 3 for chart in it.app.screen.query(Chart))


@pytest.mark.parametrize("theme", ["ppo-light", "ansi-dark", "ansi-light", "textual-dark", "nord"])
async def test_other_themes(theme):
    async with desk(started(), *list(recorded(20))[1:]) as it:
        it.app.theme = theme
        await it.pilot.pause()
        assert it.app.export_screenshot()
