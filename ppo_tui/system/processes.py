"""Processes: their start, their turns, their end with the parent."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from .choice import Choice
from .library import c_function

_LOOK_SECONDS = 0.5
"""Interval at which a process looks for its parent, where the kernel tells nothing of its end."""


def own_command(module: str, *arguments: str) -> list[str]:
    """The command line of another process of this program.

    Unless this one does, it takes no module from the working directory, where a stray ``numpy.py`` may lie.
    """
    here = ""
    with contextlib.suppress(OSError):  # the directory may be gone
        here = os.getcwd()
    return [sys.executable, *(() if {here, ""} & {*sys.path} else ("-P",)), "-m", module, *arguments]


def has_fork_server() -> bool:
    """Whether workers are forked from a server process, else spawned.

    macOS has one, but its own libraries, NumPy's among them, do not survive a fork: Python itself spawns there.
    """
    return "forkserver" in multiprocessing.get_all_start_methods() and sys.platform != "darwin"


def signal_when_parent_dies(number: signal.Signals) -> bool:
    """Send this process a signal when its parent dies (Linux: PR_SET_PDEATHSIG)."""
    pr_set_pdeathsig = 1  # linux/prctl.h
    prctl = c_function("prctl") if sys.platform == "linux" else None
    return prctl is not None and prctl(pr_set_pdeathsig, int(number)) == 0


def when_process_ends(pid: int, act: Callable[[], object]) -> None:
    """Call `act` in a thread when this process's parent, `pid`, ends.

    At once where it has ended already. The kernel tells of it (Linux: pidfd), or the parent's number changes.
    """
    try:
        parent = os.pidfd_open(pid) if os.getppid() == pid else None
    except (AttributeError, OSError):  # not on Linux, or it has ended meanwhile
        parent = None

    def watch() -> None:
        if parent is not None:
            select.select([parent], [], [])
        while os.getppid() == pid:
            time.sleep(_LOOK_SECONDS)
        act()

    threading.Thread(target=watch, name="parent", daemon=True).start()


def is_stopped(pid: int) -> bool:
    """Whether a process is stopped, as by SIGSTOP."""
    import psutil

    with contextlib.suppress(psutil.Error):
        return psutil.Process(pid).status() == psutil.STATUS_STOPPED
    return False


def core_seconds_if_ready(pid: int) -> float | None:
    """Seconds on a core so far of a process ready to run.

    None of one that waits for anything but a core, and where the system does not tell.
    """
    with contextlib.suppress(OSError, ValueError, IndexError):
        state, *numbers = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        if state == "R":
            return (int(numbers[10]) + int(numbers[11])) / os.sysconf("SC_CLK_TCK")
    return None


class CoreWaits:
    """The time of processes ready to run, but without a core.

    On a busy machine they are slow, and do not hang.
    """

    def __init__(self) -> None:
        self._on_core: dict[int, float] = {}

    def within(self, pid: int, seconds: float) -> float:
        """The wait for a core in the last `seconds`.

        0 at the first look, and of a process that is not ready to run at both ends of that time.
        """
        before, now = self._on_core.pop(pid, None), core_seconds_if_ready(pid)
        if now is None:
            return 0.0
        self._on_core[pid] = now
        return 0.0 if before is None else max(0.0, seconds - (now - before))


def family(pid: int) -> list[int]:
    """Pids of a process and all its descendants."""
    import psutil

    with contextlib.suppress(psutil.Error):
        return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    return []


def children() -> list[int]:
    """Pids of this process's children."""
    with contextlib.suppress(OSError):
        return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]
    import psutil

    with contextlib.suppress(psutil.Error):
        return [child.pid for child in psutil.Process().children()]
    return []


def pid_in_own_namespace(pid: int) -> int | None:
    """Pid of a process in its own namespace, as in a container."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path(f"/proc/{pid}/status").read_text("utf-8", "replace").splitlines():
            if line.startswith("NSpid:"):
                return int(line.split()[-1])
    return None


def wait_for_free_core() -> None:
    """Let this process wait for a free core instead of preempting others.

    Its share of the processor stays the same. See `man 7 sched`, SCHED_BATCH; Linux alone has it.
    """
    if hasattr(os, "SCHED_BATCH"):
        with contextlib.suppress(OSError):  # a container may forbid it
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def choices() -> list[Choice]:
    """The means in use for processes."""
    forks = has_fork_server()
    tells = sys.platform == "linux" and c_function("prctl") is not None
    looks = "a worker looks for its parent twice a second"
    return [
        Choice("start of workers", "fork server")
        if forks
        else Choice("start of workers", "spawn", "each worker loads Python and its packages anew"),
        Choice("end with the parent", "prctl")
        if tells
        else Choice("end with the parent", looks, "an environment that hangs in C code can outlive a killed run"),
        Choice("a worker without a core", "/proc/PID/stat")
        if Path("/proc/self/stat").exists()
        else Choice("a worker without a core", "not known", "under heavy load it counts as hung"),
        Choice("turns of workers", "SCHED_BATCH")
        if hasattr(os, "SCHED_BATCH")
        else Choice("turns of workers", "the system's own scheduling", "workers may preempt the learner"),
    ]
