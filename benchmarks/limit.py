"""The highest possible rate of the algorithm on this machine.

From the work of its parts, each measured alone, spread over all cores.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Iterator

import numpy as np
import torch

from benchmarks.effort import Effort
from benchmarks.work import breakout, num_actions
from ppo_tui import Config, Trainer, make_env
from ppo_tui.ppo import ActorCritic, Hyperparameters
from ppo_tui.workers import available_cores


def limit(effort: Effort) -> dict[str, float]:
    """CPU seconds per update of each part, and the resulting rate.

    The parts are emulation, inference and learning, each on one thread.

    The rate is that of all cores without any waiting, copying or switching, and with learning spread over them at no
    cost: steps per update × cores ÷ CPU seconds per update.
    """
    config = breakout(num_updates=effort.updates, overrides=("workers.count=1", "run.torch_threads=1"))
    parts = Parts(config)
    with contextlib.closing(parts):
        parts.measure()
        spent = [parts.measure() for _ in range(effort.updates)]
    seconds = {name: statistics.median(once[name] for once in spent) for name in spent[0]}
    rate = config.batch_size * available_cores() / sum(seconds.values())
    return {"steps_per_second": rate} | {f"{name}_cpu_seconds_per_update": value for name, value in seconds.items()}


class Parts:
    """The parts of an update, in this process.

    Environments of its own, and a trainer's policy, rollout and learner.

    The trainer sets the memory format of the policy and the settings of the process, as in a run.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._trainer = Trainer(config)
        self._envs = [make_env(config.env) for _ in range(config.rollout.num_envs)]
        self._random = np.random.default_rng(0)
        self._generator = torch.Generator().manual_seed(0)
        self._hyper = Hyperparameters.from_config(config)
        for env, frame in zip(self._envs, self._frames(0), strict=True):
            frame[:] = env.reset(seed=0)[0]

    @property
    def policy(self) -> ActorCritic:
        return self._trainer.policy

    def close(self) -> None:
        self._trainer.close()

    def measure(self) -> dict[str, float]:
        """CPU seconds of each part of one update."""
        spent: dict[str, float] = {}
        with _cpu_seconds(spent, "emulation"):
            self._emulate()
        with _cpu_seconds(spent, "inference"):
            self._infer()
        with _cpu_seconds(spent, "learning"):
            self._trainer.engine.learner.update(self._trainer.engine.rollouts.buffer, self._hyper)
        self._trainer.engine.rollouts.buffer.carry_over()
        return spent

    def _frames(self, t: int) -> np.ndarray:
        """The rows of the observations ``[N, 84, 84]`` before step t."""
        return self._trainer.engine.pool.shared.observations[self._config.env.frame_stack - 1 + t]

    def _emulate(self) -> None:
        """Fill the rollout's frames by random play."""
        steps, num_envs = self._config.rollout.steps, len(self._envs)
        actions = self._random.integers(num_actions(self._envs[0].action_space), size=(steps, num_envs))
        for t in range(steps):
            frames = self._frames(t + 1)
            for n, env in enumerate(self._envs):
                frames[n], _, terminated, truncated, _ = env.step(actions[t, n])
                if terminated or truncated:
                    frames[n], _ = env.reset()

    def _infer(self) -> None:
        """Act in each step of the rollout, for all environments."""
        policy, rollout = self._trainer.policy, self._trainer.engine.rollouts.buffer
        with policy.unchanged():
            for t in range(self._config.rollout.steps):
                noise = policy.draw_noise(len(self._envs), self._generator)
                rollout.store(t, policy.decide(rollout.observation(t), noise=noise))
            rollout.last_values.copy_(policy.value(rollout.observation(self._config.rollout.steps)))


@contextlib.contextmanager
def _cpu_seconds(spent: dict[str, float], name: str) -> Iterator[None]:
    began = time.process_time()
    yield
    spent[name] = time.process_time() - began
