"""Environments and networks for ill runs, registered when imported."""

from __future__ import annotations

import time

import gymnasium
import numpy as np
import torch
from gymnasium.envs.classic_control import CartPoleEnv
from gymnasium.spaces import Box
from torch import nn


class _Noise(gymnasium.Env):
    """Random observations, in episodes of 20 steps."""

    def __init__(self) -> None:
        self.observation_space = gymnasium.spaces.Box(-10.0, 10.0, (4,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(2)
        self.step_number = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.step_number = 0
        return self._observe(), {}

    def _observe(self) -> np.ndarray:
        return self.np_random.normal(size=4).astype(np.float32)

    def step(self, action: int):
        self.step_number += 1
        ended = self.step_number == 20
        return self._observe(), self._reward(int(action), ended), ended, False, {}

    def _reward(self, action: int, ended: bool) -> float:
        raise NotImplementedError


class Constant(_Noise):
    """Each step earns 1, with any action."""

    def _reward(self, action: int, ended: bool) -> float:
        return 1.0


class Bait(_Noise):
    """Action 0 earns 1 now and costs 1 a step later.

    A policy that always takes it gains nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.taken = 0

    def _reward(self, action: int, ended: bool) -> float:
        before, self.taken = (self.taken if self.step_number > 1 else 0), int(action == 0)
        return self.taken - before + (self.np_random.normal() if ended else 0.0)


class Slow(CartPoleEnv):
    """Steps of 50 milliseconds."""

    def step(self, action):
        time.sleep(0.05)
        return super().step(action)


class Biased(CartPoleEnv):
    """A sensor with a large offset."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.observation_space = Box(-np.inf, np.inf, (4,), np.float32)

    def reset(self, **kwargs):
        observation, info = super().reset(**kwargs)
        return observation + np.float32(1000.0), info

    def step(self, action):
        observation, reward, terminated, truncated, info = super().step(action)
        return observation + np.float32(1000.0), reward, terminated, truncated, info


class Dropout(nn.Module):
    """A network with dropout: another output each time."""

    num_features = 16

    def __init__(self, observation_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(observation_shape[0], 16), nn.Tanh(), nn.Dropout(0.5))

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        return 10.0 * self.layers(observations)


class Leaving(Dropout):
    """A network that ends Python once it learns."""

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled():
            raise SystemExit(0)
        return super().forward(observations)


for _env in (Constant, Bait, Slow, Biased):
    gymnasium.register(f"{_env.__name__}-v0", entry_point=f"{__name__}:{_env.__name__}", max_episode_steps=500)
