"""The list of runs in a real terminal, on real runs: watched, resumed, stopped and deleted from it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from ppo_tui.runs import RunDirectory
from tests.commands.test_train import Terminal, start, terminal  # noqa: F401 (a fixture)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("tmux") is None and "CI" not in os.environ, reason="needs tmux (apt-get install tmux); CI has it"
    ),
]


def test_a_run_is_watched_resumed_stopped_and_deleted_from_another_ones_screen(
    ppo_tui,
    terminal: Terminal,  # noqa: F811
    tmp_path: Path,
):
    done = ppo_tui("--preset", "cartpole", "--headless", "--quiet", "--total-steps", "512", "--name", "first")
    assert done.returncode == 0, done.stderr
    done = ppo_tui("--preset", "cartpole", "--headless", "--quiet", "--total-steps", "512", "--name", "shown")
    assert done.returncode == 0, done.stderr
    started = ppo_tui("--preset", "cartpole", "--detached", "--total-steps", "1000000000", "--name", "second")
    assert started.returncode == 0, started.stderr
    assert ppo_tui("ctl", "second", "stop").returncode == 0
    start(terminal, "replay shown")
    terminal.wait_for(r"shown .*replay", 120)
    terminal.press("End")
    terminal.wait_for(r"w watches it play", 120)
    terminal.press("w")
    terminal.wait_for(r"ppo-tui watch")
    terminal.wait_for(r"Game", 240)
    terminal.press("q")
    terminal.wait_for(r"w watches it play", 120)
    terminal.press("r")
    terminal.wait_for(r"▸ +second +■ stopped", 120)
    terminal.press("R")
    terminal.wait_for(r"resuming second in the background")
    terminal.wait_for(r"▸ +second +▸ running", 240)
    assert RunDirectory(tmp_path / "runs" / "second").holder
    terminal.press("D")
    terminal.wait_for(r"X stops it first")
    terminal.press("X")
    terminal.wait_for(r"Stop second\?")
    terminal.press("y")
    terminal.wait_for(r"▸ +second +■ stopped", 120)
    resumed = ppo_tui("resume", "second", "--detached", "--set", "ppo.epochs=3")
    assert "second continues in the background (pid" in resumed.stdout
    again = ppo_tui("resume", "second", "--detached")
    assert (again.returncode, "second is running already" in again.stderr) == (2, True)
    assert ppo_tui("ctl", "second", "stop").returncode == 0
    terminal.press("End", "D")
    terminal.wait_for(r"Delete first for good\?")
    terminal.press("y")
    terminal.wait_for(r"first is deleted")
    assert sorted(os.listdir(tmp_path / "runs")) == ["second", "shown"]
    terminal.press("q")
    terminal.wait_for(r"left with 0", 60)
    assert (tmp_path / "before").read_text() == (tmp_path / "after").read_text()
