"""Limits of the shell, a directory that is gone, closed and full streams: a sentence and a documented code."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ppo_tui.text import printable
from tests.conftest import ROOT
from tests.faults.hostile import CODES

RUN = ("--preset", "cartpole", "--headless", "--total-steps", "256", "--workers", "1", "--run-dir", "run")


def limit(which: int, value: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(which, (value, value))


def command(*arguments: str, cwd: Path, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ppo_tui", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
        errors="surrogateescape",
        timeout=300,
        **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
    )


LIMITS = {
    "open files 24": (limit(resource.RLIMIT_NOFILE, 24), ""),
    "open files 16": (limit(resource.RLIMIT_NOFILE, 16), ""),
    "file size 20 KiB": (limit(resource.RLIMIT_FSIZE, 20 * 1024), ""),
    "file size 0": (limit(resource.RLIMIT_FSIZE, 0), ""),
    "address space 700 MB": (limit(resource.RLIMIT_AS, 700_000 * 1024), "ulimit -v"),
    "address space 400 MB": (limit(resource.RLIMIT_AS, 400_000 * 1024), "ulimit -v"),
}


@pytest.mark.faults
@pytest.mark.parametrize("name", LIMITS)
def test_a_limit_of_the_shell_is_a_sentence(name: str, tmp_path: Path):
    preexec, words = LIMITS[name]
    done = command(*RUN, cwd=tmp_path, preexec_fn=preexec)
    assert done.returncode in CODES, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert "this is a bug" not in done.stderr
    assert words in done.stderr
    assert printable(done.stderr, lines=True) == done.stderr


@pytest.mark.faults
@pytest.mark.parametrize("arguments", [RUN, ("runs",), ("resume", "x"), ("ctl", "latest", "status"), ("presets",)])
def test_a_current_directory_that_is_gone_is_a_sentence(arguments: tuple[str, ...], tmp_path: Path):
    gone = tmp_path / "gone"
    gone.mkdir()
    done = command(*arguments, cwd=gone, preexec_fn=gone.rmdir)
    assert done.returncode in CODES, done.stderr
    assert "Traceback" not in done.stderr
    assert "this is a bug" not in done.stderr


@pytest.mark.faults
@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1), (1, 2), (0, 1, 2)])
def test_closed_streams_change_no_code(closed: tuple[int, ...], tmp_path: Path):
    def close() -> None:
        for descriptor in closed:
            os.close(descriptor)

    for arguments, code in ((("presets",), 0), (("presets", "nothing"), 2), (RUN, 0), (("doctor", "x"), 2)):
        done = command(*arguments, cwd=tmp_path, preexec_fn=close)
        assert done.returncode == code, (arguments, done.stdout, done.stderr)
        assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.faults
def test_a_full_stdout_is_told_and_a_reader_that_left_is_not(tmp_path: Path):
    with open("/dev/full", "w") as full:
        done = command("presets", cwd=tmp_path, stdout=full)
    assert done.returncode == 3
    assert "No space left on device" in done.stderr
    assert len(done.stderr.splitlines()) <= 2
    read, write = os.pipe()
    os.close(read)
    done = command("presets", cwd=tmp_path, stdout=write)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.faults
@pytest.mark.parametrize(
    "environment", [{"LC_ALL": "C"}, {"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "ascii:strict"}]
)
def test_no_locale_makes_a_text_an_error(environment: dict[str, str], tmp_path: Path):
    (tmp_path / "mine.toml").write_text("# é ‮ 🎮 \x1b[31m\n[env]\nid = 'Größe-v0'\n")
    for arguments in (
        ("presets", "mine.toml"),
        ("--preset", "mine.toml"),
        ("--preset", "torn\udc80"),
        ("runs", "--json"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "ppo_tui", *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            capture_output=True,
            timeout=120,
        )
        printed = (done.stdout + done.stderr).decode("ascii" if "PYTHONIOENCODING" in environment else "utf-8")
        assert done.returncode in (0, 2), printed
        assert "Error" not in printed
        assert printable(printed, lines=True) == printed
