"""Environments with spaces of every kind, registered for worker processes."""

from __future__ import annotations

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple


class Spaces(gymnasium.Env):
    """Observes samples of its space; every action has to be a member of the other."""

    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(self, name: str) -> None:
        self.observation_space, self.action_space = SPACES[name]
        self.observed = None

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        return self._observe(), {}

    def _observe(self):
        observation = self.observation_space.sample()
        if isinstance(observation, dict):
            observation["action_mask"][0] = 1  # a mask allows something
        self.observed = observation
        return observation

    def step(self, action):
        assert self.action_space.contains(action), repr(action)
        return self._observe(), 1.0, bool(self.np_random.random() < 0.1), False, {}


SPACES = {
    "start": (Box(-1, 1, (2,)), Discrete(3, start=-1)),
    "starts": (Box(-1, 1, (2, 2), np.float64), MultiDiscrete([[2, 3]], dtype=np.int32, start=[[5, -2]])),
    "scalar": (Box(-1, 1, ()), Box(-1, 1, ())),
    "doubles": (Discrete(4, start=2), Box(np.array([-0.1, 0.0]), np.array([0.1, np.inf]), dtype=np.float64)),
    "image": (Box(0, 255, (40, 48, 3), np.uint8), MultiBinary([2, 2])),
    "board": (Box(0, 1, (4, 4), np.uint8), Discrete(2)),
    "dict": (
        Dict(
            {
                "b": MultiDiscrete([2, 3], start=[1, -1]),
                "a": Tuple([Discrete(3, start=-1), Box(-1, 1, (2, 2)), Box(0, 9, (), np.int8)]),
                "action_mask": MultiBinary(4),
            }
        ),
        Discrete(4, start=1),
    ),
}
"""Name → spaces of observations and actions. The masks of the Dict are random."""

gymnasium.register("Spaces-v0", entry_point=Spaces)
