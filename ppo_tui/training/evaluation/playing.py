"""A trained policy at play: rollouts that nobody learns from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import torch

from ..checkpoint.contents import build_saved_policy, read_checkpoint
from ..collect import Collector, wrap_rollout
from ..device import choose_threads, resolve_device
from ..metrics import PhaseTimes, TrainingClock
from .setup import Stage


class Game(NamedTuple):
    """A full game that was played to its end.

    Attributes:
        number: of the game, in the order in which their seeds are.
        step: environment steps of all environments when it ended.
    """

    number: int
    env: int
    episode_return: float
    length: int
    step: int


class Play:
    """Plays on a stage. Weights and running statistics stay as the checkpoint has them.

    Attributes:
        step: environment steps so far.

    Raises:
        UsageError: the checkpoint is damaged.
        WorkerError: a worker could not start.
    """

    def __init__(self, stage: Stage) -> None:
        config, info, pool = stage.config, stage.info, stage.pool
        device = resolve_device(config.run.device)
        self.policy = build_saved_policy(read_checkpoint(stage.path), config, info, device)
        self.step = 0
        self._num_envs = config.rollout.num_envs
        self._steps = config.rollout.steps
        self._played: Counter[int] = Counter()
        torch.set_num_threads(choose_threads(config, info, pool.num_workers).act)
        pool.wait_until_ready()
        self.rollout = wrap_rollout(pool.shared, self.policy, config, masked=bool(info.num_masked))
        self._collector = Collector(
            pool,
            self.policy,
            self.rollout,
            times=PhaseTimes(TrainingClock()),
            action_seed=stage.action_seed,
            env_seeds=[None] * self._num_envs,
            greedy=stage.greedy,
        )
        self._collector.reset()

    def advance(self) -> Iterator[Game]:
        """Play one rollout, and the games that end in it."""
        if self.step:
            self.rollout.carry_over()
        with self.policy.unchanged():
            for t in range(self._steps):
                self._collector.step(t)
            self._collector.finish(self._steps)
        for episode in self._collector.finished_episodes(self.step, self._steps):
            number = episode.env + self._num_envs * self._played[episode.env]
            self._played[episode.env] += 1
            yield Game(number, episode.env, episode.episode_return, episode.length, episode.step)
        self.step += self._steps * self._num_envs
