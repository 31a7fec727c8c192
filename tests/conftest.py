"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

import tests.portable

ROOT = Path(__file__).resolve().parents[1]

PORTABLE = "PPO_TUI_PORTABLE" in os.environ
"""Whether the tests run without what is Linux's alone: ``make test-portable``."""

PYTHONPATH = tests.portable.path_of_children(str(ROOT)) if PORTABLE else str(ROOT)
"""For a shell's processes; those that Python starts get it by themselves."""

linux_alone = pytest.mark.skipif(PORTABLE or sys.platform != "linux", reason="means of Linux alone")

# PyTorch's threads wait for their next part asleep, not in a loop that takes the core from another test's process.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read once, when PyTorch is loaded

if PORTABLE:  # before any test imports the program
    tests.portable.begin()

# A shared two-core machine pauses at will: an example's speed says nothing about the code.
settings.register_profile("default", deadline=None)
settings.load_profile("default")


@pytest.fixture
def ppo_tui(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command line in an empty directory, with no terminal, and return what came of it."""

    def run(*arguments: str, timeout: float = 120, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "ppo_tui", *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200", **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    return run
