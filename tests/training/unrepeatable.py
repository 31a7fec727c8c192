"""An environment that nobody can restore, registered on import so that workers find it too."""

from __future__ import annotations

import gymnasium
import numpy as np


class Unrepeatable(gymnasium.Env):
    """Draws from a generator of its own, which nobody can put back."""

    observation_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        return self._draw(), {}

    def step(self, action):
        return self._draw(), 1.0, False, False, {}

    def _draw(self) -> np.ndarray:
        return np.random.default_rng().uniform(-1, 1, 2).astype(np.float32)


gymnasium.register("Unrepeatable-v0", entry_point=Unrepeatable, max_episode_steps=20)
