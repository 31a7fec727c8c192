"""Environments that nothing good can be learnt from, registered on import so that workers find them, and a network."""

from __future__ import annotations

import time

import gymnasium
import numpy as np
import torch
from gymnasium.envs.classic_control import CartPoleEnv
from torch import nn


class _Noise(gymnasium.Env):
    """Random observations, in games of 20 steps."""

    observation_space = gymnasium.spaces.Box(-10.0, 10.0, (4,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.step_number = 0
        return self._look(), {}

    def _look(self) -> np.ndarray:
        return self.np_random.normal(size=4).astype(np.float32)

    def step(self, action: int):
        self.step_number += 1
        ended = self.step_number == 20
        return self._look(), self._reward(int(action), ended), ended, False, {}

    def _reward(self, action: int, ended: bool) -> float:
        raise NotImplementedError


class Constant(_Noise):
    """Whatever is done, each step earns 1."""

    def _reward(self, action: int, ended: bool) -> float:
        return 1.0


class Bait(_Noise):
    """Action 0 earns 1 at once and costs as much a step later: a policy that always takes it gains nothing."""

    def _reward(self, action: int, ended: bool) -> float:
        before, self.taken = (self.taken if self.step_number > 1 else 0), int(action == 0)
        return self.taken - before + (self.np_random.normal() if ended else 0.0)


class Slow(CartPoleEnv):
    """A step takes its time."""

    def step(self, action: int):
        time.sleep(0.05)
        return super().step(action)


class Biased(CartPoleEnv):
    """A sensor whose numbers are all large ones."""

    def reset(self, **kwargs):
        observation, info = super().reset(**kwargs)
        return observation + np.float32(1000.0), info

    def step(self, action: int):
        observation, *rest = super().step(action)
        return observation + np.float32(1000.0), *rest


class Dropout(nn.Module):
    """A network that computes something else each time."""

    num_features = 16

    def __init__(self, observation_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(observation_shape[0], 16), nn.Tanh(), nn.Dropout(0.5))

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        return 10.0 * self.layers(observations)


for _env in (Constant, Bait, Slow, Biased):
    gymnasium.register(f"{_env.__name__}-v0", entry_point=_env, max_episode_steps=500)
