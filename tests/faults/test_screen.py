"""Random keys, bytes, pastes, clicks and sizes, on every screen: of a live run, a record, the theatre, the start."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ppo_tui.protocol import Resume
from ppo_tui.runs import RunDirectory
from ppo_tui.runs.client import steer
from tests.faults.random_keys import ROOT, TypedInto, text_of, type_randomly
from tests.waiting import wait_until

SIZES = [(80, 24), (120, 40), (200, 60), (24, 8)]
KEYS = 2500
"""For each size: 10,000 in all on a live run, and as many on each of the others."""

SEED = int(os.environ.get("PPO_TUI_SEED") or random.SystemRandom().randrange(1 << 32))
"""Of this run of the tests; a failure prints it."""

pytestmark = [pytest.mark.faults, pytest.mark.parametrize("size", SIZES, ids=lambda size: "{}x{}".format(*size))]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunDirectory]:
    run = RunDirectory(tmp_path / "run")
    yield run
    if pid := run.holder:
        os.kill(pid, signal.SIGKILL)


def type_all(program: TypedInto, size: tuple[int, int]) -> None:
    print(f"PPO_TUI_SEED={SEED}")
    type_randomly(program, seed=hash((SEED, *size)), keys=KEYS)
    assert "Traceback" not in text_of(bytes(program.output))


def test_a_live_run_trains_on_whatever_is_typed(run: RunDirectory, tmp_path: Path, size):
    program = TypedInto(
        *("--preset", "cartpole", "--workers", "2", "--total-steps", "1_000_000_000", "--run-dir", "run"),
        cwd=tmp_path,
        size=size,
    )
    try:
        wait_until(lambda: run.read().get("status") == "running", seconds=600)
        type_all(program, size)
        steer(run, Resume())  # P may have been the last key
        before = run.metrics.stat().st_size
        wait_until(lambda: run.metrics.stat().st_size > before, seconds=600)
        assert run.read()["status"] == "running"
        assert "Traceback" not in run.log.read_text()
        assert "screen failed" not in run.log.read_text()
    finally:
        program.close()


@pytest.mark.parametrize(
    "arguments", [(), ("replay", "./run"), ("watch", "./run")], ids=["start screen", "replay", "watch"]
)
def test_the_other_screens_bear_whatever_is_typed(arguments: tuple[str, ...], tmp_path: Path, size):
    training = ["--preset", "cartpole", "--workers", "2", "--total-steps", "16384", "--run-dir", "run", "--headless"]
    subprocess.run(
        [sys.executable, "-m", "ppo_tui", *training],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=True,
    )
    program = TypedInto(*arguments, cwd=tmp_path, size=size)
    try:
        type_all(program, size)
    finally:
        program.close()
