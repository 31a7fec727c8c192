"""An environment that prints, raises and reports what steers a terminal."""

from __future__ import annotations

import sys

import gymnasium
from gymnasium.envs.classic_control import CartPoleEnv

from tests.faults.hostile import ESCAPES


class HostileCartPole(CartPoleEnv):
    """CartPole whose every hundredth step fails with a hostile message."""

    steps_done = 0

    def step(self, action):
        self.steps_done += 1
        if self.steps_done % 100 == 0:
            print(ESCAPES, file=sys.stderr)
            raise ValueError(ESCAPES)
        return super().step(action)


gymnasium.register("Hostile-v0", HostileCartPole, max_episode_steps=50)
