"""Rows 8, 9, 11 and 13: the whole run is killed, interrupted fifty times, or has nowhere to write."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from ppo_tui.runs import RunDirectory
from ppo_tui.runs.client import ControlClient
from ppo_tui.runs.messages import Hello
from tests.conftest import ROOT
from tests.waiting import still_running, wait_until

COMMAND = [sys.executable, "-m", "ppo_tui", "--preset", "cartpole", "--headless", "--run-dir", "mine"]
LONG = ["--total-steps", "10_000_000", "--set", "ppo.epochs=2"]


class LiveRun:
    """A headless run in a session of its own, with its workers and their server."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        self.run = directory / "mine"
        self.process = subprocess.Popen(
            [*COMMAND, *LONG, *arguments],
            cwd=directory,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        wait_until(lambda: self.updates >= 2 or self.process.poll() is not None)
        assert self.process.poll() is None, self.process.communicate()
        self.family = [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]

    @property
    def updates(self) -> int:
        metrics = self.run / "metrics.jsonl"
        return metrics.read_bytes().count(b"\n") if metrics.exists() else 0

    def asked(self) -> Hello:
        """Its greeting, which needs no disk."""
        with ControlClient(RunDirectory(self.run)) as client:
            return client.hello

    def end(self) -> tuple[str, str]:
        """What it has printed, once it has ended by itself."""
        return self.process.communicate(timeout=60)

    def stop(self, number: signal.Signals) -> None:
        """End it, and wait until it has."""
        self.process.send_signal(number)
        self.end()

    def left(self) -> list[psutil.Process]:
        """Of it and its workers, who has not ended within two seconds."""
        return still_running(self.family, seconds=2)

    def kill_all(self) -> None:
        for process in self.family:
            with contextlib.suppress(psutil.Error):
                process.kill()
        self.process.communicate()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., LiveRun]]:
    runs = []

    def start(*arguments: str, directory: Path = tmp_path) -> LiveRun:
        runs.append(LiveRun(directory, *arguments))
        return runs[-1]

    yield start
    for run in runs:
        run.kill_all()


def shared_memory() -> set[str]:
    return {path.name for path in Path("/dev/shm").iterdir()} if Path("/dev/shm").is_dir() else set()


def check_killed(start, directory: Path, kill: Callable[[LiveRun], None]) -> None:
    before = shared_memory()
    run = start("--set", "run.checkpoint_seconds=0.2", directory=directory)
    wait_until((run.run / "checkpoints" / "latest").exists)
    time.sleep(random.Random(str(directory)).uniform(0, 0.3))
    kill(run)
    run.process.communicate()
    assert not run.left()
    assert shared_memory() <= before


@pytest.mark.parametrize("count", [1, pytest.param(4, marks=pytest.mark.faults)])
def test_nothing_is_left_of_a_killed_run(count: int, start, tmp_path: Path):
    for number in range(count):
        directory = tmp_path / str(number)
        directory.mkdir()
        check_killed(start, directory, lambda run: run.process.kill())


@pytest.mark.faults
def test_a_run_whose_whole_group_was_killed_is_shown_as_crashed_and_goes_on(start, tmp_path: Path, ppo_tui):
    """As the kernel does when the machine runs out of memory."""
    check_killed(start, tmp_path, lambda run: os.killpg(run.process.pid, signal.SIGKILL))
    (tmp_path / "runs").mkdir()
    (tmp_path / "mine").rename(tmp_path / "runs" / "mine")
    assert "crashed" in ppo_tui("runs").stdout
    updates = (tmp_path / "runs" / "mine" / "metrics.jsonl").read_bytes().count(b"\n")
    resumed = ppo_tui("resume", "mine", "--headless", "--total-steps", str((updates + 2) * 256))
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert "resumed at step" in resumed.stdout


@pytest.mark.faults
def test_fifty_interrupts_of_the_whole_group_make_no_storm(start):
    """As a ctrl+C kept down does: the workers get every one of them too."""
    run = start()
    for _ in range(50):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(run.process.pid, signal.SIGINT)
    _, err = run.end()
    assert run.process.returncode == 130
    assert "Traceback" not in err
    assert err.count("\n") <= 3
    assert not run.left()
    workers_log = run.run / "workers.log"
    assert not workers_log.exists() or "Traceback" not in workers_log.read_text()


def check_full_disk(run: LiveRun, fill: Callable[[], None], free: Callable[[], None]) -> None:
    """Training goes on without a disk, and afterwards nothing is missing of its record."""
    wait_until((run.run / "checkpoints" / "latest").exists)
    fill()
    awaited = [
        "nothing can be recorded",
        r"checkpoint of step .* failed.* bytes free; kept step [\d,]+; next try in 5 s",
    ]
    said: list[str] = []
    while not all(any(re.search(text, line) for line in said) for text in awaited):
        said.append(run.process.stdout.readline())
        assert said[-1], ("".join(said), run.end())
    seen = run.asked().update
    wait_until(lambda: run.asked().update >= seen + 3)
    free()
    updates = run.updates
    wait_until(lambda: run.updates > updates)
    run.process.terminate()
    run.end()
    assert run.process.returncode == 143
    iterations = [json.loads(line)["time/iterations"] for line in (run.run / "metrics.jsonl").read_text().splitlines()]
    assert iterations == list(range(1, len(iterations) + 1))
    state = json.loads((run.run / "checkpoints" / "latest" / "state.json").read_text())
    assert state["update"] == iterations[-1], "the last checkpoint stands where the run stopped"


def test_a_full_disk_ends_nothing_and_what_was_not_recorded_is_recorded_later(start):
    """The limit on file sizes is set from outside, in the middle of the run: the system refuses every write."""
    run = start("--set", "run.checkpoint_seconds=0.2")
    pids = [process.pid for process in run.family]

    def limit(size: int) -> None:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    check_full_disk(run, lambda: limit(0), lambda: limit(resource.RLIM_INFINITY))


@pytest.mark.faults
def test_a_disk_that_is_really_full(start, tmp_path: Path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("may not mount a small disk here")
    try:
        # Few updates a second: their record must not fill the disk by itself.
        few = ["--set", "rollout.steps=128", "--set", "run.keep_checkpoints=1"]
        run = start("--set", "run.checkpoint_seconds=0.2", *few, directory=disk)
        filler = disk / "filler"

        def fill() -> None:
            with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(512))

        check_full_disk(run, fill, filler.unlink)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
