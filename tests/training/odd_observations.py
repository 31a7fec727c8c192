"""Registers environments with observations that do not fit their spaces."""

from __future__ import annotations

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary


class Odd(gymnasium.Env):
    """Episodes of five steps; a seed decides by how much observations are off."""

    metadata = {"render_modes": []}  # noqa: RUF012
    observation_space = Box(-1, 1, (2,))
    action_space = Discrete(3)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._steps = 0
        return self.observe(), {}

    def step(self, action):
        self._steps += 1
        return self.observe(), 1.0, self._steps == 5, False, {}

    def observe(self):
        return np.array([0.0, 2.0 + self.np_random.random()], np.float32)


class Floats(Odd):
    """A picture of bytes, until the third step gives floats."""

    observation_space = Box(0, 255, (4, 4), np.uint8)

    def observe(self):
        return np.full((4, 4), 0.9, np.float32) if self._steps == 3 else np.zeros((4, 4), np.uint8)


class MaskWithin(Odd):
    """The mask, within the observation, allows two actions; the third one raises."""

    observation_space = Dict(observation=Box(0, 1, (1,)), action_mask=MultiBinary(3))

    def observe(self):
        mask = np.ones(3, np.int8)
        mask[self._steps % 3] = 0
        return {"observation": np.zeros(1, np.float32), "action_mask": mask}

    def step(self, action):
        assert action.item() != self._steps % 3
        return super().step(action)


for kind in (Odd, Floats, MaskWithin):
    gymnasium.register(f"{kind.__name__}-v0", entry_point=kind)
