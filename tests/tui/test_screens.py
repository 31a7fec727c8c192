"""Moving among panels, and the screens of settings, changes, checkpoints and runs."""

from __future__ import annotations

import pytest
from textual.widgets import Input

from ppo_tui.protocol import (
    Alarm,
    Cause,
    CheckpointSaved,
    Evaluated,
    Level,
    Pause,
    Rewind,
    Rewound,
    SaveCheckpoint,
    SettingChanged,
    SetValue,
    StepUpdates,
    UpdateFinished,
)
from ppo_tui.tui.screens.charts import ChartScreen
from ppo_tui.tui.screens.checkpoints import CheckpointScreen
from ppo_tui.tui.screens.dialogs import ConfirmDialog, LeaveDialog
from ppo_tui.tui.screens.edit import EditScreen
from ppo_tui.tui.screens.game import GameScreen
from ppo_tui.tui.screens.main import PANELS
from ppo_tui.tui.widgets.chart import Chart
from ppo_tui.tui.widgets.events import Events
from ppo_tui.tui.widgets.header import Header
from ppo_tui.tui.widgets.metrics_table import MetricsTable
from tests.tui.desk import desk
from tests.tui.fake import recorded

LR = "optim.learning_rate"


def saved(step: int, *, path: str = "") -> CheckpointSaved:
    return CheckpointSaved(
        path=path or f"step-{step}", step=step, update=step // 1024, reason="manual", seconds=0.2, elapsed=step / 600
    )


# ── Panels ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_numbers_and_tab_go_to_panels():
    async with desk() as it:
        seen = []
        for key in ("2", "tab", "tab", "tab", "shift+tab", "1"):
            await it.press(key)
            focused = [panel.id for panel in it.app.screen.query(".-focused")]
            if it.app.main.charts.has_keys:
                focused.append("charts")
            seen += focused
        assert seen == ["workers", "settings", "events", "charts", "events", "charts"]


@pytest.mark.parametrize("number", range(1, len(PANELS) + 1))
async def test_each_panel_can_have_all_the_room(number):
    async with desk(size=(80, 24), fps=1.0) as it:
        name = PANELS[number - 1]
        await it.press(str(number), "m")
        if name == "settings":
            assert isinstance(it.app.screen, EditScreen)
        elif name == "charts":
            assert isinstance(it.app.screen, ChartScreen)
        elif name == "game":
            assert isinstance(it.app.screen, GameScreen)
        elif name != "metrics":  # whose key gives it all the room at once, so that m gives it back
            widget = it.app.screen.query_one(f"#{name}")
            assert widget.region.width == 80
            assert widget.region.height >= 18
        await it.press("escape")
        assert it.charts_shown() == ["return"]


async def test_hjkl_never_change_anything():
    async with desk() as it:
        for panel in "1234":
            await it.press(panel, *"hjkl")
        await it.press("e", *"hjkl")
        assert it.session.sent == []
        assert not it.app.controller.editor.drafts


async def test_a_click_goes_to_a_panel_and_a_double_click_maximises_it():
    async with desk() as it:
        await it.pilot.click("#events")
        assert it.app.screen.query_one("#events").has_class("-focused")
        await it.pilot.click("#events", times=2)
        await it.pilot.pause()
        assert it.app.screen.query_one("#events").region.height > 30


async def test_the_filter_of_the_events_follows_every_letter_until_escape():
    alarms = [Alarm(level=Level.WARNING, message=f"disk {n} is slow") for n in range(3)]
    async with desk(*recorded(30), *alarms) as it:
        await it.press("slash", *"warning")
        assert it.text(Events).count("disk") == 3
        assert "TRAINING" in it.text(Header)
        await it.press(*" DISK 1")
        assert "disk 1 is slow" in it.text(Events)
        assert it.text(Events).count("disk") == 1
        await it.press(*"23")
        assert "no event has 'warning DISK 123'" in it.text(Events)
        assert it.session.sent == []
        await it.press("escape")
        assert "checkpoint" in it.text(Events)
        assert not it.app.main.query_one(Events).filter


async def test_a_filter_that_is_kept_is_cleared_by_escape_later():
    async with desk() as it:
        await it.press("slash", *"best", "enter", "p")
        assert it.session.sent == [Pause()]
        assert it.app.main.query_one(Events).filter == "best"
        await it.press("escape")
        assert it.app.main.query_one(Events).filter == ""


async def test_events_can_be_scrolled_back_and_new_ones_do_not_hide_that():
    alarms = [Alarm(level=Level.WARNING, message=f"alarm {n}") for n in range(60)]
    async with desk(*recorded(3), *alarms) as it:
        await it.press("4", "home")
        assert "training" in it.text(Events)
        await it.press("end")
        assert "alarm 59" in it.text(Events)
        await it.press("up", "pageup")
        assert "alarm 59" not in it.text(Events)
        assert "more below" in it.app.main.query_one(Events).border_subtitle


# ── Steering by number ──────────────────────────────────────────────────────────────────────────────────────


async def test_step_many_asks_how_many():
    async with desk() as it:
        await it.press("S", "x", *"25", "enter")
        assert it.session.sent == [StepUpdates(updates=25)]
        assert "25 updates…" in it.text(Header)
        await it.press("S", "7", "escape", "S", "enter", "escape")
        assert len(it.session.sent) == 1


# ── Settings ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_draft_shows_what_it_would_mean_and_is_applied_by_a():
    async with desk() as it:
        await it.press("e", "plus")
        assert it.session.sent == []
        assert "2.49e-4 → 3.12e-4 (+25 %)" in it.said("#preview")
        assert "after update 31" in it.said("#preview")
        await it.press("a")
        assert it.session.sent == [SetValue(key=LR, value=0.000312)]
        assert "requested: learning rate 3.12e-4; takes effect after update 31" in it.said("#preview")
        await it.say(SettingChanged(key=LR, old=2.49e-4, new=0.000312, by="user", step=1, update=31))
        assert "no draft" in it.said("#preview")


async def test_escape_drops_the_draft_first_and_then_leaves():
    async with desk() as it:
        await it.press("e", "plus", "escape")
        assert isinstance(it.app.screen, EditScreen)
        assert not it.app.controller.editor.drafts
        await it.press("escape")
        assert it.app.screen is it.app.main
        assert it.session.sent == []


async def test_a_value_can_be_typed_and_a_wrong_one_says_why():
    async with desk() as it:
        await it.press("e", "enter", "7", "enter")
        assert "optim.learning_rate = 7" in it.said("#value-error")
        assert "at most 1" in it.said("#value-error")
        await it.press("backspace", *"3e-4", "enter")
        assert it.app.controller.editor.drafts == {LR: 3e-4}
        it.app.controller.editor.drafts[LR] = 0.00012345
        await it.press("enter", "enter")
        assert it.app.controller.editor.drafts == {LR: 0.00012345}, "enter alone keeps all digits"
        it.app.controller.editor.drafts[LR] = 3e-4
        await it.press("enter", "9", "escape")
        assert it.app.controller.editor.drafts == {LR: 3e-4}
        await it.press("a")
        assert it.session.sent == [SetValue(key=LR, value=3e-4)]


async def test_letters_are_inert_while_typing_and_ctrl_c_is_not():
    async with desk() as it:
        await it.press("e", "enter", *"pscqua+-?AC/", "ctrl+r", "f1")
        assert it.app.screen.query_one(Input).value == "pscqua+-?AC/"
        assert it.session.sent == []
        assert isinstance(it.app.screen, EditScreen)
        await it.press("ctrl+c")
        assert isinstance(it.app.screen, LeaveDialog)


async def test_every_setting_has_its_range_unit_and_help():
    async with desk() as it:
        await it.press("e")
        helped = []
        for _ in range(9):
            helped.append(it.said("#details"))
            await it.press("down")
        assert len(set(helped)) == 9
        for words in ("1e-7 – 0.1", "passes", "0.001 – 1, off", "nats"):
            assert words in it.picture


async def test_undo_and_redo_and_the_audit_trail():
    change = SettingChanged(key=LR, old=2e-4, new=4e-4, by="ana", step=2048, update=2, time=1.7e9, elapsed=12)
    async with desk(*recorded(3), change) as it:
        await it.press("A")
        assert "optim.learning_rate" in it.picture
        for words in ("0.0002 → 0.0004", "by ana on 2023-11-1", "step 2,048"):
            assert words in it.said("#details")
        await it.press("u")
        assert it.session.sent == [SetValue(key=LR, value=2e-4, cause=Cause.UNDO)]
        undone = SettingChanged(key=LR, old=4e-4, new=2e-4, by="user", step=3072, update=3, cause=Cause.UNDO)
        await it.say(undone)
        assert "user (undo)" in it.picture
        await it.press("ctrl+r")
        assert it.session.sent[-1] == SetValue(key=LR, value=4e-4, cause=Cause.REDO)
        await it.press("slash", *"ana")
        assert "Changes · 1 of 3" in it.picture


# ── Pages that are opened again ─────────────────────────────────────────────────────────────────────────────


async def test_a_page_is_mounted_once_and_shows_what_has_come_while_it_was_away():
    async with desk(*recorded(3)) as it:
        await it.press("A")
        page = it.app.screen
        assert "Changes · 1" in it.picture
        before = it.said("#details")
        await it.press("A")
        await it.say(SettingChanged(key=LR, old=2e-4, new=4e-4, by="ana", step=2048, update=2, time=1.7e9))
        await it.press("A")
        assert it.app.screen is page
        assert "2e-4 → 4e-4" in it.picture
        assert it.said("#details") == before, "the cursor stays with its change"
        await it.press("home")
        assert "0.0002 → 0.0004" in it.said("#details")


async def test_a_page_has_the_size_and_the_theme_that_were_chosen_while_it_was_away():
    async with desk() as it:
        await it.press("question_mark")
        before = it.app.screen.query_one(".dialog").styles.background
        await it.press("escape")
        it.app.theme = "ppo-light"
        await it.pilot.resize_terminal(90, 30)
        await it.press("question_mark")
        assert it.app.screen.size == (90, 30)
        assert it.app.screen.query_one(".dialog").styles.background != before


async def test_the_help_begins_at_its_top_each_time():
    async with desk(size=(80, 24)) as it:
        await it.press("question_mark", "end")
        assert it.app.screen.query_one("VerticalScroll").scroll_y > 0
        await it.press("escape", "question_mark")
        assert it.app.screen.query_one("VerticalScroll").scroll_y == 0


def is_up_to_date(chart: Chart) -> bool:
    fingerprint = chart.fingerprint()
    return chart._shown[-len(fingerprint) :] == fingerprint


async def test_charts_on_the_main_screen_go_on_after_one_had_a_screen_of_its_own():
    later = iter([event for event in recorded(20) if isinstance(event, UpdateFinished)][3:])
    async with desk(*recorded(3)) as it:
        for _ in range(2):
            await it.press("m")
            zoomed, below = it.app.screen.chart, it.app.main.charts.chosen
            await it.say(next(later))
            await it.pass_time(1.0)
            assert is_up_to_date(zoomed)
            assert not is_up_to_date(below), "nobody sees it: nothing is painted"
            await it.press("m")
            assert is_up_to_date(below)


# ── Checkpoints ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_checkpoints_are_listed_with_their_scores_and_one_can_be_gone_back_to():
    events = []
    for number, score in enumerate((10.0, 30.0, 20.0), start=1):
        step = 1024 * number
        events += [UpdateFinished(update=number, step=step, metrics={"rollout/ep_rew_mean": score}), saved(step)]
    async with desk(*recorded(1), *events) as it:
        await it.press("C", "c")
        assert it.session.sent == [SaveCheckpoint()]
        best = next(line for line in it.picture.splitlines() if "★" in line)
        assert "2,048" in best
        assert "30.0" in best
        await it.press("down", "enter")
        assert isinstance(it.app.screen, ConfirmDialog)
        await it.press("enter")  # staying is what enter means at first
        assert len(it.session.sent) == 1
        await it.press("enter", "y")
        assert it.session.sent[-1] == Rewind(path="step-2048")
        assert "going back…" in it.text(Header)
        await it.say(Rewound(path="step-2048", step=2048, update=2))
        assert it.app.controller.view.step == 2048
        assert "going back" not in it.text(Header)


async def test_the_best_checkpoint_is_the_best_evaluated_where_there_are_evaluations():
    events = []
    for number, (score, evaluated) in enumerate(((10.0, 400.0), (30.0, 500.0), (90.0, None)), start=1):
        step = 1024 * number
        events += [UpdateFinished(update=number, step=step, metrics={"rollout/ep_rew_mean": score}), saved(step)]
        if evaluated:
            metrics = {"eval/ep_rew_mean": evaluated}
            path = saved(step).path
            events.append(Evaluated(path=path, step=step, update=number, metrics=metrics, best=True, seconds=1.0))
    async with desk(*recorded(1), *events) as it:
        await it.press("C")
        best = next(line for line in it.picture.splitlines() if "★" in line)
        assert "30.0" in best
        assert "500" in best


async def test_a_checkpoint_that_made_room_for_newer_ones_says_so(tmp_path):
    events = [*recorded(1), saved(1024, path=str(tmp_path / "old")), saved(2048, path=str(tmp_path))]
    async with desk(*events, size=(60, 16)) as it:
        await it.press("C")
        rows = [line for line in it.picture.splitlines() if "1,024" in line or "2,048" in line]
        assert [("gone" in line, "manual" in line) for line in rows] == [(False, True), (True, False)]
        await it.press("down", "enter")
        assert isinstance(it.app.screen, CheckpointScreen), "there is nothing to go back to"
        assert not it.session.sent


# ── Runs ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_no_runs_is_no_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    async with desk() as it:
        await it.press("r")
        await it.app.workers.wait_for_complete()
        await it.pilot.pause()
        assert "no runs in ./runs" in it.picture


async def test_a_screens_own_key_leaves_it_and_another_ones_key_takes_its_place():
    async with desk() as it:
        await it.press("e", "A")
        assert len(it.app.screen_stack) == 2
        await it.press("A")
        assert it.app.screen is it.app.main


# ── Lists whose items come and go ───────────────────────────────────────────────────────────────────────────


def chosen_metric(it) -> str:
    """The metric under the cursor."""
    return next(line.split()[1] for line in it.text(MetricsTable).splitlines() if line.startswith("▸"))


async def test_the_cursor_of_a_list_stays_with_its_item():
    """Checkpoints, events, metrics and the picker of metrics: newer ones move nothing that somebody looks at."""
    async with desk(*recorded(3), *map(saved, (1024, 8192, 9216)), size=(120, 40)) as it:
        await it.press("C", "down")
        assert "step-8192" in it.said("#details")
        await it.say(saved(17_408), saved(19_456))
        assert "step-8192" in it.said("#details")
        await it.press("enter")
        assert "Go back to step 8,192?" in it.picture
        await it.press("escape", "escape", "4")
        for number in range(30):
            it.session.put(Alarm(level=Level.INFO, message=f"news {number:02}"))
        await it.say()
        await it.press("up", "up")
        assert it.text(Events).splitlines()[-1].strip().endswith("news 27")
        await it.say(Alarm(level=Level.INFO, message="more news"), Alarm(level=Level.INFO, message="still more"))
        assert it.text(Events).splitlines()[-1].strip().endswith("news 27")
        await it.press("end")
        assert it.text(Events).splitlines()[-1].strip().endswith("still more")
        await it.pilot.resize_terminal(120, 20)
        await it.press("5", "down", "down")
        chosen = chosen_metric(it)
        line = {"aaa/first": 1.0, "rollout/ep_rew_mean": 3.0}
        await it.say(UpdateFinished(update=40, step=40_960, metrics=line))
        assert chosen_metric(it) == chosen
        await it.press("1", "a", *"train", "down", "down")
        chosen = it.app.screen.query_one("OptionList")
        before = chosen.get_option_at_index(chosen.highlighted).id
        await it.press("backspace")
        assert chosen.get_option_at_index(chosen.highlighted).id == before
