"""Runs without a terminal: in the background, controlled, watched from anywhere."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from ppo_tui.protocol import Pause, RunFinished, RunState, Stop
from ppo_tui.runs import RunDirectory
from ppo_tui.runs.client import ControlClient, steer
from tests.conftest import ROOT
from tests.waiting import wait_until

LONG = ("--preset", "cartpole", "--total-steps", "10_000_000")
COMMAND = [sys.executable, "-m", "ppo_tui"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def test_a_run_in_the_background_is_steered_by_a_script(ppo_tui, tmp_path):
    started = ppo_tui(*LONG, "--name", "mine", "--detached")
    assert (started.returncode, started.stdout) == (0, "mine\n"), started.stderr
    run = RunDirectory(tmp_path / "runs" / "mine")

    def ctl(*words: str) -> str:
        done = ppo_tui("ctl", "mine", *words)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    assert ctl("pause") == "paused"
    status = json.loads(ctl("status", "--json"))
    assert (status["state"], status["pid"]) == ("paused", run.holder)
    assert ctl("step", "2") == "paused"
    assert json.loads(ctl("status", "--json"))["step"] >= status["step"] + 256

    for words, message in (
        (("set", "optim.learning_rat", "1"), "did you mean 'optim.learning_rate'"),
        (("step", "0"), "expected how many updates"),
        (("paus",), "did you mean 'pause'"),
    ):
        refused = ppo_tui("ctl", "mine", *words)
        assert refused.returncode == 2
        assert message in refused.stderr
    second = ppo_tui(*LONG, "--name", "mine")
    assert second.returncode == 2
    assert f"in use by pid {run.holder}" in second.stderr

    assert ctl("resume") == "training"
    assert ctl("set", "optim.learning_rate", "2e-4").startswith("optim.learning_rate: ")
    assert "checkpoints/step-" in ctl("save")

    assert "stopped at step" in ctl("stop")
    changes = [json.loads(line) for line in run.events.read_text().splitlines() if '"setting"' in line]
    assert [change["new"] for change in changes] == [2e-4]
    assert changes[0]["by"].startswith("ctl")
    wait_until(lambda: run.holder is None)
    assert ppo_tui("ctl", "mine", "pause").returncode == 2
    (listed,) = json.loads(ppo_tui("runs", "--json").stdout)
    assert (listed["name"], listed["state"], listed["pid"]) == ("mine", "stopped", None)
    assert "mine" in ppo_tui("runs").stdout
    # The console of a run in the background is its log, which says everything once.
    assert run.log.read_text().count("stopped at step") == 1


def test_a_start_in_the_background_that_fails_says_why_and_leaves_nothing(ppo_tui, tmp_path):
    failed = ppo_tui("--preset", "cartpole", "--set", "env.id=CartPole-v9", "--name", "bad", "--detached")
    assert failed.returncode == 2
    assert "did you mean 'CartPole-v1'" in failed.stderr
    assert not (tmp_path / "runs" / "bad").exists()


@pytest.mark.slow
def test_a_killed_run_is_shown_as_crashed(ppo_tui, tmp_path):
    assert ppo_tui(*LONG, "--name", "mine", "--detached").returncode == 0
    pid = RunDirectory(tmp_path / "runs" / "mine").holder
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: RunDirectory(tmp_path / "runs" / "mine").holder is None)
    (listed,) = json.loads(ppo_tui("runs", "--json").stdout)
    assert listed["state"] == "crashed"
    refused = ppo_tui("ctl", "latest", "pause")
    assert refused.returncode == 2
    assert "mine is not running: crashed" in refused.stderr


@pytest.mark.parametrize("command", ["attach", "replay"])
def test_a_screen_needs_a_terminal(ppo_tui, command):
    refused = ppo_tui(command, "latest")
    assert refused.returncode == 2
    assert "needs a terminal" in refused.stderr


def test_sigterm_while_pytorch_loads_is_recorded(tmp_path):
    process = subprocess.Popen(
        [*COMMAND, *LONG, "--run-dir", "mine", "--headless"],
        cwd=tmp_path,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    wait_until((tmp_path / "mine" / "control.sock").exists)
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 143
    assert json.loads((tmp_path / "mine" / "run.json").read_text())["status"] == "stopped"


class Console:
    """A process with a terminal, until the terminal hangs up.

    Args:
        controlling: it is the terminal of its session, as a login shell's child has it: the kernel tells it of the end.
    """

    def __init__(self, directory: Path, *arguments: str, controlling: bool = True) -> None:
        self.shown = b""
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.process = subprocess.Popen(
            [*COMMAND, *arguments],
            cwd=directory,
            env={**ENVIRONMENT, "TERM": "xterm-256color"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=(lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0)) if controlling else None,
        )
        os.close(slave)

    def read_while(self, condition: Callable[[], bool]) -> None:
        os.set_blocking(self.master, False)
        deadline = time.monotonic() + 60
        while condition():
            assert time.monotonic() < deadline
            try:
                self.shown += os.read(self.master, 65_536)
            except BlockingIOError:
                time.sleep(0.02)

    def comes_to_rest(self) -> None:
        """Wait until the process uses no processor time to speak of."""
        process = psutil.Process(self.process.pid)

        def idle() -> bool:
            before = sum(process.cpu_times()[:2])
            time.sleep(0.5)
            return sum(process.cpu_times()[:2]) - before < 0.05

        wait_until(idle)


ITS_OWN_OR_GIVEN = pytest.mark.parametrize(
    "controlling", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["its own", "given"]
)


@pytest.mark.parametrize(
    "mode", [(), pytest.param(("--headless",), marks=pytest.mark.slow)], ids=["screen", "headless"]
)
@ITS_OWN_OR_GIVEN
def test_a_run_outlives_its_terminal(tmp_path, mode, controlling):
    console = Console(tmp_path, *LONG, "--name", "mine", *mode, controlling=controlling)
    run = RunDirectory(tmp_path / "runs" / "mine")
    console.read_while(lambda: not run.metrics.exists() or not run.metrics.stat().st_size)
    os.close(console.master)  # the kernel hangs up on the whole session whose terminal it is, workers included
    size = run.metrics.stat().st_size
    wait_until(lambda: run.metrics.stat().st_size > 2 * size)
    with ControlClient(run) as client:
        assert client.hello.state is RunState.TRAINING

    steer(run, Stop(save=False))
    console.process.wait(60)
    assert console.process.returncode == 0
    # Nobody drew on, and nothing was said that went nowhere.
    assert "Traceback" not in run.log.read_text()
    assert "\x1b" not in run.log.read_text()
    assert "error" not in run.log.read_text()
    assert run.read()["status"] == "stopped"


@pytest.mark.slow
def test_d_hands_a_run_over_to_a_process_in_the_background(tmp_path):
    console = Console(tmp_path, *LONG, "--name", "mine")
    run = RunDirectory(tmp_path / "runs" / "mine")
    console.read_while(lambda: not run.metrics.exists() or not run.metrics.stat().st_size)
    with ControlClient(run) as client:
        client.subscribe(client="test", wish="watch", history=False)
        os.write(console.master, b"d")
        console.read_while(lambda: console.process.poll() is None)
        *_, end = (message for message in client.messages() if isinstance(message, RunFinished))
    assert console.process.returncode == 0
    with ControlClient(run) as client:
        assert client.hello.pid != console.process.pid
        assert client.hello.step >= end.step
    steer(run, Stop(save=False))
    steps = [json.loads(line)["time/total_timesteps"] for line in run.metrics.read_text().splitlines()]
    assert steps == list(range(256, steps[-1] + 1, 256))  # each update once
    assert steps[-1] > end.step


@pytest.mark.slow
@ITS_OWN_OR_GIVEN
def test_a_paused_run_without_its_terminal_is_idle_and_one_who_watches_just_leaves(tmp_path, controlling):
    console = Console(tmp_path, *LONG, "--name", "mine", controlling=controlling)
    run = RunDirectory(tmp_path / "runs" / "mine")
    console.read_while(lambda: not run.metrics.exists() or not run.metrics.stat().st_size)
    assert steer(run, Pause()) == "paused"
    watching = Console(tmp_path, "attach", "mine", controlling=controlling)
    watching.read_while(lambda: b"PAUSED" not in watching.shown)
    os.close(console.master)
    os.close(watching.master)
    assert watching.process.wait(60) == 129
    console.comes_to_rest()
    with ControlClient(run) as client:
        assert client.hello.state is RunState.PAUSED
    console.process.kill()
    console.process.wait()


@pytest.mark.slow
def test_a_stray_module_in_the_working_directory_is_no_module_of_the_run(tmp_path, end_runs):
    """Neither of the run in the background, nor of its evaluations; ``ppo-tui`` itself looks for none there."""
    for name in ("queue", "numpy"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('not this one')\n")
    settings = ["--total-steps", "2048", "--set", "eval.every=512", "--set", "eval.episodes=1", "--workers", "1"]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "ppo_tui", "--preset", "cartpole", "--name", "mine", *settings, "--detached"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    run = RunDirectory(tmp_path / "runs" / "mine")
    wait_until(lambda: run.read().get("status") == "finished")
    assert '"eval/ep_rew_mean"' in run.metrics.read_text()
