"""One run on two hosts: two network namespaces with a cable.

Each has a directory of its own.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from ppo_tui.protocol import Alarm, RunFinished, RunResumed, RunStarted, UpdateFinished
from tests.distributed.test_training import ENVIRONMENT, events_of

pytestmark = pytest.mark.slow

ADDRESSES = ("10.77.0.1", "10.77.0.2")


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


@pytest.fixture
def hosts() -> Iterator[list[str]]:
    """The names of two namespaces with one connection, to each other."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root, and ip (apt-get install iproute2)")
    names = [f"ppo-tui-{os.getpid()}-{host}" for host in range(2)]
    try:
        try:
            for name in names:
                ip("netns", "add", name)
            cable = ("link", "add", "cable0", "netns", names[0], "type", "veth", "peer", "name", "cable1")
            ip(*cable, "netns", names[1])
        except subprocess.CalledProcessError as error:
            pytest.skip(f"no network namespaces here: {error.stderr.strip()}")
        for host, name in enumerate(names):
            ip("-n", name, "address", "add", f"{ADDRESSES[host]}/24", "dev", f"cable{host}")
            for link in (f"cable{host}", "lo"):
                ip("-n", name, "link", "set", link, "up")
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True)


@contextlib.contextmanager
def torchrun_on(host: int, name: str, directory: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """One rank on this host, restarting with the other."""
    directory.mkdir()
    nodes = ("--nnodes", "2", "--nproc-per-node", "1", "--max-restarts", "3")
    meeting = ("--rdzv-backend", "c10d", "--rdzv-id", "two-hosts", "--rdzv-endpoint", f"{ADDRESSES[0]}:29477")
    is_host = f"is_host={int(host == 0)}"  # which it tells by its name, and both have the same one
    train = ("-m", "ppo_tui", "--preset", "cartpole", "--headless", "--log-format", "json")
    torchrun = ("ip", "netns", "exec", name, sys.executable, "-m", "torch.distributed.run")
    process = subprocess.Popen(
        [*torchrun, *nodes, *meeting, "--rdzv-conf", is_host, "--local-addr", ADDRESSES[host], *train, *arguments],
        cwd=directory,
        env={**ENVIRONMENT, "GLOO_SOCKET_IFNAME": f"cable{host}"},
        stdout=subprocess.PIPE,
        stderr=(directory / "errors").open("w"),
        text=True,
    )
    watchdog = threading.Timer(600, process.kill)
    watchdog.start()
    try:
        yield process
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in (*psutil.Process(process.pid).children(recursive=True), process):
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
        process.wait()
        watchdog.cancel()


def test_two_hosts_solve_cartpole_although_a_rank_of_one_is_killed(hosts, tmp_path):
    arguments = ("--seed", "1", "--set", "run.checkpoint_seconds=1")
    first, second = tmp_path / "first", tmp_path / "second"
    with (
        torchrun_on(0, hosts[0], first, *arguments) as one,
        torchrun_on(1, hosts[1], second, *arguments) as other,
    ):
        # Which of them has rank 0 is settled when they meet: it prints.
        saved = threading.Event()

        def listen(process: subprocess.Popen[str]) -> None:
            for line in process.stdout:
                if '"event":"checkpoint"' in line:
                    saved.set()

        listeners = [threading.Thread(target=listen, args=(process,)) for process in (one, other)]
        for listener in listeners:
            listener.start()
        assert saved.wait(120), (first / "errors").read_text() + (second / "errors").read_text()
        (rank,) = [child for child in psutil.Process(other.pid).children() if "RANK" in child.environ()]
        rank.kill()
        for listener in listeners:
            listener.join()
        codes = [process.wait() for process in (one, other)]
    assert codes == [0, 0], (first / "errors").read_text() + (second / "errors").read_text()
    (run,) = [run for host in (first, second) if (host / "runs").exists() for run in (host / "runs").iterdir()]
    begun = events_of(run, RunStarted)[0]
    assert begun.env_slices[0][0] == 0
    assert (4, begun.env_slices[-1][1]) == (begun.env_slices[begun.num_workers // 2][0], 8)
    (resumed,) = events_of(run, RunResumed)
    assert f"restart 1/3 from update {resumed.update:,}" in [event.message for event in events_of(run, Alarm)]
    assert events_of(run, RunFinished)[-1].exit_code == 0
    assert events_of(run, UpdateFinished)[-1].metrics["rollout/ep_rew_mean"] >= 475
