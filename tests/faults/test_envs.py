"""Rows 3, 4 and 23: environments that raise, give values that are none, or cannot be there."""

from __future__ import annotations

import re

import pytest

from ppo_tui.protocol import Alarm, RunState, UpdateFinished
from tests.faults.conftest import UPDATES, faulty, train
from tests.training.checkpoint.test_resume import same_state


def test_an_environment_that_raises_now_and_then_begins_a_new_episode_and_the_run_repeats_itself():
    config = faulty(what="raise", chance=0.02)
    one, result, recorder = train(config)
    assert result.state is RunState.FINISHED, result.reason
    assert len(recorder.of(UpdateFinished)) == UPDATES
    alarms = recorder.of(Alarm)
    assert alarms
    assert re.fullmatch(
        r"environment \d \(worker \d, seed \d+\) failed in step \d+ of its episode: ValueError: the pole broke; "
        r"it begins a new episode \([1-4]/5\)",
        alarms[0].message,
    )
    assert "_misbehave" in alarms[0].details, "the environment's own traceback"
    again, _, repeated = train(config)
    assert repeated.metrics == recorder.metrics
    same_state(one, again)


def test_an_environment_that_raises_always_ends_the_run_after_five_times(tmp_path):
    _, result, recorder = train(faulty(what="raise", chance=1.0), checkpoint_dir=tmp_path)
    assert (result.state, result.exit_code) == (RunState.FAILED, 3)
    assert "the pole broke; that was the 5th time in a row" in result.reason
    assert "_misbehave" in recorder.events[-1].details
    assert (tmp_path / "latest").exists()


@pytest.mark.parametrize(("what", "told"), [("leave", "SystemExit: no licence"), ("interrupt", "KeyboardInterrupt")])
def test_an_environment_that_leaves_or_interrupts_itself_loses_its_own_episode_alone(what: str, told: str):
    _, result, recorder = train(faulty(what=what, at=45))
    assert result.state is RunState.FINISHED, result.reason
    messages = [alarm.message for alarm in recorder.of(Alarm)]
    assert len(messages) == 4, "each environment once, and no worker"
    assert all(re.search(rf"^environment \d .* failed in step \d+ of its episode: {told}; ", text) for text in messages)


@pytest.mark.parametrize("what", ["child leaves", "child raises"])
def test_a_child_that_an_environment_forks_ends_without_a_trace(what: str):
    _, result, recorder = train(faulty(what=what, at=45))
    assert (result.state, recorder.of(Alarm)) == (RunState.FINISHED, [])
    _, _, childless = train(faulty())
    assert recorder.metrics == childless.metrics


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("nan reward", "the reward is nan"),
        ("inf observation", r"observation\[1\] is inf"),
        ("wrong shape", r"observation has the shape \(1,\) instead of \(4,\)"),
    ],
)
def test_a_bad_value_drops_its_episode_or_stops_the_run_and_is_never_learnt_from(what: str, words: str):
    trainer, result, recorder = train(faulty(what=what, at=45))
    assert result.state is RunState.FINISHED, result.reason
    messages = [alarm.message for alarm in recorder.of(Alarm)]
    assert len(messages) == 4, "each environment once"
    assert re.search(rf"failed in step \d+ of its episode: BadValueError: {words}", messages[0])
    assert all(metrics["train/nonfinite"] == 0 for metrics in recorder.metrics)
    assert trainer.engine.rollouts.buffer.frames.isfinite().all()
    _, result, _ = train(faulty("env.on_bad_value=stop", what=what, at=45))
    assert (result.state, result.exit_code) == (RunState.FAILED, 3)
    assert re.search(rf"in environment \d: BadValueError: {words} at step \d+ of its episode", result.reason)


def test_a_bogus_rom_is_refused_before_anything_starts(ppo_tui, tmp_path):
    """The emulator would end the process without a word (C's ``exit(1)``)."""
    roms = tmp_path / "roms"
    roms.mkdir()
    (roms / "breakout.bin").write_bytes(b"no ROM" * 300)
    for word in ("hash of breakout.bin does not match", "No such file"):
        done = ppo_tui("--preset", "breakout", "--headless", "--run-dir", "mine", ALE_ROMS_DIR=str(roms))
        assert done.returncode == 2, done.stdout + done.stderr
        assert word in done.stderr
        assert "Traceback" not in done.stderr
        assert not (tmp_path / "mine").exists()
        (roms / "breakout.bin").unlink(missing_ok=True)
