"""Resuming sets aside exactly what came after the checkpoint, and loses nothing."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from ppo_tui.protocol import Alarm, CheckpointSaved, Evaluated, Level, RunFinished, RunState, UpdateFinished, encode
from ppo_tui.runs import RunDirectory
from ppo_tui.runs.history import past_events, set_aside_after


def record(directory, updates: int, *, cut: bytes = b"") -> RunDirectory:
    """A run of so many updates, one a second, with a checkpoint after each, and a line cut short."""
    run = RunDirectory(directory)
    events, metrics = b"", b""
    for update in range(1, updates + 1):
        line = {"time/time_elapsed": update - 0.01, "time/iterations": update}
        events += encode(UpdateFinished(update=update, step=update, metrics=line, elapsed=update)) + b"\n"
        saved = CheckpointSaved(
            path="p", step=update, update=update, reason="periodic", seconds=0, elapsed=update + 0.1
        )
        events += encode(saved) + b"\n"
        metrics += json.dumps(line).encode() + b"\n"
    run.events.write_bytes(events + cut)
    run.metrics.write_bytes(metrics + cut)
    return run


def test_updates_after_the_checkpoint_are_moved_and_what_belongs_to_it_stays(tmp_path):
    run = record(tmp_path, 5)
    everything = run.events.read_bytes()
    assert set_aside_after(run, 3.0) == 2
    kept = list(past_events(run))
    assert [event.update for event in kept] == [1, 1, 2, 2, 3, 3], "with the word that the checkpoint was saved"
    assert len(run.metrics.read_text().splitlines()) == 3
    assert len((tmp_path / "metrics.abandoned.jsonl").read_text().splitlines()) == 2
    assert run.events.read_bytes() + (tmp_path / "events.abandoned.jsonl").read_bytes() == everything
    assert set_aside_after(run, 3.0) == 0
    assert set_aside_after(run, 1.0) == 2
    assert len((tmp_path / "metrics.abandoned.jsonl").read_text().splitlines()) == 4


def test_evaluations_are_set_aside_with_the_updates_before_them_and_count_for_none(tmp_path):
    run = record(tmp_path, 2)
    with run.metrics.open("ab") as file:
        file.write(b'{"eval/total_timesteps": 2, "eval/ep_rew_mean": 1.0}\n')
    assert set_aside_after(run, 2.0) == 0
    assert len(run.metrics.read_text().splitlines()) == 3
    assert set_aside_after(run, 1.0) == 1
    assert len(run.metrics.read_text().splitlines()) == 1


def test_an_evaluation_that_is_made_up_for_is_set_aside_and_earlier_ones_stay(tmp_path):
    run = record(tmp_path, 3)
    with run.metrics.open("ab") as metrics, run.events.open("ab") as events:
        for step in (1, 3):
            metrics.write(b'{"eval/total_timesteps": %d, "eval/ep_rew_mean": 1.0}\n' % step)
            scored = Evaluated(path="p", step=step, update=step, metrics={}, best=False, seconds=1.0, elapsed=3.2)
            events.write(encode(scored) + b"\n")
    assert set_aside_after(run, 3.2, evaluating=3) == 0
    assert [event.step for event in past_events(run) if isinstance(event, Evaluated)] == [1]
    assert run.metrics.read_text().count("eval/") == 2
    assert "eval/" in (tmp_path / "metrics.abandoned.jsonl").read_text()


def test_a_clean_stop_leaves_the_record_as_it_is(tmp_path):
    run = record(tmp_path, 3)
    end = RunFinished(state=RunState.STOPPED, exit_code=143, reason="", step=3, update=3, elapsed=3.5)
    with run.events.open("ab") as file:
        file.write(encode(end) + b"\n")
    before = run.events.read_bytes()
    assert set_aside_after(run, 3.2) == 0
    assert run.events.read_bytes() == before
    assert not (tmp_path / "events.abandoned.jsonl").exists()
    assert not [event for event in past_events(run) if isinstance(event, RunFinished)]


def test_a_run_that_never_got_to_write_has_nothing_to_set_aside(tmp_path):
    assert set_aside_after(RunDirectory(tmp_path), 0.0) == 0
    assert list(past_events(RunDirectory(tmp_path))) == []


@given(cut=st.binary(min_size=1, max_size=40).filter(lambda cut: b"\n" not in cut), junk=st.binary(max_size=40))
def test_lines_that_are_cut_short_or_damaged_do_no_harm(tmp_path_factory, cut: bytes, junk: bytes):
    run = record(tmp_path_factory.mktemp("run"), 2, cut=junk + b"\n" + cut)
    set_aside_after(run, 2.0)
    assert not run.events.read_bytes().endswith(cut)
    with run.events.open("ab") as file:
        file.write(encode(Alarm(level=Level.INFO, message="on a line of its own")) + b"\n")
    assert [event for event in past_events(run) if isinstance(event, Alarm)]
