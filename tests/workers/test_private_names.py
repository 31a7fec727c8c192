"""A pool steps, replaces a worker and ends without any private name of multiprocessing and without prctl."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import psutil
import pytest

from tests.conftest import ROOT, linux_alone
from tests.waiting import still_running

PARENT = """
    import os, signal
    import tests.workers.public_names
    from ppo_tui.errors import WorkerFailedError
    from ppo_tui.workers import WorkerPool
    from tests.workers.envs import Counter

    def counter():
        import tests.workers.public_names  # where no fork server has

        return Counter()

    pool = WorkerPool([counter, counter], num_workers=2, preload=["tests.workers.public_names"])
    pool.reset(seed=0)
    print(*set(pool.get_attr("missing")), pool.step([0, 0])[0][:, 0].astype(int).tolist(), sep=";", flush=True)
    os.kill(pool.workers[1].process.pid, signal.SIGKILL)
    try:
        pool.step([0, 0])
    except WorkerFailedError as error:
        print(error.causes, flush=True)
    pool.replace(1).reset([0], 0, [True])
    print(pool.step([0, 0])[0][:, 0].astype(int).tolist(), flush=True)
    print(*[worker.process.pid for worker in pool.workers], flush=True)
"""


def start(name: str, end: str) -> tuple[subprocess.Popen, list[psutil.Process]]:
    """A parent that has stepped and replaced a worker without `name`, and its workers with their server.

    It runs `end` after a line on its stdin.
    """
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PARENT) + "input()\n" + textwrap.dedent(end)],
        cwd=ROOT,
        env={**os.environ, "MISSING": name},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    lines = [parent.stdout.readline().strip() for _ in range(4)]
    assert lines[:3] == [f"{name};[1, 1]", "{1: 'killed (SIGKILL)'}", "[3, 1]"]
    workers = [psutil.Process(int(pid)) for pid in lines[3].split()]
    return parent, [*workers, workers[0].parent()]


names = pytest.mark.parametrize(
    "name", ["_forkserver", "_forkserver_pid", "_forkserver_alive_fd", "Connection", "prctl"]
)


@names
def test_a_pool_steps_replaces_a_worker_and_closes(name: str):
    parent, family = start(name, "pool.close()")
    parent.communicate("\n", timeout=30)
    assert parent.returncode == 0
    assert not still_running(family, seconds=5)


@linux_alone
def test_a_fork_server_that_can_be_neither_reached_nor_killed_costs_the_worker():
    """Its socket is a temporary file. With the pid the server would be replaced: see tests/faults/test_workers.py."""
    unreachable = """
    from multiprocessing import forkserver
    from ppo_tui.errors import WorkerError
    os.unlink(forkserver._forkserver._forkserver_address)
    try:
        pool.replace(1)
    except WorkerError as error:
        print(error, flush=True)
    pool.close()
    """
    parent, family = start("_forkserver_pid", unreachable)
    output, _ = parent.communicate("\n", timeout=30)
    assert output.startswith("worker 1 could not be started: ")
    assert parent.returncode == 0
    assert not still_running(family, seconds=5)


@names
def test_workers_end_with_a_killed_parent(name: str):
    parent, family = start(name, "")
    parent.kill()
    parent.communicate()
    assert not still_running(family, seconds=5)


def test_private_names_of_multiprocessing_stand_in_one_file():
    for file in (ROOT / "ppo_tui").rglob("*.py"):
        private = "_forkserver" in file.read_text("utf-8").replace("_fork_server", "")
        assert not private or file.name == "process.py", file
