"""Editing live settings: requests and their answers."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ppo_tui.config import load_preset, to_tables
from ppo_tui.config.live import LIVE_FIELDS
from ppo_tui.errors import ConfigError
from ppo_tui.protocol import CommandRefused, SettingChanged, SetValue, UpdateFinished
from ppo_tui.tui.editor import Editor
from ppo_tui.tui.view import RunView
from tests.tui.fake import started


@pytest.fixture
def view() -> RunView:
    view = RunView()
    view.apply(started())
    return view


@pytest.fixture
def editor(view: RunView) -> Editor:
    return Editor(view)


def choose(editor: Editor, key: str) -> None:
    while editor.selected != key:
        editor.select(1)


def test_settings_that_are_off_are_in_the_list_of_a_run():
    """A record leaves out what is off."""
    view = RunView()
    view.apply(msgspec.structs.replace(started(), config=to_tables(load_preset("cartpole"))))
    assert {"ppo.target_kl", "ppo.clip_range_upper"} <= set(Editor(view).keys)
    assert view.settings["ppo.clip_range_upper"] is None
    assert Editor(view).note("ppo.clip_range_upper") == ""
    view.apply(SettingChanged(key="ppo.clip_range_upper", old=None, new=0.3, by="user", step=1, update=1))
    assert Editor(view).note("ppo.clip_range_upper") == "annealed", "with clip_range"


def test_every_live_field_can_be_selected_and_the_cursor_comes_round(editor):
    seen = []
    for _ in LIVE_FIELDS:
        seen.append(editor.selected)
        editor.select(1)
    assert set(seen) == set(LIVE_FIELDS)
    assert editor.selected == seen[0] == "optim.learning_rate"


def test_nudges_add_up_before_the_engine_answers(editor):
    choose(editor, "ppo.clip_range")
    assert editor.nudge(1) == SetValue(key="ppo.clip_range", value=0.11)
    assert editor.nudge(1) == SetValue(key="ppo.clip_range", value=0.12)
    confirmed = SettingChanged(key="ppo.clip_range", old=0.1, new=0.11, by="user", step=1, update=1)
    editor.settle(confirmed)
    assert editor.pending["ppo.clip_range"].value == 0.12
    editor.settle(SettingChanged(key="ppo.clip_range", old=0.11, new=0.12, by="user", step=1, update=1))
    assert not editor.pending


def test_a_nudge_starts_from_the_annealed_value(view, editor):
    view.apply(UpdateFinished(update=1, step=1, metrics={"train/learning_rate": 1e-4}))
    assert editor.nudge(1) == SetValue(key="optim.learning_rate", value=1.25e-4)


def scheduled(view: RunView, **schedules: object) -> None:
    """Let the run begin with these schedules, and a first update be done."""
    begun = started()
    optim, ppo = dict(begun.config["optim"]), dict(begun.config["ppo"])
    for name, schedule in schedules.items():
        (optim if name in optim else ppo)[name] = schedule
    view.apply(msgspec.structs.replace(begun, config={**begun.config, "optim": optim, "ppo": ppo}))
    view.apply(UpdateFinished(update=1, step=1024, metrics={"train/entropy_coef": 0.005}))


def test_the_editor_says_where_a_scheduled_setting_goes(view, editor):
    table = {"kind": "cosine", "final": 0.001, "warmup_steps": 5000, "steps": 50_000}
    scheduled(view, learning_rate_schedule="kl-adaptive", entropy_coef_schedule=table)
    assert view.settings["ppo.entropy_coef"] == 0.005
    assert [editor.note(key) for key in ("optim.learning_rate", "ppo.entropy_coef", "ppo.clip_range", "ppo.gamma")] == [
        "adapted", "warming up", "", "",
    ]  # fmt: skip
    course = view.course("ppo.entropy_coef")
    assert course
    assert course.text == "warm-up until step 5,000, then cosine to 0.001 at step 50,000"
    edited = view.course("ppo.entropy_coef", after_edit=True)
    assert edited
    assert edited.text == "cosine to 0.001 at step 50,000"
    view.apply(SettingChanged(key="ppo.entropy_coef", old=0.005, new=0.01, by="user", step=2048, update=2))
    assert (editor.note("ppo.entropy_coef"), view.course("ppo.entropy_coef")) == ("annealed", edited)
    view.apply(UpdateFinished(update=50, step=51_200, metrics={"train/entropy_coef": 0.001}))
    assert editor.note("ppo.entropy_coef") == "", "it stays where it is"


def test_off_lies_below_the_lowest_value(editor):
    choose(editor, "ppo.target_kl")
    assert editor.nudge(-1) is None  # it is off already
    assert editor.nudge(1) == SetValue(key="ppo.target_kl", value=0.001)
    assert editor.nudge(-1) == SetValue(key="ppo.target_kl", value=None)


def test_a_refusal_takes_the_request_back(editor):
    choose(editor, "ppo.gamma")
    editor.nudge(1)
    editor.settle(CommandRefused(message="optim.learning_rate is fixed"))
    assert "ppo.gamma" in editor.pending
    editor.settle(CommandRefused(message="ppo.gamma = 0.991: not now"))
    assert not editor.pending


def test_a_request_that_two_updates_leave_unanswered_is_over(editor):
    choose(editor, "ppo.gamma")
    editor.nudge(1)
    editor.settle(UpdateFinished(update=1, step=1, metrics={}))
    assert editor.pending
    editor.settle(UpdateFinished(update=2, step=2, metrics={}))
    assert not editor.pending


@pytest.mark.parametrize(("text", "value"), [("0.02", 0.02), (" 3e-2 ", 0.03), ("off", None), ("None", None)])
def test_typed_values(editor, text, value):
    choose(editor, "ppo.target_kl")
    editor.ask("ppo.target_kl", 0.5)
    editor.draft_typed(text)
    assert editor.apply_drafts() == [SetValue(key="ppo.target_kl", value=value)]


@pytest.mark.parametrize("text", ["", "fast", "-1", "nan", "inf", "1e999", "off", "2,5"])
def test_what_is_no_value_is_refused_by_name_and_changes_nothing(editor, text):
    choose(editor, "optim.learning_rate")
    with pytest.raises(ConfigError, match=r"optim\.learning_rate"):
        editor.draft_typed(text)
    assert not editor.drafts


@given(key=st.sampled_from(sorted(LIVE_FIELDS)), directions=st.lists(st.sampled_from([1, -1]), max_size=60))
def test_nudging_never_leaves_the_range_of_a_field(key, directions):
    view = RunView()
    view.apply(started())
    editor = Editor(view)
    choose(editor, key)
    live = LIVE_FIELDS[key].live
    for direction in directions:
        editor.nudge(direction)
        value = editor.value(key)
        assert (value is None and live.optional) or live.low <= value <= live.high
