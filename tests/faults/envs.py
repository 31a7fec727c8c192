"""A CartPole that misbehaves on demand, registered on import so that workers find it too."""

from __future__ import annotations

import os
import signal
import socket
import stat
import struct
import time
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.classic_control import CartPoleEnv


class FaultyCartPole(CartPoleEnv):
    """Does `what` in the step after `at` steps of its life, or, with `chance`, in any step by its own random numbers.

    Args:
        flag: a file; where it exists nothing happens, and it is created when something does, so that a fault that
            is replayed happens once. None: it happens every time.
        ends: a directory; while there are files in it, the constructor removes one and ends its process.

    Attributes:
        seconds: of a core that each step takes.
    """

    def __init__(
        self,
        what: str = "nothing",
        at: int | None = None,
        chance: float = 0.0,
        flag: str | None = None,
        ends: str | None = None,
    ) -> None:
        super().__init__()
        for end in Path(ends).iterdir() if ends else ():
            end.unlink()
            os._exit(7)
        self.what, self.at, self.chance, self.flag = what, at, chance, flag
        self.life = 0
        self.seconds = 0.0

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.life += 1
        done = time.process_time() + self.seconds
        while time.process_time() < done:
            pass
        result = super().step(action)
        due = self.life == self.at or (self.chance and self.np_random.random() < self.chance)
        return self._misbehave(result) if due and self._claim() else result

    def _claim(self) -> bool:
        if self.flag is None:
            return True
        try:
            os.close(os.open(self.flag, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        return True

    def _misbehave(self, result: tuple) -> tuple:
        observation, reward, *rest = result
        match self.what:
            case "raise":
                raise ValueError("the pole broke")
            case "leave":
                raise SystemExit("no licence")
            case "interrupt":
                raise KeyboardInterrupt
            case "child leaves" | "child raises":
                if (child := os.fork()) == 0:
                    raise SystemExit if self.what == "child leaves" else ValueError("the child broke")
                os.waitpid(child, 0)
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "exit":
                os._exit(7)
            case "segfault":
                os.kill(os.getpid(), signal.SIGSEGV)
            case "hang":
                time.sleep(3600)
            case "stop":
                os.kill(os.getpid(), signal.SIGSTOP)
            case "nan reward":
                reward = float("nan")
            case "inf observation":
                observation = np.array([0.0, np.inf, 0.0, 0.0], np.float32)
            case "wrong shape":
                observation = observation[:1]
            case "garbage" | "huge" | "cut" | "twice":
                write_into_pipe(self.what)
        return observation, reward, *rest


def write_into_pipe(what: str) -> None:
    """Write to whatever socket this process has, as a library that mistakes its descriptors would."""
    message = {
        "garbage": b"libGL error: failed to load driver: swrast\n",
        "huge": struct.pack("!i", 2**31 - 1),
        "cut": struct.pack("!i", 100) + b"half",
        "twice": struct.pack("!i", 1) + b"\x02" + struct.pack("!i", 1) + b"\x02",
    }[what]
    for name in Path("/proc/self/fd").iterdir():
        descriptor = int(name.name)
        try:
            if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                with socket.socket(fileno=os.dup(descriptor)) as pipe:
                    if pipe.family == socket.AF_UNIX and pipe.type == socket.SOCK_STREAM:
                        os.write(descriptor, message)
        except OSError:  # closed meanwhile, or not for writing
            continue
    time.sleep(0.2)  # so that the parent reads it before the step's own reply, which would complete a cut message


gymnasium.register("FaultyCartPole-v0", entry_point=FaultyCartPole, max_episode_steps=500)
