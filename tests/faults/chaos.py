"""Random faults, one after the other, on a real run: ``python -m tests.faults.chaos --seconds 1800 --seed 1``.

The run must never stand still for more than `MAX_STALL` seconds, whatever befalls it, and must leave nothing behind.
Prints each fault, and at the end what it cost; exits with 1 where the promise was broken.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil

from tests.conftest import ROOT
from tests.waiting import still_running

MAX_STALL = 30.0
BETWEEN_FAULTS = (1.0, 8.0)

START = [
    "--preset", "cartpole", "--headless", "--name", "chaos", "--total-steps", "1_000_000_000", "--workers", "3",
    "--set", "env.id=tests.faults.envs:FaultyCartPole-v0", "--set", "env.kwargs.what=raise",
    "--set", "env.kwargs.chance=2e-6", "--set", "workers.step_timeout=5", "--set", "run.checkpoint_seconds=5",
]  # fmt: skip
RESUME = ["resume", "chaos", "--headless", "--allow-import"]


class Victim:
    """The run, in as many processes one after the other as it takes."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.last_progress = time.monotonic()
        self.longest_stall = 0.0
        self.lines: list[str] = []
        self.seen: set[psutil.Process] = set()
        self.start(START)

    def start(self, arguments: list[str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ppo_tui", *arguments],
            cwd=self.directory,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        threading.Thread(target=self._read, args=(self.process,), daemon=True).start()

    def _read(self, process: subprocess.Popen) -> None:
        for line in process.stdout:
            self.lines.append(line.rstrip())
            if "steps/s" in line:
                now = time.monotonic()
                self.longest_stall = max(self.longest_stall, now - self.last_progress)
                self.last_progress = now

    @property
    def workers(self) -> list[psutil.Process]:
        with contextlib.suppress(psutil.Error):
            family = psutil.Process(self.process.pid).children(recursive=True)
            self.seen |= set(family)
            return [process for process in family if process.ppid() != self.process.pid]
        return []

    @property
    def run(self) -> Path:
        return self.directory / "runs" / "chaos"

    def wait_for_progress(self) -> None:
        """Raises: TimeoutError, when the run stands still, or RuntimeError, when it has ended."""
        since = time.monotonic()
        while self.last_progress <= since:
            if time.monotonic() - self.last_progress > MAX_STALL:
                raise TimeoutError(f"no update for {MAX_STALL:g} s")
            if self.process.poll() is not None:
                raise RuntimeError(f"the run ended with {self.process.returncode}")
            time.sleep(0.05)

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(MAX_STALL)


def _signal_workers(victim: Victim, rng: random.Random, number: signal.Signals, count: int) -> None:
    workers = victim.workers
    for worker in rng.sample(workers, min(count, len(workers))):
        with contextlib.suppress(psutil.Error):
            worker.send_signal(number)


def kill_worker(victim: Victim, rng: random.Random) -> None:
    _signal_workers(victim, rng, signal.SIGKILL, 1)


def kill_workers(victim: Victim, rng: random.Random) -> None:
    _signal_workers(victim, rng, signal.SIGKILL, 3)


def stop_worker(victim: Victim, rng: random.Random) -> None:
    _signal_workers(victim, rng, signal.SIGSTOP, 1)


def crash_worker(victim: Victim, rng: random.Random) -> None:
    _signal_workers(victim, rng, signal.SIGSEGV, 1)


def kill_fork_server(victim: Victim, rng: random.Random) -> None:
    workers = victim.workers
    with contextlib.suppress(psutil.Error, IndexError):
        workers[0].parent().kill()


def stop_everything(victim: Victim, rng: random.Random) -> None:
    """As ctrl+Z does, for longer than a worker may be silent."""
    family = [psutil.Process(victim.process.pid), *victim.workers]
    for process in family:
        process.suspend()
    time.sleep(7)
    for process in family:
        process.resume()


def fill_disk(victim: Victim, rng: random.Random) -> None:
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    resource.prlimit(victim.process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    time.sleep(rng.uniform(0.5, 6))
    with contextlib.suppress(ProcessLookupError):
        resource.prlimit(victim.process.pid, resource.RLIMIT_FSIZE, unlimited)


def pester_socket(victim: Victim, rng: random.Random) -> None:
    for _ in range(20):
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as client:
            client.settimeout(1)
            client.connect(str(victim.run / "control.sock"))
            client.sendall(rng.choice([rng.randbytes(3000), b'{"command":"set"}\n', b"[" * 5000 + b"\n"]))


def kill_run(victim: Victim, rng: random.Random) -> None:
    workers = victim.workers
    victim.end(signal.SIGKILL)
    if still_running(workers, seconds=2):
        raise RuntimeError("workers outlived the run")
    victim.start(RESUME)


def terminate_run(victim: Victim, rng: random.Random) -> None:
    if (code := victim.end(signal.SIGTERM)) != 143:
        raise RuntimeError(f"left with {code} after SIGTERM")
    victim.start(RESUME)


FAULTS: dict[Callable[[Victim, random.Random], None], int] = {
    kill_worker: 8,
    kill_workers: 3,
    stop_worker: 4,
    crash_worker: 2,
    kill_fork_server: 2,
    stop_everything: 1,
    fill_disk: 3,
    pester_socket: 2,
    kill_run: 2,
    terminate_run: 2,
}
"""Each fault and how often it comes."""


def wreak(victim: Victim, seconds: float, rng: random.Random) -> Counter[str]:
    """Let faults happen for so long; how many of each did."""
    done: Counter[str] = Counter()
    victim.wait_for_progress()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(rng.uniform(*BETWEEN_FAULTS))
        (fault,) = rng.choices(list(FAULTS), FAULTS.values())
        done[fault.__name__] += 1
        print(f"{time.strftime('%H:%M:%S')}  {fault.__name__}", flush=True)
        fault(victim, rng)
        victim.wait_for_progress()
    return done


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        victim = Victim(Path(directory))
        try:
            done = wreak(victim, arguments.seconds, random.Random(arguments.seed))
            code = victim.end(signal.SIGTERM)
            left = still_running(victim.seen, seconds=2)
            metrics = [json.loads(line) for line in (victim.run / "metrics.jsonl").read_text().splitlines()]
            updates = [line["time/iterations"] for line in metrics]
            whole = updates == list(range(1, len(updates) + 1))
        except (TimeoutError, RuntimeError, subprocess.TimeoutExpired) as broken:
            print(f"BROKEN: {broken}", *victim.lines[-30:], sep="\n")
            return 1
        finally:
            victim.process.kill()
    print(f"{sum(done.values())} faults: {', '.join(f'{name} {count}' for name, count in done.most_common())}")
    print(
        f"longest time without an update: {victim.longest_stall:.1f} s; updates {len(updates):,}, none missing: {whole}"
    )
    print(f"left with {code}; processes left behind: {len(left)}")
    return 0 if code == 143 and whole and not left and victim.longest_stall <= MAX_STALL else 1


if __name__ == "__main__":
    sys.exit(main())
