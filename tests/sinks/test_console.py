"""The output of a headless run, and its record."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from ppo_tui.config import load_preset
from ppo_tui.errors import UsageError
from ppo_tui.protocol import (
    Alarm,
    EpisodeFinished,
    Level,
    RolloutProgress,
    RunFinished,
    RunStarted,
    RunState,
    SettingChanged,
    UpdateFinished,
    decode_event,
)
from ppo_tui.runs import RunDirectory
from ppo_tui.sinks import EventLog
from ppo_tui.sinks.console import PlainConsole, ProgressConsole, console_sink

STARTED = RunStarted(
    run="pole", config={"env": {"id": "CartPole-v1"}}, seed=1, total_steps=1000, num_envs=8, num_workers=2,
    rollout_steps=32, env_slices=((0, 4), (4, 8)), device="cpu", parameters=9155, versions={},
)  # fmt: skip
FINISHED = RunFinished(
    state=RunState.FINISHED, exit_code=0, reason="1,000 steps done", step=1000, update=4, elapsed=2.5
)


def update(number: int, **metrics) -> UpdateFinished:
    metrics = {"time/fps_update": 1234.0, "rollout/ep_rew_mean": 21.5, **metrics}
    return UpdateFinished(update=number, step=number * 256, metrics=metrics)


def test_plain_lines_are_limited_in_rate_but_the_last_update_always_comes():
    stream = io.StringIO()
    sink = console_sink(Console(file=stream, width=40))
    assert isinstance(sink, PlainConsole)
    for event in (STARTED, update(1), update(2), update(3), FINISHED):
        sink.emit(event)
    first, second, third, last = stream.getvalue().splitlines()
    assert "run pole: CartPole-v1, 1,000 steps" in first
    assert "step         256" in second
    assert "return 21.50" in second
    assert "step         768" in third
    assert "finished at step 1,000 after 2.5s: 1,000 steps done" in last


def test_names_and_messages_are_never_read_as_markup():
    stream = io.StringIO()
    sink = console_sink(Console(file=stream, width=200))
    sink.emit(Alarm(level=Level.WARNING, message="[red]worker[/red] [bold"))
    assert "WARNING: [red]worker[/red] [bold" in stream.getvalue()


def test_a_terminal_gets_a_bar_with_score_speed_and_time_left():
    stream = io.StringIO()
    sink = console_sink(Console(file=stream, force_terminal=True, width=120, color_system=None))
    assert isinstance(sink, ProgressConsole)
    sink.emit(STARTED)
    sink.emit(RolloutProgress(step=500, update=2, t=10, length=32, fps=4321.0))
    sink.emit(update(2))
    sink.emit(SettingChanged(key="ppo.clip_range", old=0.1, new=0.2, by="user", step=512, update=2))
    sink.emit(FINISHED)
    shown = stream.getvalue()
    for word in ("512/1000", "return 21.5", "4,321 steps/s", "ppo.clip_range 0.1 → 0.2 (by user)", "finished at"):
        assert word in shown


@pytest.fixture
def run(tmp_path) -> RunDirectory:
    return RunDirectory.create(load_preset("cartpole"), label="cartpole", path=tmp_path / "run")


def test_the_record_holds_every_durable_event_and_valid_json_only(run):
    log = EventLog(run)
    episode = EpisodeFinished(env=0, episode_return=9.0, length=9, step=9)
    events = [STARTED, episode, update(1, **{"train/explained_variance": float("nan")}), FINISHED]
    log.emit(RolloutProgress(step=1, update=1, t=1, length=2, fps=0.0))
    for event in events:
        log.emit(event)
    log.emit(episode)  # too late
    log.close()
    written = [decode_event(line) for line in run.events.read_bytes().splitlines()]
    assert [type(event) for event in written] == [RunStarted, EpisodeFinished, UpdateFinished, RunFinished]
    metrics = json.loads(run.metrics.read_text(), parse_constant=pytest.fail)
    assert metrics["train/explained_variance"] is None
    facts = run.read()
    assert (facts["status"], facts["step"], facts["name"]) == ("finished", 1000, "run")


def test_events_are_on_the_disk_as_soon_as_they_are_emitted(run):
    log = EventLog(run)
    log.emit(STARTED)
    assert decode_event(run.events.read_bytes().rstrip()) == STARTED
    assert run.read()["status"] == "running"
    log.close()


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "-x", "x" * 101, "a b", "é"])
def test_names_that_are_no_directory_names_are_refused(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="--name"):
        RunDirectory.create(load_preset("cartpole"), label="x", name=name)
