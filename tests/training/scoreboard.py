"""An environment whose games are of very different lengths, for the tests of evaluation."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

LONG = 90


class Lottery(gymnasium.Env):
    """One game in three takes `LONG` steps, the others one; each step is worth 1, and observes the game's seed."""

    observation_space = spaces.Box(0.0, 1.0, (1,), np.float32)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        draw = self.np_random.random()
        self._left = LONG if draw < 1 / 3 else 1
        return np.array([draw], np.float32), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        self._left -= 1
        return np.zeros(1, np.float32), 1.0, self._left == 0, False, {}


gymnasium.register("Lottery-v0", Lottery)
