"""The figures of docs/reliability.md: ``python -m tests.faults.figures``, or only some of them, by name."""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil

from ppo_tui import Trainer, load_preset
from ppo_tui.errors import UsageError
from ppo_tui.protocol import Alarm, CheckpointSaved, Event, RolloutProgress
from ppo_tui.runs import RunDirectory
from ppo_tui.training.checkpoint.files import list_checkpoints, newest_checkpoint
from ppo_tui.training.checkpoint.snapshot import read_checkpoint, write_checkpoint
from tests.conftest import ROOT
from tests.faults.random_keys import TypedInto
from tests.faults.test_processes import LiveRun
from tests.training.checkpoint.test_files import snapshot
from tests.training.test_trainer import Recorder
from tests.waiting import still_running, wait_until


def breakout(updates: int, *overrides: str, react: Callable[[Trainer, Event], None], directory: Path) -> Recorder:
    """A real Breakout run, 8 environments of 128 steps."""
    recorder = Recorder(lambda event: react(trainer, event))
    steps = f"run.total_steps={updates * 1024}"
    trainer = Trainer(
        load_preset("breakout", overrides=[steps, *overrides]), sinks=[recorder], checkpoint_dir=directory
    )
    trainer.run()
    return recorder


def recovery(directory: Path, count: int) -> str:
    """Kill a random worker at a random step of each update."""
    rng = random.Random(1)
    when = {update: rng.randint(1, 128) for update in range(1, count + 1)}

    def react(trainer: Trainer, event: Event) -> None:
        if isinstance(event, RolloutProgress) and when.get(event.update) == event.t:
            os.kill(rng.choice(trainer.engine.pool.workers).process.pid, signal.SIGKILL)

    recorder = breakout(count, "ppo.epochs=1", react=react, directory=directory)
    found = [re.search(r"after ([\d.]+) s", alarm.message) for alarm in recorder.of(Alarm)]
    seconds = [float(match[1]) for match in found if match]
    return (
        f"{len(seconds)} workers killed in Breakout (8 × 128): back after {statistics.median(seconds):.1f} s (median), "
        f"{max(seconds):.1f} s (longest)"
    )


def save(directory: Path, count: int) -> str:
    """Save after every update, and compare what the training waited with what it took."""
    recorder = breakout(
        count, "run.checkpoint_seconds=0.001", "ppo.epochs=1", react=lambda trainer, event: None, directory=directory
    )
    waits = [event.seconds for event in recorder.of(CheckpointSaved)]
    share = statistics.median(waits) / 60.0
    return (
        f"{len(waits)} saves of Breakout: training waits {1000 * statistics.median(waits):.0f} ms (median), "
        f"{1000 * max(waits):.0f} ms (longest), {share:.2%} of the time at one a minute"
    )


def kills(directory: Path, count: int) -> str:
    """Kill a process at a random moment while it saves one checkpoint after the other."""
    rng = random.Random(1)
    serial = 0
    for _ in range(count):
        readable, writable = os.pipe()
        child = os.fork()
        if child == 0:
            for step in range(serial + 1, serial + 10_000):
                write_checkpoint(directory / f"step-{step % 3}", snapshot(step, size=20_000), serial=step)
                os.write(writable, step.to_bytes(8))
            os._exit(1)
        os.close(writable)
        told = os.read(readable, 8)
        time.sleep(rng.uniform(0, 0.03))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        while more := os.read(readable, 8):
            told = more
        os.close(readable)
        serial = int.from_bytes(told)
        newest = read_checkpoint(newest_checkpoint(directory)[0]).state.step
        assert newest >= serial, "what was said to be saved is not there"
        serial = newest
        found, problems = list_checkpoints(directory)
        assert found
        assert not problems
    return f"{count:,} kills while saving: no unreadable checkpoint, none of those reported lost"


def corruptions(directory: Path, count: int) -> str:
    """Flip a bit, or cut, anywhere in any file of a checkpoint."""
    rng = random.Random(1)
    path = directory / "whole"
    write_checkpoint(path, snapshot())
    files = sorted(path.iterdir())
    for _ in range(count):
        file = rng.choice(files)
        content = file.read_bytes()
        position = rng.randrange(len(content))
        flipped = content[:position] + bytes([content[position] ^ 1 << rng.randrange(8)]) + content[position + 1 :]
        file.write_bytes(rng.choice([flipped, content[:position]]))
        try:
            read_checkpoint(path)
        except UsageError:
            file.write_bytes(content)
        else:
            raise AssertionError(f"{file.name} damaged at byte {position} was read")
    return f"{count:,} corruptions (flipped bits, cuts, in every file): all detected"


def resume(directory: Path, count: int) -> str:
    """End a Breakout run of 8 workers, and measure from the command on how long it is until the training goes on."""
    LiveRun(directory, "--preset", "breakout", "--workers", "8", "--set", "ppo.epochs=1").stop(signal.SIGTERM)
    ready, first = [], []
    for number in range(count):
        began = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", "ppo_tui", "resume", "mine", "--headless", "--allow-import"],
            cwd=directory,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for line in process.stdout:
            if "resumed at step" in line:
                ready.append(time.monotonic() - began)
            if "steps/s" in line:
                first.append(time.monotonic() - began)
                break
        process.terminate()
        process.communicate()
        assert len(first) == number + 1
    return (
        f"{count} resumes of Breakout with 8 workers: goes on after {statistics.median(ready):.1f} s (median), "
        f"{max(ready):.1f} s (longest); the first update is done after {statistics.median(first):.1f} s"
    )


LOST_CHECKPOINT_SECONDS = 10.0


def lost(directory: Path, count: int) -> str:
    """Kill Breakout runs at random moments, and end some by SIGTERM: how much training no checkpoint has."""
    rng = random.Random(1)
    seconds: list[float] = []
    for number, kill in enumerate([signal.SIGKILL] * count + [signal.SIGTERM] * 2):
        place = directory / str(number)
        place.mkdir()
        run = LiveRun(place, "--preset", "breakout", "--set", f"run.checkpoint_seconds={LOST_CHECKPOINT_SECONDS}")
        wait_until((run.run / "checkpoints" / "latest").exists)
        time.sleep(rng.uniform(0.0, LOST_CHECKPOINT_SECONDS))
        ended = time.time()
        run.stop(kill)
        state = read_checkpoint(newest_checkpoint(run.run / "checkpoints")[0]).state
        if kill is signal.SIGTERM:
            last = json.loads((run.run / "metrics.jsonl").read_text().splitlines()[-1])
            assert state.update == last["time/iterations"], "an update was lost after SIGTERM"
        else:
            started = json.loads((run.run / "events.jsonl").read_text().splitlines()[0])["time"]
            seconds.append(ended - started - state.seconds)
    return (
        f"{count} Breakout runs killed at random, a checkpoint at least every {LOST_CHECKPOINT_SECONDS:g} s: "
        f"{statistics.median(seconds):.1f} s (median), {max(seconds):.1f} s (most) of training lost; after SIGTERM none"
    )


SAMPLE_SECONDS = 2.0


def memory(directory: Path, minutes: int) -> str:
    """Let CartPole train, and fit a line to the memory of its own and of its workers, the first third left out."""
    run = LiveRun(directory)
    growth = _growth(run.process.pid, minutes)
    updates = run.updates
    run.stop(signal.SIGTERM)
    return f"{minutes} minutes and {updates:,} updates of CartPole: {growth}"


def _growth(pid: int, minutes: float, between: Callable[[], None] = lambda: time.sleep(SAMPLE_SECONDS)) -> str:
    """The memory of a process and its children over some minutes, in words.

    Args:
        between: called between two samples; by default it waits.
    """
    taken: list[tuple[float, float]] = []
    began = time.monotonic()
    while (elapsed := time.monotonic() - began) < 60 * minutes:
        taken.append((elapsed / 3600, _megabytes(pid)))
        between()
    hours, megabytes = np.array(taken[len(taken) // 3 :]).T
    slope = _slope(hours, megabytes)
    return (
        f"{megabytes.mean():.1f} MB in all processes, growing by {slope:.1f} MB an hour after the first third "
        f"({megabytes[-1] - megabytes[0]:+.2f} MB)"
    )


def _slope(x: np.ndarray, y: np.ndarray) -> float:
    """The slope of Theil and Sen: the median of those between all pairs.

    A line of least squares leans towards a single sample between two collections of garbage.
    """
    first, second = np.triu_indices(len(x), k=1)
    return float(np.median((y[second] - y[first]) / (x[second] - x[first])))


def _family(pid: int) -> list[psutil.Process]:
    return [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]


def _megabytes(pid: int) -> float:
    return sum(process.memory_full_info().uss for process in _family(pid)) / 1e6


PAGES = [
    "?",
    "e",
    "C",
    "A",
    "r",
    "t",
    "a",
    "1\r",
    "2\r",
    "3\r",
    "4\r",
    "5\r",
    "6\r",
    "/x",
    "V",
    "V\r",
    "v",
    "\x10",
    "m",
    "z",
    "o",
]
"""Keys for every page, panel, filter and palette, for one game and for all of them; escape leaves each."""


def pages(directory: Path, minutes: int) -> str:
    """Open every page of the screen of a CartPole run again and again, and fit a line to its memory as above."""
    options = ["--set", "ppo.epochs=2", "--total-steps", "1_000_000_000", "--run-dir", "mine"]
    program = TypedInto("--preset", "cartpole", *options, cwd=directory, size=(120, 40))
    opened = 0

    def open_page() -> None:
        nonlocal opened
        for keys in (PAGES[opened % len(PAGES)].encode(), b"\x1b", b"\x1b"):  # a filter, then its page
            program.type(keys)
            time.sleep(0.2)
            program.catch_up()  # on a busy machine keys would else come to another page, in another order each time
        opened += 1

    try:
        wait_until(lambda: RunDirectory(directory / "mine").read().get("status") == "running")
        growth = _growth(program.process.pid, minutes, open_page)
        assert program.process.poll() is None, program.tail
    finally:
        program.close()
    return f"{minutes} minutes of CartPole behind its screen, {opened} pages opened: {growth}"


WARM_UP = 10
"""Evaluations or screens before the first count: libraries are loaded, and memory is kept for later."""


def _held(run: LiveRun) -> dict[str, int]:
    """Everything that a run could forget to give back."""
    main, *children = _family(run.process.pid)
    return {
        "open files": main.num_fds(),
        "threads": main.num_threads(),
        "processes": len(children),
        "files in its directory": sum("checkpoints" not in path.parts for path in run.run.rglob("*")),
        "private directories": len(list(Path(tempfile.gettempdir()).glob("ppo-tui-*"))),
        "entries of /dev/shm": len(os.listdir("/dev/shm")),
    }


def _leaks(run: LiveRun, before: dict[str, int], megabytes: float) -> str:
    """What has grown since `before`, in words."""
    after = _held(run)
    more = [f"{after[name] - number:+} {name}" for name, number in before.items() if after[name] != number]
    return f"{', '.join(more) or 'no file, thread or process more'}, {_megabytes(run.process.pid) - megabytes:+.1f} MB"


def evaluations(directory: Path, count: int) -> str:
    """Evaluate a CartPole run again and again while it trains."""
    run = LiveRun(directory, "--set", "eval.every=2_000", "--set", "eval.episodes=1", "--set", "eval.max_steps=100")

    def done() -> int:
        return (run.run / "metrics.jsonl").read_bytes().count(b"eval/ep_rew_mean")

    def wait_for(number: int) -> None:
        wait_until(lambda: done() >= number or run.process.poll() is not None, seconds=20.0 * count)
        assert run.process.poll() is None
        wait_until(lambda: len(_family(run.process.pid)) <= processes)  # none under way

    processes = len(run.family)
    wait_for(WARM_UP)
    before, megabytes = _held(run), _megabytes(run.process.pid)
    wait_for(WARM_UP + count)
    leaks = _leaks(run, before, megabytes)
    run.stop(signal.SIGTERM)
    return f"{count} evaluations beside a CartPole run: {leaks}"


def attachments(directory: Path, count: int) -> str:
    """Attach screens to a CartPole run; they leave by keys, by a lost terminal, and by kill -9 in turns."""
    run = LiveRun(directory)

    def attach(number: int) -> None:
        program = TypedInto("attach", "./mine", cwd=directory, module="ppo_tui")
        try:
            wait_until(lambda: b"TRAINING" in program.output or program.process.poll() is not None)
            assert program.process.poll() is None, program.tail
            if number % 3 == 0:
                program.type(b"q")
                wait_until(lambda: b"Detach" in program.output)
                program.type(b"d")
                program.process.wait(timeout=60)
            elif number % 3 == 1:
                os.kill(program.process.pid, signal.SIGHUP)
                program.process.wait(timeout=60)
        finally:
            program.close()

    for number in range(WARM_UP):
        attach(number)
    before, megabytes = _held(run), _megabytes(run.process.pid)
    for number in range(count):
        attach(number)
    time.sleep(SAMPLE_SECONDS)  # the last connection is noticed
    leaks = _leaks(run, before, megabytes)
    run.stop(signal.SIGTERM)
    return f"{count} screens attached to a CartPole run and gone again: {leaks}"


def parents(directory: Path, count: int) -> str:
    """Kill a training process at a random moment; nobody may be left two seconds later."""
    rng = random.Random(1)
    code = (
        "from ppo_tui import Trainer, load_preset\n"
        "trainer = Trainer(load_preset('cartpole', overrides=['workers.count=3']))\n"
        "print('ready', flush=True)\n"
        "trainer.run()"
    )
    before = set(os.listdir("/dev/shm"))
    for _ in range(count):
        process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE)
        process.stdout.readline()
        time.sleep(rng.uniform(0, 0.5))
        family = psutil.Process(process.pid).children(recursive=True)
        assert len(family) >= 4
        process.kill()
        process.communicate()
        assert not still_running(family, seconds=2)
        assert set(os.listdir("/dev/shm")) <= before
    return f"{count} kills of a training process: no process two seconds later, nothing in /dev/shm"


FIGURES = {"recovery": (recovery, 20), "save": (save, 20), "kills": (kills, 1000), "corruptions": (corruptions, 10_000),
           "parents": (parents, 100), "resume": (resume, 5), "lost": (lost, 10), "memory": (memory, 20),
           "pages": (pages, 15), "evaluations": (evaluations, 200), "attachments": (attachments, 200)}  # fmt: skip
"""Each with how often, or how many minutes, it is measured for the documentation."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("figures", nargs="*", choices=list(FIGURES), default=list(FIGURES))
    parser.add_argument("--count", type=int, help="how often, instead of as often as in the documentation")
    arguments = parser.parse_args()
    for name in arguments.figures:
        measure, count = FIGURES[name]
        with tempfile.TemporaryDirectory() as directory:
            assert threading.active_count() == 1, "kills forks"
            print(measure(Path(directory), arguments.count or count), flush=True)


if __name__ == "__main__":
    main()
