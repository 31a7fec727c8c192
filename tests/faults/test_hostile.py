"""The table of hostile inputs, run: in words, in time, without harm. A sample of it runs in the default suite."""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import os
import resource
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from ppo_tui import cli
from ppo_tui.text import printable
from tests.faults import hostile, hostile_sources
from tests.faults.hostile import CODES, Row

SECONDS = 60
"""Time for a row, generous for a busy machine: what hangs does so for ever."""

SPARE_BYTES = 2 << 30
"""Memory that a row may take more than its forerunners: less than a machine has, more than any needs."""

TABLE = [*hostile.table(), *hostile_sources.table()]
LIGHT = [row for row in TABLE if not row.heavy]
# Without files that hang or fill the memory where they are not refused.
SAMPLE = [row for row in LIGHT if "device" not in row.name and "pipe" not in row.name][:: len(LIGHT) // 30]


class Late(BaseException):
    """A row out of time."""


def run_in_process(argv: list[str]) -> tuple[int, str]:
    """Run the command line in this process; its exit code and all that it printed."""
    printed = io.BytesIO()
    stream = io.TextIOWrapper(printed, "utf-8", write_through=True)
    before, sys.argv = sys.argv, ["ppo-tui", *argv]
    handlers = logging.getLogger().handlers[:]
    try:
        with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream), open(os.devnull) as nothing:
            sys.stdin, stdin = nothing, sys.stdin
            try:
                code = cli.run()
            finally:
                sys.stdin = stdin
    finally:
        sys.argv = before
        logging.getLogger().handlers[:] = handlers
    return code, printed.getvalue().decode("utf-8", "surrogateescape")


@contextlib.contextmanager
def limited() -> Iterator[None]:
    """Bound the time and the memory of a row."""

    def late(*_: object) -> None:
        raise Late

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + SPARE_BYTES, hard))
    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    """A world with a finished run and a directory that is somebody else's."""
    world = tmp_path_factory.mktemp("base")
    with contextlib.chdir(world):
        small = ["--preset", "cartpole", "--headless", "--name", "ok", "--total-steps", "256", "--workers", "1"]
        code, printed = run_in_process([*small, "--set", "tracking.tensorboard=false"])
    assert code == 0, printed
    (world / "victim").mkdir()
    for name in ("precious", "config.toml", "events.jsonl", "run.log"):
        (world / "victim" / name).write_text("precious\n")
    return world


@pytest.fixture
def world(base: Path, tmp_path: Path, monkeypatch) -> Path:
    """A fresh copy of the world, as the current directory and the home."""
    world = tmp_path / "world"
    shutil.copytree(base, world, symlinks=True)
    (world / "folder").mkdir()
    (world / "loop").symlink_to("loop")
    os.mkfifo(world / "fifo")
    monkeypatch.chdir(world)
    monkeypatch.setenv("HOME", str(world))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(world / "config"))
    return world


def fingerprint(victim: Path) -> dict[str, str]:
    """Every name below `victim`, with the hash of its content."""
    return {
        str(path.relative_to(victim)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in victim.rglob("*")
    }


def processes_of(world: Path) -> list[str]:
    """Command lines of other processes that work in `world`, once they have had time to end."""
    deadline = time.monotonic() + 20
    while True:
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.pid != os.getpid() and process.ppid() != os.getpid() and str(world) in process.cwd():
                    found.append(" ".join(process.cmdline()))
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.1)


def check(row: Row, world: Path) -> None:
    row.prepare(world)
    before = fingerprint(world / "victim")
    with limited():
        code, printed = run_in_process(row.argv)
    assert "Late" not in printed, f"it takes more than {SECONDS} s"
    assert code in CODES, printed[-2_000:]
    assert "Traceback" not in printed
    assert "this is a bug" not in printed, printed[-2_000:]
    assert printable(printed, lines=True) == printed
    assert fingerprint(world / "victim") == before
    assert not list(world.rglob("PWNED"))
    if row.heavy:
        assert processes_of(world) == []


def named(row: Row) -> str:
    return ascii(row.name)[1:-1]


def test_the_table_is_long_and_its_rows_are_distinct():
    names = [row.name for row in TABLE]
    assert len(names) == len(set(names)) >= 617


@pytest.mark.parametrize("row", SAMPLE, ids=named)
def test_a_sample_of_hostile_inputs_is_answered_in_words(row: Row, world: Path):
    check(row, world)


@pytest.mark.faults
@pytest.mark.parametrize("row", TABLE, ids=named)
def test_every_hostile_input_is_answered_in_words_in_time_and_without_harm(row: Row, world: Path):
    check(row, world)
