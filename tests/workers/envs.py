"""Environments that misbehave or record, for the pool's tests."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces


class Counter(gymnasium.Env):
    """Observes how many steps were taken, the last action and its seed; ends after `length` steps."""

    observation_space = spaces.Box(-np.inf, np.inf, (3,), np.float64)
    action_space = spaces.Discrete(5, start=-1)

    def __init__(self, length: int = 7, truncate: bool = False) -> None:
        self.length, self.truncate = length, truncate
        self.label = "counter"
        self._seed = -1

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self._seed = self._seed if seed is None else seed
        self._count = 0
        return np.array([0.0, -9.0, self._seed]), {"fresh": True, "options": options}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        self._count += 1
        over = self._count == self.length
        info = {"episode": {"r": 2.5 * self._count, "l": self._count}} if over else {}
        observation = np.array([self._count, action, self._seed], dtype=np.float64)
        return observation, 2.5, over and not self.truncate, over and self.truncate, info

    def render(self) -> np.ndarray:
        return np.full((2, 2, 3), self._count, dtype=np.uint8)

    def add(self, number: int, *, twice: bool = False) -> int:
        return self._count + number * (2 if twice else 1)


class Alarming(Counter):
    """Leaves a handler of SIGALRM that raises `error`."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self._error = error
        signal.signal(signal.SIGALRM, self._ring)

    def _ring(self, *_: object) -> None:
        raise self._error


class Misbehaving(Counter):
    """Does `what` at step `at`."""

    def __init__(self, what: str, at: int = 3) -> None:
        super().__init__(length=100)
        self.what, self.at = what, at

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        result = super().step(action)
        if self._count == self.at:
            if self.what == "raise":
                raise ValueError("the ball left the table")
            if self.what == "leave":
                raise SystemExit("out of balls")
            if self.what == "exit":
                os._exit(7)
            if self.what == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.what == "hang":
                time.sleep(3600)
            if self.what == "print":
                print("on stdout", flush=True)
                os.write(2, b"on stderr\n")
                print("unflushed", file=sys.stdout)
        return result
