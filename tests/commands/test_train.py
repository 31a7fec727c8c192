"""The screen in a real terminal with real keys, through tmux."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.conftest import PYTHONPATH
from tests.processes import workers_of
from tests.waiting import still_running

pytestmark = pytest.mark.skipif(
    shutil.which("tmux") is None and "CI" not in os.environ, reason="needs tmux (apt-get install tmux); CI has it"
)


class Terminal:
    """A shell in a tmux pane of its own server."""

    def __init__(self, directory: Path, width: int, height: int) -> None:
        self._socket = f"ppo-tui-test-{uuid.uuid4().hex[:8]}"
        size = ["-x", str(width), "-y", str(height)]
        shell = f"cd {directory} && PS1='$ ' PYTHONPATH={PYTHONPATH} exec bash --norc --noprofile"
        self._tmux("-f", "/dev/null", "new-session", "-d", *size, shell)

    def _tmux(self, *arguments: str) -> str:
        command = ["tmux", "-L", self._socket, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def type(self, text: str) -> None:
        self._tmux("send-keys", "-l", "--", text)

    def press(self, *keys: str) -> None:
        self._tmux("send-keys", "--", *keys)

    def resize(self, width: int, height: int) -> None:
        self._tmux("resize-window", "-x", str(width), "-y", str(height))

    @property
    def text(self) -> str:
        return self._tmux("capture-pane", "-p")

    def wait_for(self, pattern: str, seconds: float = 90) -> re.Match[str]:
        """Watch the screen until `pattern` shows."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if match := re.search(pattern, self.text):
                return match
            time.sleep(0.05)
        pytest.fail(f"{pattern!r} did not show within {seconds} s:\n{self.text}")

    def close(self) -> None:
        self._tmux("kill-server")


@pytest.fixture(params=[(80, 24), (120, 40)], ids=["80x24", "120x40"])
def terminal(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Terminal]:
    terminal = Terminal(tmp_path, *request.param)
    yield terminal
    terminal.close()
    for process in left_behind(tmp_path):  # a run outlives its terminal
        process.kill()


def start(terminal: Terminal, arguments: str) -> None:
    terminal.wait_for(r"\$")
    terminal.type(
        f"stty -g > before; {sys.executable} -m ppo_tui {arguments}; code=$?; stty -g > after; echo left with $code\n"
    )


def left_behind(tmp_path: Path) -> list[psutil.Process]:
    """Processes left in the run's directory after the program, without the shell."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(tmp_path) and process.name() != "bash":
                found.append(process)
        except psutil.Error:
            continue
    return still_running(found, seconds=3)


@pytest.mark.slow
def test_breakout_is_paused_adjusted_resized_and_left(terminal: Terminal, tmp_path: Path):
    start(terminal, "--preset breakout --name mine --set ppo.epochs=1")
    terminal.wait_for(r"TRAINING")
    terminal.wait_for(r"update\s+2")
    terminal.press("Space")
    terminal.wait_for(r"PAUSED")
    held = [terminal.wait_for(r"steps\s+([\d.,KM]+)")[1] for _ in range(2)]
    assert held[0] == held[1]
    terminal.press("Space")
    terminal.wait_for(r"TRAINING")
    terminal.press("-")
    terminal.wait_for(r"2e-4 annealed|learning rate 2e-4")
    terminal.resize(60, 20)
    terminal.wait_for(r"TRAINING")
    terminal.press("q")
    terminal.wait_for(r"Leave the run")
    terminal.press("s")
    terminal.wait_for(r"left with 0")
    assert (tmp_path / "before").read_text() == (tmp_path / "after").read_text()
    assert not left_behind(tmp_path)
    run = tmp_path / "runs" / "mine"
    assert json.loads((run / "run.json").read_text())["status"] == "stopped"
    changes = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines() if '"setting"' in line]
    assert [(change["key"], change["new"]) for change in changes] == [("optim.learning_rate", 2e-4)]
    assert (run / "checkpoints" / "latest" / "manifest.json").exists()


def test_a_finished_run_stays_on_the_screen_until_it_is_left(terminal: Terminal, tmp_path: Path):
    start(terminal, "--preset cartpole --total-steps 1024 --name short")
    terminal.wait_for(r"q leaves")
    terminal.press("q")
    terminal.wait_for(r"left with 0")
    assert (tmp_path / "before").read_text() == (tmp_path / "after").read_text()


def test_ctrl_c_twice_stops_at_once(terminal: Terminal, tmp_path: Path):
    start(terminal, "--preset cartpole --total-steps 10_000_000 --name long")
    terminal.wait_for(r"TRAINING")
    terminal.press("C-c")
    terminal.wait_for(r"Leave the run")
    terminal.press("C-c")
    terminal.wait_for(r"left with 130")
    assert not left_behind(tmp_path)
    assert (tmp_path / "before").read_text() == (tmp_path / "after").read_text()


def test_sigterm_saves_and_restores_the_terminal(terminal: Terminal, tmp_path: Path):
    start(terminal, "--preset cartpole --total-steps 10_000_000 --name long")
    terminal.wait_for(r"update\s+2")
    run = tmp_path / "runs" / "long"
    psutil.Process(json.loads((run / "run.json").read_text())["pid"]).terminate()
    terminal.wait_for(r"left with 143")
    assert (run / "checkpoints" / "latest" / "manifest.json").exists()
    assert not left_behind(tmp_path)
    assert (tmp_path / "before").read_text() == (tmp_path / "after").read_text()


def kill_a_worker(run: Path) -> None:
    pid = json.loads((run / "run.json").read_text())["pid"]
    workers_of(pid)[0].kill()


def test_a_dead_worker_is_replaced_behind_the_screen_and_the_run_goes_on(terminal: Terminal, tmp_path: Path):
    start(terminal, "--preset cartpole --total-steps 10_000_000 --name long")
    terminal.wait_for(r"update\s+2")
    run = tmp_path / "runs" / "long"
    kill_a_worker(run)
    terminal.wait_for(r"1×? restarted")
    deadline = time.monotonic() + 30
    while "killed (SIGKILL), restarted 1/5" not in (run / "run.log").read_text():  # written after it is shown
        assert time.monotonic() < deadline
        time.sleep(0.05)
    updates = (run / "metrics.jsonl").read_bytes().count(b"\n")
    deadline = time.monotonic() + 30
    while (run / "metrics.jsonl").read_bytes().count(b"\n") < updates + 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    terminal.wait_for(r"TRAINING")
    terminal.press("C-c", "C-c")
    terminal.wait_for(r"left with 130")
    assert (run / "metrics.jsonl").read_bytes().count(b"\n") >= updates + 3
    assert not left_behind(tmp_path)


def test_a_worker_beyond_recovery_shows_on_the_screen_and_in_the_exit_code(terminal: Terminal, tmp_path: Path):
    start(terminal, "--preset cartpole --total-steps 10_000_000 --name long --set workers.max_restarts=0")
    terminal.wait_for(r"update\s+2")
    kill_a_worker(tmp_path / "runs" / "long")
    terminal.wait_for(r"FAILED")
    terminal.wait_for(r"killed by SIGKILL")
    terminal.press("t")
    terminal.wait_for(r"WorkerFailedError|Traceback")
    terminal.press("q")
    terminal.wait_for(r"steps/s")
    terminal.press("q")
    terminal.wait_for(r"left with 3")
    assert json.loads((tmp_path / "runs" / "long" / "run.json").read_text())["status"] == "failed"


def test_bad_input_is_a_message_and_no_screen(terminal: Terminal, tmp_path: Path):
    start(terminal, "--preset brekout")
    terminal.wait_for(r"did you mean 'breakout'\?")
    terminal.wait_for(r"left with 2")
    assert not (tmp_path / "runs").exists()


def test_a_setting_is_drafted_applied_undone_and_audited(terminal: Terminal, tmp_path: Path):
    start(terminal, "--preset cartpole --total-steps 10_000_000 --name edited")
    terminal.wait_for(r"update\s+2")
    terminal.press("e", "+")
    terminal.wait_for(r"a applies it")
    terminal.press("a")
    terminal.wait_for(r"learning rate +0\.0012\S* +1e-7")  # in force, and nothing asked for
    terminal.press("u")
    terminal.press("A")
    terminal.wait_for(r"user \(undo\)")
    terminal.resize(100, 30)
    terminal.wait_for(r"user \(undo\)")
    terminal.press("q")
    terminal.wait_for(r"Leave the run")
    terminal.press("n")
    terminal.wait_for(r"left with 0")
    lines = (tmp_path / "runs" / "edited" / "events.jsonl").read_text().splitlines()
    edit, undo = [json.loads(line) for line in lines if '"setting"' in line]
    assert edit["key"] == undo["key"] == "optim.learning_rate"
    assert (undo["old"], undo["new"], undo["cause"]) == (pytest.approx(edit["new"], rel=0.1), edit["old"], "undo")
    assert (tmp_path / "before").read_text() == (tmp_path / "after").read_text()


def test_headless_on_a_terminal_draws_a_progress_bar(terminal: Terminal, tmp_path: Path):
    start(terminal, "--preset cartpole --headless --total-steps 50_000 --name bar")
    terminal.wait_for(r"training .*/50[, ]?176")
    terminal.press("C-c")
    terminal.wait_for(r"left with 130")
    assert (tmp_path / "before").read_text() == (tmp_path / "after").read_text()
