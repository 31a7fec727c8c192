"""The waiting time of a user: help, workers, first painted frame."""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks.effort import Effort
from benchmarks.terminal import ROOT, Terminal
from benchmarks.work import breakout
from ppo_tui.training import start_pool

TIMEOUT_SECONDS = 60.0


def show_help(_: Effort) -> dict[str, float]:
    """``ppo-tui --help``, from start to exit."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "ppo_tui", "--help"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return {"help_seconds": time.perf_counter() - began}


def workers_ready(_: Effort) -> dict[str, float]:
    """Seconds until all workers are ready, and their CPU time."""
    config = breakout(num_updates=1)
    began = time.perf_counter()
    with contextlib.closing(start_pool(config)) as pool:
        pool.wait_until_ready()
        seconds = time.perf_counter() - began
        times = [psutil.Process(worker.process.pid).cpu_times() for worker in pool.workers]
    return {
        "pool_ready_seconds": seconds,
        "worker_cpu_seconds": statistics.fmean(spent.user + spent.system for spent in times),
    }


def first_frame(_: Effort) -> dict[str, float]:
    """Seconds from ``ppo-tui --preset breakout`` to the first frame.

    That frame shows that the run is starting.
    """
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-m", "ppo_tui", "--preset", "breakout", "--run-dir", str(Path(directory) / "run")]
        with Terminal(command) as terminal:
            terminal.read_until_text("STARTING", "TRAINING", timeout=TIMEOUT_SECONDS)
            seconds = time.perf_counter() - terminal.started
            terminal.process.terminate()
            terminal.read_to_end(timeout=TIMEOUT_SECONDS)
    return {"first_frame_seconds": seconds}
