"""Row 33: the directory of a living run loses its lock, is moved, copied and removed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ppo_tui.runs import RunDirectory, list_runs
from ppo_tui.training.checkpoint.files import list_checkpoints, newest_checkpoint
from tests.conftest import ROOT
from tests.waiting import wait_until

pytestmark = pytest.mark.faults

ENDLESS = ("--preset", "cartpole", "--headless", "--quiet", "--total-steps", "100_000_000", "--workers", "1")


@pytest.fixture
def living(tmp_path: Path) -> Iterator[subprocess.Popen]:
    """A run after its first checkpoint, in ./runs/run; it prints into ./said."""
    with (tmp_path / "said").open("w") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "ppo_tui", *ENDLESS, "--name", "run", "--set", "run.checkpoint_seconds=1"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=said,
            stderr=said,
        )
    wait_until((tmp_path / "runs" / "run" / "checkpoints" / "latest").exists)
    yield process
    process.kill()
    process.wait()


def says(path: Path, words: str) -> Callable[[], bool]:
    return lambda: words in path.read_text()


def test_no_second_process_trains_in_a_directory_without_its_lock_file(living, ppo_tui, tmp_path):
    path = tmp_path / "runs" / "run"
    (path / "run.lock").unlink()
    for command in (("resume", "run"), (*ENDLESS, "--name", "run", "--resume", "auto")):
        refused = ppo_tui(*command)
        assert refused.returncode == 2
        assert f"in use by pid {living.pid}" in refused.stderr
    assert RunDirectory(path).holder == living.pid
    assert list_runs(path.parent)[0].state == "running"


def test_a_run_goes_on_in_a_directory_that_is_moved(living, ppo_tui, tmp_path):
    (tmp_path / "runs" / "run").rename(tmp_path / "runs" / "moved")
    moved = tmp_path / "runs" / "moved"
    wait_until(says(moved / "run.log", f"was moved from {tmp_path / 'runs' / 'run'} to {moved}"))
    before = list_checkpoints(moved / "checkpoints")[0][0][1].step
    wait_until(lambda: list_checkpoints(moved / "checkpoints")[0][0][1].step > before)
    assert "saved" in ppo_tui("ctl", "moved", "save").stdout
    assert ppo_tui("resume", "moved").returncode == 2
    living.send_signal(signal.SIGTERM)
    assert living.wait(60) == 143
    assert os.listdir(tmp_path / "runs") == ["moved"]
    facts = json.loads((moved / "run.json").read_text())
    assert (facts["status"], facts["step"]) == ("stopped", newest_checkpoint(moved / "checkpoints")[0].state.step)
    done = ppo_tui("resume", "moved", "--headless", "--total-steps", str(facts["step"] + 256))
    assert done.returncode == 0, done.stderr
    assert f"resumed at step {facts['step']:,}" in done.stdout


def test_a_removed_directory_is_not_made_anew(living, tmp_path):
    shutil.rmtree(tmp_path / "runs" / "run")
    wait_until(says(tmp_path / "said", "was removed: nothing more is recorded or saved"))
    wait_until(says(tmp_path / "said", "next try in"))
    assert living.poll() is None, "it trains on"
    living.send_signal(signal.SIGTERM)
    assert living.wait(60) == 143
    assert os.listdir(tmp_path / "runs") == []
