"""This project's own trainer and worker pool."""

from __future__ import annotations

import contextlib

import numpy as np

from benchmarks.effort import Effort
from benchmarks.timing import steps_per_second, update_rate
from benchmarks.work import breakout, num_actions
from ppo_tui import Trainer, WorkerPool
from ppo_tui.protocol import Event, RunState, UpdateFinished
from ppo_tui.training import start_pool


class UpdateClock:
    """A sink to record the end of each update, in seconds."""

    def __init__(self) -> None:
        self.boundaries: list[float] = []

    def emit(self, event: Event) -> None:
        if isinstance(event, UpdateFinished):
            self.boundaries.append(event.elapsed)


def training(effort: Effort, num_envs: int = 8, overrides: tuple[str, ...] = ()) -> dict[str, float]:
    """Collecting and learning together."""
    config = breakout(num_updates=effort.updates, num_envs=num_envs, overrides=overrides)
    clock = UpdateClock()
    result = Trainer(config, sinks=[clock]).run()
    if result.state is not RunState.FINISHED:
        raise RuntimeError(result.reason)
    return {"steps_per_second": update_rate(clock.boundaries, config.batch_size)}


def sampling(effort: Effort, num_workers: int | str = "auto") -> dict[str, float]:
    """The worker pool alone, driven as by the trainer.

    In worker groups, and into the rows of a rollout.
    """
    config = breakout(num_updates=effort.updates, overrides=(f"workers.count={num_workers}",))
    with contextlib.closing(start_pool(config)) as pool:
        sampler = GroupSampler(pool, first_slot=config.env.frame_stack, num_slots=config.rollout.steps)
        return {"steps_per_second": steps_per_second(sampler.step, effort.seconds)}


class GroupSampler:
    """Random actions for each group in turn, while the others step.

    Args:
        first_slot, num_slots: rows of the pool's shared memory for the steps, used in a cycle.
    """

    def __init__(self, pool: WorkerPool, *, first_slot: int, num_slots: int) -> None:
        self._pool = pool
        self._first_slot, self._num_slots = first_slot, num_slots
        self._groups = [pool.group_envs(group) for group in range(pool.num_groups)]
        self._num_actions = num_actions(pool.single_action_space)
        self._random = np.random.default_rng(0)
        self._t = 0
        pool.reset_into(first_slot - 1, range(pool.num_envs))
        self._send_all(wait=False)

    def step(self) -> int:
        """One step of every environment."""
        self._send_all(wait=True)
        return self._pool.num_envs

    def _send_all(self, *, wait: bool) -> None:
        slot = self._first_slot + self._t % self._num_slots
        for group, envs in enumerate(self._groups):
            if wait:
                self._pool.wait_step(group)
            actions = self._random.integers(self._num_actions, size=envs.stop - envs.start)
            self._pool.send_step(group, actions, slot)
        self._t += 1
