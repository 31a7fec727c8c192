"""The cost of the screen and of its mechanisms, within one run.

Updates behind a working screen are compared with updates behind one that stands still, or that stands still while
something else takes a core.

    python -m benchmarks.dimmed still,whole,burn-thread TIMES.jsonl --preset breakout …

is the command line with such a screen, whose work changes with each update. Between two runs the speed of a machine
drifts by more than the cost of a screen; from one update to the next it does not.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import math
import multiprocessing
import os
import random
import statistics
import sys
import tempfile
import threading
import time
from multiprocessing.synchronize import Event as Flag
from pathlib import Path

import numpy as np

from benchmarks.effort import Effort
from benchmarks.screen import TIMEOUT_SECONDS, update_times
from benchmarks.terminal import Terminal
from ppo_tui.protocol import Event, UpdateFinished
from ppo_tui.statistics import bootstrap, interquartile_mean
from ppo_tui.tui.clip_player import DEFAULT_FPS

ROUNDS_PER_UPDATE = 3
"""Rounds of all arms for each update of other suites: a percent is hard to measure."""

WARM_UP = 2
"""Updates before the first round, at least."""

UPDATE_SECONDS = 10.0
"""Longest mean time of an update."""

BURN_SECONDS = 0.002
"""CPU seconds that are burnt at each beat of the screen, which has 10 a second: about what a screen takes."""

SCREEN = ("still", "whole", "without-motion")
"""The work of the screen: none; all; all but the frames of the Game panel. The first arm is the reference."""

MECHANISMS = (*SCREEN, "burn-thread", "burn-unlocked", "burn-process", "whole-batch", "whole-nice")
"""The same, and: a screen that stands still, while its own thread computes in Python, or without Python's lock, or
another process does; a working screen whose thread waits for a free core, or is nicer than the training."""


def cost(effort: Effort, arms: tuple[str, ...] = SCREEN) -> dict[str, float]:
    """The cost of each arm in percent of an update.

    The interquartile mean of the ratios within rounds, with its interval of 95 %. And the CPU milliseconds a second of
    the screen's thread.
    """
    rounds = 1 + ROUNDS_PER_UPDATE * effort.updates
    before = len(arms) * math.ceil(WARM_UP / len(arms))
    updates = before + len(arms) * rounds
    with tempfile.TemporaryDirectory() as directory:
        run, times = Path(directory) / "run", Path(directory) / "times.jsonl"
        command = [sys.executable, "-m", "benchmarks.dimmed", ",".join(arms), str(times)]
        command += ["--preset", "breakout", "--device", "cpu", "--run-dir", str(run)]
        with Terminal(command) as terminal:
            terminal.read_until(
                lambda: len(update_times(run)) >= updates, timeout=TIMEOUT_SECONDS + updates * UPDATE_SECONDS
            )
            terminal.type("qn")
            terminal.read_to_end(timeout=TIMEOUT_SECONDS)
        ends = [json.loads(line) for line in times.read_text().splitlines()][before - 1 : updates]
    seconds: dict[str, list[float]] = {arm: [] for arm in arms}
    shares: dict[str, list[float]] = {arm: [] for arm in arms}
    for (began, cpu_before, arm), (ended, cpu, _) in itertools.pairwise(ends):
        seconds[arm].append(ended - began)
        shares[arm].append(1000 * (cpu - cpu_before) / (ended - began))
    reference = np.array(seconds[arms[0]])
    figures = {"seconds_per_update": float(np.median(reference))}
    for arm in arms[1:]:
        estimate = bootstrap([100 * (np.array(seconds[arm]) / reference - 1)], interquartile_mean)
        figures |= dict(zip(_names(arm), map(float, estimate), strict=True))
    for arm in arms:
        figures[f"{arm}_thread_ms_per_second"] = statistics.median(shares[arm])
    return figures


def _names(arm: str) -> tuple[str, str, str]:
    """The figures of an arm: its cost, and the interval's ends."""
    return f"{arm}_cost_percent", f"{arm}_cost_percent_low", f"{arm}_cost_percent_high"


def mechanisms(effort: Effort) -> dict[str, float]:
    return cost(effort, MECHANISMS)


class Arms:
    """The work of the screen, another one in each update.

    Args:
        times: takes a line at the end of each update: the time, the CPU time of the main thread, and the arm of the
            next update.
    """

    def __init__(self, names: list[str], times: Path) -> None:
        self._names, self._update = names, 0
        self._times = times.open("w", buffering=1)
        main = threading.main_thread()
        assert main.ident is not None
        self._clock, self._thread = time.pthread_getcpuclockid(main.ident), main.native_id or 0
        self._burns = multiprocessing.get_context("spawn").Event()

    def start(self) -> None:
        """Start the burning process: before there are threads and a screen."""
        if "burn-process" in self._names:
            burn = multiprocessing.get_context("spawn").Process(target=_burn_while, args=(self._burns,), daemon=True)
            burn.start()

    @property
    def name(self) -> str:
        """The arm of the update under way.

        Each round has an order of its own: an arm after always the same one, or at the pace of something that happens
        every ten seconds, would be measured with it.
        """
        if not self._update:
            return "whole"
        number, place = divmod(self._update, len(self._names))
        return random.Random(number).sample(self._names, len(self._names))[place]

    def take(self, event: Event) -> None:
        """Begin the next arm at the end of an update."""
        if not isinstance(event, UpdateFinished):
            return
        self._update = event.update
        self._times.write(json.dumps([time.monotonic(), time.clock_gettime(self._clock), self.name]) + "\n")
        (self._burns.set if self.name == "burn-process" else self._burns.clear)()
        policy = os.SCHED_BATCH if self.name == "whole-batch" else os.SCHED_OTHER
        with contextlib.suppress(OSError):  # to become less nice again takes a privilege
            os.sched_setscheduler(self._thread, policy, os.sched_param(0))
            os.setpriority(os.PRIO_PROCESS, self._thread, 10 if self.name == "whole-nice" else 0)


def _burn() -> None:
    """Compute in Python."""
    until = time.thread_time() + BURN_SECONDS
    while time.thread_time() < until:
        sum(range(100))


def _burn_unlocked() -> None:
    """Compute in C, without Python's lock."""
    until, data = time.thread_time() + BURN_SECONDS, bytes(200_000)
    while time.thread_time() < until:
        hashlib.sha256(data)


def _burn_while(burns: Flag) -> None:
    while burns.wait():
        _burn()
        time.sleep(1 / DEFAULT_FPS)


def main() -> None:
    """Run the command line behind such a screen."""
    arms = Arms(sys.argv.pop(1).split(","), Path(sys.argv.pop(1)))
    arms.start()

    from ppo_tui.__main__ import main as run
    from ppo_tui.tui.app import PpoTuiApp
    from ppo_tui.tui.session import LocalSession

    emit, play, beat = LocalSession.emit, PpoTuiApp.play, PpoTuiApp.beat

    def emit_and_take(self: LocalSession, event: Event) -> None:
        emit(self, event)
        arms.take(event)

    def beat_of_arm(self: PpoTuiApp) -> None:
        match arms.name if self.controller.session.live else "whole":
            case "still" | "burn-process":
                pass
            case "burn-thread":
                _burn()
            case "burn-unlocked":
                _burn_unlocked()
            case _:
                beat(self)

    def play_of_arm(self: PpoTuiApp) -> None:
        if arms.name != "without-motion":
            play(self)

    LocalSession.emit, PpoTuiApp.beat, PpoTuiApp.play = emit_and_take, beat_of_arm, play_of_arm
    run()


if __name__ == "__main__":
    main()
