"""Runs on the command line end with the test that started them."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from ppo_tui.runs import RunDirectory


@pytest.fixture(autouse=True)
def end_runs(tmp_path: Path) -> Iterator[None]:
    """Whatever a test leaves running is killed, detached runs too."""
    yield
    for pattern in ("*/run.json", "runs/*/run.json", "runs/*/*/run.json"):
        for file in tmp_path.glob(pattern):
            pid = RunDirectory(file.parent).holder
            if pid and pid != os.getpid():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
