"""Environments whose episodes depend on more than their reset, each in its own way."""

from __future__ import annotations

import itertools
import random

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete


class Short(gymnasium.Env):
    """Episodes of 5 steps; `look` is the observation."""

    def __init__(self) -> None:
        self.observation_space = Box(-np.inf, np.inf, (3,), np.float64)
        self.action_space = Discrete(2)
        self.time = 0

    def look(self) -> np.ndarray:
        return np.array([self.time, self.np_random.random(), 0.0])

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return self.look(), {}

    def step(self, action):
        self.time += 1
        return self.look(), float(action), self.time == 5, False, {}


class DrawsFromGlobals(Short):
    """Draws from every generator that it shares with the process, from the start."""

    def __init__(self) -> None:
        super().__init__()
        self.world = np.random.rand()

    def look(self) -> np.ndarray:
        return np.array([np.random.rand() + np.random.randn() + self.world, random.gauss(), self.action_space.sample()])


class SharesSpaces(gymnasium.Env):
    """Draws from spaces of its class, as Gymnasium's own examples declare them."""

    observation_space = Box(0, 1, (1,), np.float64)
    action_space = Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return self.observation_space.sample(), {}

    def step(self, action):
        self.time += 1
        return self.observation_space.sample(), float(self.action_space.sample()), self.time == 5, False, {}


class Counts(Short):
    """Gets harder with every 7th episode, which the first observations do not show."""

    def __init__(self) -> None:
        super().__init__()
        self.episodes = 0

    def reset(self, *, seed=None, options=None):
        self.episodes += 1
        return super().reset(seed=seed)

    def look(self) -> np.ndarray:
        return np.array([self.time, self.np_random.random(), self.episodes // 7])


class CountsInC(Short):
    """As `Counts`, with the number where Python does not see it."""

    def __init__(self) -> None:
        super().__init__()
        self.episodes = itertools.count()
        self.difficulty = 0

    def reset(self, *, seed=None, options=None):
        self.difficulty = next(self.episodes) // 7
        return super().reset(seed=seed)

    def look(self) -> np.ndarray:
        return np.array([self.time, self.np_random.random(), self.difficulty])


class Forgets(Short):
    """Sets everything in its reset, an engine included."""

    def reset(self, *, seed=None, options=None):
        self.engine = iter([0.5] * 6)
        return super().reset(seed=seed)

    def look(self) -> np.ndarray:
        return np.array([self.time, self.np_random.random(), next(self.engine)])


class Pays(Short):
    """Its reward alone is drawn from a generator of its own."""

    def step(self, action):
        observation, _, terminated, truncated, info = super().step(action)
        return observation, np.random.default_rng().random(), terminated, truncated, info


class Mapped(gymnasium.Env):
    """Observations in a dictionary."""

    def __init__(self) -> None:
        self.observation_space = gymnasium.spaces.Dict({"a": Box(0, 1, (2,), np.float64), "b": Discrete(9)})
        self.action_space = Discrete(2)

    def look(self):
        return {"a": self.np_random.random(2), "b": int(self.np_random.integers(9))}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.look(), {}

    def step(self, action):
        return self.look(), 1.0, bool(self.np_random.random() < 0.1), False, {}


for kind in (DrawsFromGlobals, Counts, CountsInC, Forgets, Pays, Mapped, SharesSpaces):
    gymnasium.register(f"{kind.__name__}-v0", entry_point=kind)
