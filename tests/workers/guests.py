"""Environments that do to their process what no guest should, registered on import."""

from __future__ import annotations

import atexit
import contextlib
import itertools
import locale
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
import warnings

import gymnasium
import numpy as np
from gymnasium import spaces

from tests.faults.envs import write_into_pipe


class Guest(gymnasium.Env):
    """A small environment that does `what` in its constructor, its reset, or when it is closed."""

    metadata = {"render_modes": []}  # noqa: RUF012, as Gymnasium's own environments declare it

    def __init__(self, what: str = "nothing", when: str = "made") -> None:
        self.observation_space, self.action_space = spaces.Box(-1, 1, (2,), np.float32), spaces.Discrete(2)
        self._what, self._when = what, when
        self._do("made")

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._do("reset")
        self._left = 5
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self._do("step")
        self._left -= 1
        return np.zeros(2, np.float32), 1.0, self._left == 0, False, {}

    def close(self):
        self._do("closed")

    def _do(self, now: str) -> None:
        if now == self._when:
            DEEDS[self._what]()


class Unlucky(Guest):
    """Does `what` at the time number `number`, counted over all processes with the directory `place`."""

    def __init__(self, what: str, when: str, place: str, number: int = 0) -> None:
        self._place, self._number = place, number
        super().__init__(what, when)

    def _do(self, now: str) -> None:
        if now == self._when and self._count() == self._number:
            super()._do(now)

    def _count(self) -> int:
        for number in itertools.count():
            with contextlib.suppress(FileExistsError):
                os.close(os.open(f"{self._place}/{number}", os.O_CREAT | os.O_EXCL))
                return number
        raise AssertionError


class Parent(Guest):
    """Has a forked process and a program."""

    def __init__(self) -> None:
        super().__init__()
        self._forked = multiprocessing.get_context("fork").Process(target=time.sleep, args=(3600,))
        self._forked.start()
        self._program = subprocess.Popen(["sleep", "3600"])

    def end_children(self) -> list[int | None]:
        self._forked.terminate()
        self._forked.join(30)
        self._program.terminate()
        return [self._forked.exitcode, self._program.wait(30)]

    def fork_and_end_at_once(self, times: int) -> list[int | None]:
        codes = []
        for _ in range(times):
            process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(5,))
            process.start()
            process.terminate()
            process.join(30)
            codes.append(process.exitcode)
        return codes


class OwnBox(spaces.Box):
    """A space that would run code where it is unpickled."""

    def __reduce__(self):
        return os._exit, (9,)

    def __deepcopy__(self, memo):
        return self


class OwnSpaces(Guest):
    """Has a space of its own class."""

    def __init__(self) -> None:
        super().__init__()
        self.observation_space = OwnBox(-1, 1, (2,), np.float32)


def _change_everything() -> None:
    os.chdir("/")
    os.environ.update(CUDA_VISIBLE_DEVICES="7", GUEST="was here")
    sys.path.insert(0, "/guest")
    warnings.simplefilter("error")
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGUSR1, lambda *_: os._exit(1))
    locale.setlocale(locale.LC_ALL, "C")
    random.seed(0)
    np.random.seed(0)
    np.seterr(all="raise")
    atexit.register(os._exit, 11)
    os.umask(0o777)
    sys.setrecursionlimit(200)
    print("a guest on stdout")
    os.write(2, b"a guest on stderr\n")


def _set_torch() -> None:
    import torch

    torch.set_default_dtype(torch.float64)
    torch.set_grad_enabled(False)
    torch.set_default_device("meta")


def _hang() -> None:
    print("connecting to the simulator", flush=True)
    time.sleep(3600)


def _speak_and_crash() -> None:
    print("loading the simulator")
    print("cannot open display \x1b[31m:0", file=sys.stderr)
    os.kill(os.getpid(), signal.SIGSEGV)


def _thread() -> None:
    threading.Thread(target=time.sleep, args=(3600,)).start()


def _processes() -> None:
    multiprocessing.get_context("fork").Process(target=time.sleep, args=(3600,)).start()
    multiprocessing.get_context("spawn").Process(target=time.sleep, args=(3600,)).start()
    subprocess.Popen(["sleep", "3600"])


def _raise(error: BaseException):
    def do() -> None:
        raise error

    return do


DEEDS = {
    "nothing": lambda: None,
    "change everything": _change_everything,
    "hang": _hang,
    "crash": _speak_and_crash,
    "abort": os.abort,
    "exit": lambda: os._exit(0),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "stop": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "garbage": lambda: write_into_pipe("garbage"),
    "huge": lambda: write_into_pipe("huge"),
    "raise SystemExit": _raise(SystemExit("no licence")),
    "raise KeyboardInterrupt": _raise(KeyboardInterrupt()),
    "raise MemoryError": _raise(MemoryError()),
    "raise": _raise(RuntimeError("close twice")),
    "PyTorch": _set_torch,
    "thread": _thread,
    "processes": _processes,
}

gymnasium.register("Guest-v0", entry_point=Guest)
gymnasium.register("Unlucky-v0", entry_point=Unlucky)
gymnasium.register("OwnSpaces-v0", entry_point=OwnSpaces)
