"""What the workers are doing, for whoever watches."""

from __future__ import annotations

import contextlib

import numpy as np
import psutil

from ..protocol import WorkerInfo, WorkersStatus, WorkerState
from ..workers import WorkerPool

MEMORY_SECONDS = 5.0
"""Reading a process's private memory walks its page tables (about a millisecond), so it is read only this often."""


class WorkersView:
    """Turns the pool's counters into one `WorkersStatus` a rollout."""

    def __init__(self, pool: WorkerPool) -> None:
        self._pool = pool
        self._busy = pool.shared.busy_seconds.copy()
        self._episodes = np.zeros(pool.num_workers, dtype=np.int64)
        self._last_returns: list[float | None] = [None] * pool.num_workers
        self._memory = [0.0] * pool.num_workers
        self._memory_read_at = -MEMORY_SECONDS
        self._owner = np.empty(pool.num_envs, dtype=np.int64)
        for worker in pool.workers:
            self._owner[worker.envs] = worker.index

    def add_episode(self, env: int, episode_return: float) -> None:
        worker = self._owner[env]
        self._episodes[worker] += 1
        self._last_returns[worker] = episode_return

    def status(self, steps: int, collect_seconds: float, now: float) -> WorkersStatus:
        """The state after a rollout of `steps` steps of each environment that took `collect_seconds`.

        Args:
            now: seconds on the run's clock, to pace the reading of memory.
        """
        pool = self._pool
        busy = pool.shared.busy_seconds - self._busy
        self._busy = pool.shared.busy_seconds.copy()
        if now - self._memory_read_at >= MEMORY_SECONDS:
            self._memory_read_at = now
            self._memory = [_private_megabytes(worker.process.pid) for worker in pool.workers]
        return WorkersStatus(
            workers=tuple(
                WorkerInfo(
                    index=worker.index,
                    pid=worker.process.pid,
                    state=WorkerState.WAITING,
                    num_envs=worker.envs.stop - worker.envs.start,
                    steps_per_second=steps * (worker.envs.stop - worker.envs.start) / max(collect_seconds, 1e-9),
                    wait_share=float(np.clip(1.0 - busy[worker.index] / max(collect_seconds, 1e-9), 0.0, 1.0)),
                    episodes=int(self._episodes[worker.index]),
                    last_return=self._last_returns[worker.index],
                    memory_mb=self._memory[worker.index],
                )
                for worker in pool.workers
            )
        )


def _private_megabytes(pid: int) -> float:
    with contextlib.suppress(psutil.Error):
        return psutil.Process(pid).memory_full_info().uss / 1e6
    return 0.0
