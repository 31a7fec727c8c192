"""`ppo-tui resume`, on real processes, stopped and killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ppo_tui.protocol import RunFinished, RunResumed, RunStarted, UpdateFinished, decode_event
from ppo_tui.training.checkpoint.files import newest_checkpoint
from ppo_tui.training.checkpoint.snapshot import read_checkpoint
from tests.conftest import ROOT

STEPS = "4096"
QUICK = ["--set", "ppo.epochs=2", "--set", "run.checkpoint_seconds=0.2"]


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def numbers(run: Path) -> list[dict]:
    """The metrics of each update, without times."""
    return [
        {key: value for key, value in line.items() if not key.startswith("time/") or key == "time/total_timesteps"}
        for line in lines(run / "metrics.jsonl")
    ]


def interrupted(tmp_path: Path, number: signal.Signals, *, after_updates: int, name: str = "run") -> Path:
    """Send a signal to a run and its workers after some updates."""
    command = [sys.executable, "-m", "ppo_tui", "--preset", "cartpole", "--headless", "--name", name, *QUICK]
    process = subprocess.Popen(
        [*command, "--total-steps", STEPS],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    metrics = tmp_path / "runs" / name / "metrics.jsonl"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if metrics.exists() and metrics.read_bytes().count(b"\n") >= after_updates:
            break
        time.sleep(0.01)
    os.killpg(process.pid, number)
    assert process.wait(60) in (-number, 128 + number)
    return metrics.parent


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A run without interruption."""
    command = [sys.executable, "-m", "ppo_tui", "--preset", "cartpole", "--name", "whole", "--total-steps", STEPS]
    directory = tmp_path_factory.mktemp("finished")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([*command, *QUICK], cwd=directory, env=environment, stdout=subprocess.DEVNULL, check=True)
    return directory / "runs" / "whole"


@pytest.fixture
def whole(finished: Path, tmp_path) -> Path:
    """A copy of the finished run, for this test."""
    return shutil.copytree(finished, tmp_path / "runs" / "whole", symlinks=True)


def test_a_run_goes_on_after_sigterm_and_after_sigkill_with_the_numbers_of_one_that_was_left_alone(
    ppo_tui, tmp_path, whole
):
    for number in (signal.SIGTERM, signal.SIGKILL):
        run = interrupted(tmp_path, number, after_updates=6, name=number.name)
        done_before = len(lines(run / "metrics.jsonl"))
        done = ppo_tui("resume", number.name)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "bit for bit as if it had never stopped" in done.stdout
        assert numbers(run) == numbers(whole)
        weights, expected = (
            read_checkpoint(newest_checkpoint(directory / "checkpoints")[0]).policy for directory in (run, whole)
        )
        assert all(weights[name].equal(tensor) for name, tensor in expected.items())
        check_record(run, done_before, lost=number is signal.SIGKILL)


def check_record(run: Path, done_before: int, *, lost: bool) -> None:
    """Check for one run from start to end, repeated updates set aside."""
    events = [decode_event(line) for line in (run / "events.jsonl").read_bytes().splitlines()]
    updates = [event.update for event in events if isinstance(event, UpdateFinished)]
    assert updates == list(range(1, 17))
    (resumed,) = [event for event in events if isinstance(event, RunResumed)]
    assert resumed.exact
    assert len([event for event in events if isinstance(event, RunStarted)]) == 2
    assert isinstance(events[-1], RunFinished)
    aside = run / "metrics.abandoned.jsonl"
    abandoned = len(lines(aside)) if aside.exists() else 0
    assert abandoned == done_before - resumed.update
    if not lost:
        assert abandoned == 0
    facts = json.loads((run / "run.json").read_text())
    assert (facts["status"], facts["exit_code"]) == ("finished", 0)


def test_what_was_damaged_is_passed_over_aloud_and_nothing_starts_from_scratch(ppo_tui, whole):
    checkpoints = whole / "checkpoints"
    newest = newest_checkpoint(checkpoints)[0].path
    (newest / "policy.safetensors").write_bytes(b"")
    older = read_checkpoint(newest_checkpoint(checkpoints)[0]).state
    done = ppo_tui("resume", "latest")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"skipped: {newest}: policy.safetensors is missing or damaged" in done.stdout
    assert f"resumed at step {older.step:,}" in done.stdout
    assert len(lines(whole / "metrics.jsonl")) == 16
    for path in checkpoints.glob("step-*/state.json"):
        path.unlink()
    done = ppo_tui("resume", str(whole), "--total-steps", "9000")
    assert done.returncode == 3
    assert "holds no whole checkpoint" in done.stderr
    assert len(lines(whole / "metrics.jsonl")) == 16


def test_what_cannot_be_resumed_is_refused_in_words(ppo_tui, whole):
    for arguments, message in (
        (["whole"], "has done 4,096 steps of 4,096"),
        (["whoel"], "did you mean 'whole'?"),
        (["whole", "--set", "env.id=Acrobot-v1"], "env.id = 'Acrobot-v1': a resumed run keeps its 'CartPole-v1'"),
    ):
        done = ppo_tui("resume", *arguments)
        assert done.returncode == 2, arguments
        assert message in done.stderr
        assert "Traceback" not in done.stderr


def test_a_changed_config_file_is_refused_unless_forced_and_a_set_is_kept(ppo_tui, whole):
    config = whole / "config.toml"
    config.write_text(config.read_text().replace("epochs = 2", "epochs = 3"))
    done = ppo_tui("resume", "whole", "--total-steps", "4352")
    assert done.returncode == 2
    assert "config.toml was edited since the checkpoint: ppo.epochs = 2 → 3" in done.stderr
    done = ppo_tui("resume", "whole", "--total-steps", "4352", "--force", "--set", "optim.learning_rate=5e-5")
    assert done.returncode == 0, done.stdout + done.stderr
    assert lines(whole / "metrics.jsonl")[-1]["train/n_updates"] == 16 * 2 + 3
    text = config.read_text()
    assert "learning_rate = 5e-5" in text or "learning_rate = 5e-05" in text
    assert "total_steps = 4352" in text
    done = ppo_tui("resume", "whole", "--total-steps", "4608")
    assert done.returncode == 0, done.stdout + done.stderr
    assert lines(whole / "metrics.jsonl")[-1]["train/n_updates"] == 16 * 2 + 3 + 3


def test_an_environment_that_names_a_module_needs_a_word_before_it_is_imported(ppo_tui, whole):
    config = whole / "config.toml"
    config.write_text(config.read_text().replace('"CartPole-v1"', '"antigravity:CartPole-v1"'))
    done = ppo_tui("resume", "whole", "--total-steps", "9000", "--force")
    assert done.returncode == 2
    assert "importing the module 'antigravity' would run code" in done.stderr


@pytest.mark.slow
def test_going_back_is_said_and_asked_before_it_happens(ppo_tui, tmp_path, whole):
    checkpoints = sorted(path.name for path in (whole / "checkpoints").glob("step-*"))
    earlier = int(checkpoints[0].removeprefix("step-"))
    done = ppo_tui("resume", "whole", "--checkpoint", "1")
    assert done.returncode == 2
    assert f"checkpoint '1': whole has no such checkpoint\n  the nearest steps are {earlier:,}" in done.stderr
    question = f"Go back to checkpoint {earlier} of whole? The {4096 - earlier:,} steps after step {earlier:,}"
    refused = subprocess.run(
        ["script", "-qec", f"{sys.executable} -m ppo_tui resume whole --headless --checkpoint {earlier}", "/dev/null"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"},
        input="n\n",
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert question in refused.stdout
    assert "nothing is changed" in refused.stdout
    assert len(lines(whole / "metrics.jsonl")) == 16
    done = ppo_tui("resume", "whole", "--checkpoint", str(earlier))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"whole goes back: the {4096 - earlier:,} steps after step {earlier:,} leave the run" in done.stderr
    assert f"back at step {earlier:,}" in done.stdout
    assert numbers(whole)[16:] == numbers(whole)[earlier // 256 : 16]
