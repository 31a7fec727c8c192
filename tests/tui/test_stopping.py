"""The distance to the stop rules: in words, in the view, in the head."""

from __future__ import annotations

import io

import msgspec
import pytest
from rich.console import Console

from ppo_tui.config import build_config
from ppo_tui.protocol import (
    Rewound,
    RunFinished,
    RunStarted,
    RunState,
    SettingChanged,
    StopDistance,
    UpdateFinished,
    decode_event,
    encode,
)
from ppo_tui.sinks import describe
from ppo_tui.sinks.console import console_sink
from ppo_tui.sinks.wording import describe_distance
from ppo_tui.tui.editor import Editor
from ppo_tui.tui.topics import Topic, of_header, value_of
from ppo_tui.tui.view import RunView
from ppo_tui.tui.widgets.header import Header
from tests.tui.desk import desk
from tests.tui.fake import BATCH, recorded, started

FAR = StopDistance(metric="rollout/ep_rew_mean", value=413.8, goal=475.0, checks=3)


def with_distance(events, distance: StopDistance):
    for event in events:
        yield msgspec.structs.replace(event, stop=distance) if isinstance(event, UpdateFinished) else event


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "475: 61.2 to go"),
        ({"value": None}, "475: – to go"),
        ({"value": 480.0, "held": 2}, "475 held 2/3"),
        ({"value": None, "episodes": 34, "enough": 100}, "475: 34/100 episodes"),
        ({"metric": "eval/ep_rew_mean"}, "eval 475: 61.2 to go"),
        ({"metric": "env/x", "better": "lower", "value": 500.0}, "env/x 475: 25.0 to go"),
        ({"plateau": 120_000, "seconds": 4800.0}, "475: 61.2 to go · plateau in 120K steps · 1h 20m left"),
        ({"goal": None}, ""),
    ],
)
def test_the_distance_in_words(changes, words):
    distance = msgspec.structs.replace(FAR, **changes)
    assert describe_distance(distance) == words
    event = UpdateFinished(update=1, step=256, metrics={}, stop=distance)
    assert decode_event(encode(event)) == event
    text = describe(event)
    assert text is not None
    assert text.endswith(words)


def test_lines_of_a_headless_run_end_with_the_distance_and_the_last_one_names_the_rule():
    printed = io.StringIO()
    sink = console_sink(Console(file=printed, width=300))
    events = [event for event in recorded(2) if isinstance(event, RunStarted | UpdateFinished)]
    for event in with_distance(events, FAR):
        sink.emit(event)
    reason = "stopped by rule: return 475 held for 3 checks (482.00 over 100 episodes)"
    sink.emit(RunFinished(state=RunState.FINISHED, exit_code=0, reason=reason, step=2048, update=2, by="rule"))
    lines = printed.getvalue().splitlines()
    assert any(line.endswith("475: 61.2 to go") for line in lines)
    assert lines[-1].endswith(f": {reason}")


@pytest.mark.parametrize("width", [80, 140])
def test_the_bar_has_the_distance_on_any_terminal(width):
    printed = io.StringIO()
    sink = console_sink(Console(file=printed, width=width, force_terminal=True))
    for event in with_distance([event for event in recorded(2) if not isinstance(event, RunFinished)], FAR):
        sink.emit(event)
    sink.close()
    assert "475: 61.2 to go" in printed.getvalue()


def test_the_view_follows_the_distance_and_the_time_left_ends_with_the_limit():
    view = RunView()
    view.apply(started())
    for number in range(1, 4):
        distance = msgspec.structs.replace(FAR, held=number)
        view.apply(UpdateFinished(update=number, step=number * BATCH, metrics={}, elapsed=2.0 * number, stop=distance))
    assert view.stop is not None
    assert view.stop.held == 3
    steps_left = view.eta
    assert steps_left is not None
    view.apply(SettingChanged(key="stop.after", old=None, new=10.0, by="user", step=3 * BATCH, update=3, elapsed=6.0))
    assert view.eta == 4.0 < steps_left
    view.apply(Rewound(path="p", step=BATCH, update=1))
    assert view.stop is None


def test_a_single_key_changes_no_stop_rule():
    """Off one step up would be the lowest goal, which every run has reached."""
    view = RunView()
    view.apply(started())
    editor = Editor(view)
    editor.choose("stop.at")
    assert editor.selected == "stop.at"
    assert editor.nudge(1) is None
    editor.draft_typed("475")
    assert editor.apply_drafts()[0].value == 475.0
    assert build_config({"env": {"id": "CartPole-v1"}}).stop.at is None


async def test_the_head_shows_the_distance_instead_of_the_next_milestone():
    async with desk(*with_distance(recorded(30), FAR), size=(80, 24)) as it:
        first = it.text(Header).splitlines()[0]
        assert first.endswith("475: 61.2 to go")
        assert of_header(first, 0, len(first) - 2) == Topic("header/stop")
        assert of_header(first, 0, 3) == Topic("header/state")
        assert value_of(Topic("header/stop"), it.app.controller) == "475: 61.2 to go"
