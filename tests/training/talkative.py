"""Registers environments with numbers in their infos."""

from __future__ import annotations

import os
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete


class Talkative(gymnasium.Env):
    """Episodes of ten steps, with numbers of all kinds in every info.

    Args:
        many: further numbers in every step.
        clock: a number that is another one in each process, as a clock would give.
    """

    def __init__(self, many: int = 0, clock: bool = False) -> None:
        self.observation_space = Box(-1.0, 1.0, (2,), np.float32)
        self.action_space = Discrete(2)
        self._many, self._clock = many, clock
        self._step = 0

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self._step = 0
        return np.zeros(2, np.float32), {"at_reset": 5.0}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self._step += 1
        ended, noise = self._step == 10, self.np_random.random()
        info: dict[str, Any] = {
            "step": self._step,
            "reward": {"forward": float(action), "ctrl": np.float32(-noise)},
            "position": np.array([noise, 2.0]),
            "odd [red]name": True,
            "nothing": float("nan"),
            "frame_number": 3,
            "text": "a text",
            **{f"number_{index:02}": index for index in range(self._many)},
        }
        if self._step % 4 == 0:
            info["now_and_then"] = np.int64(self._step)
        if self._clock:
            info["clock"] = os.getpid()
        if ended:
            info["is_success"] = bool(action)
        return np.full(2, noise, np.float32), float(action), ended, False, info


gymnasium.register("Talkative-v0", Talkative)
