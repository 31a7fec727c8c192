"""Environments whose observations have parts of every kind, each needed to act right."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, Text, Tuple

SIDE = 36
LENGTH = 16


class Parts(gymnasium.Env):
    """Reward 1 for the action that camera, speed and mode agree on.

    The side of the camera's light is one bit of the action, the sign of the speed, turned round in the second mode,
    the other. Whoever sees one part less is right half the time.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012
    observation_space = Dict(
        {
            "camera": Box(0, 255, (SIDE, SIDE, 1), np.uint8),
            "speed": Box(-10, 10, (2,), np.float64),
            "mode": Discrete(2, start=1),
            "hint": Text(20),
        }
    )
    action_space = Discrete(4)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self._observe(), {}

    def _observe(self):
        light, forward, mode = self.np_random.integers(0, 2, 3)
        camera = np.zeros((SIDE, SIDE, 1), np.uint8)
        camera[:, light * SIDE // 2 : (light + 1) * SIDE // 2] = 255
        speed = np.array([(2 * forward - 1) * self.np_random.uniform(2, 8), self.np_random.uniform(-8, 8)])
        self.right = 2 * light + (forward ^ mode)
        return {"camera": camera, "speed": speed, "mode": mode + 1, "hint": "light, speed, mode"}

    def step(self, action):
        reward = float(action == self.right)
        self.t += 1
        return self._observe(), reward, False, self.t == LENGTH, {}


class Nested(Parts):
    """Two images and an action mask, in a Dict of Dict and Tuple."""

    observation_space = Dict(
        {
            "action_mask": MultiBinary(4),
            "eyes": Tuple([Box(0, 255, (40, 36), np.uint8), Box(0, 255, (3, 36, 44), np.uint8)]),
            "body": Dict(
                {"speed": Box(-1, 1, (1, 2)), "grid": Box(0, 255, (3, 3, 3), np.uint8), "flags": MultiBinary(2)}
            ),
        }
    )

    def _observe(self):
        self.observation_space.seed(int(self.np_random.integers(1 << 30)))
        self.right = 3
        return {**self.observation_space.sample(), "action_mask": np.array([0, 1, 1, 1], np.int8)}


class Broken(Parts):
    """A speed that is not finite in the third step of each episode."""

    def _observe(self):
        observation = super()._observe()
        if self.t == 3:
            observation["speed"][1] = np.nan
        return observation


for kind in (Parts, Nested, Broken):
    gymnasium.register(f"{kind.__name__}-v0", entry_point=kind)
