"""What the workers are doing, for whoever watches."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Iterable

import msgspec
import numpy as np
import psutil

from ..distributed.ranks import ALONE, Ranks
from ..protocol import WorkerInfo, WorkersStatus, WorkerState
from ..workers import WorkerPool

MEMORY_SECONDS = 5.0
"""Reading a process's private memory walks its page tables (about a millisecond), so it is read only this often."""


class WorkersView:
    """Turns the pool's counters into a `WorkersStatus` at the start and at the end of each rollout.

    Where several ranks collect together, it is of the workers of all of them, numbered one after the other.

    Args:
        ranks: who all make such a view at the same time, and call `waiting` at the same time.
    """

    def __init__(self, pool: WorkerPool, ranks: Ranks = ALONE) -> None:
        self._pool, self._ranks = pool, ranks
        self._first_env = ranks.rank * pool.num_envs
        self._busy = pool.shared.busy_seconds.copy()
        self._answering = self._answer_seconds()
        self._episodes = np.zeros(pool.num_workers, dtype=np.int64)
        self._last_returns: list[float | None] = [None] * pool.num_workers
        self._memory = [0.0] * pool.num_workers
        self._memory_read_at = float("-inf")
        self._owner = np.empty(pool.num_envs, dtype=np.int64)
        for worker in pool.workers:
            self._owner[worker.envs] = worker.index
        starting = [
            WorkerInfo(
                index=worker.index, pid=worker.process.pid, state=WorkerState.STARTING, num_envs=_count(worker.envs)
            )
            for worker in pool.workers
        ]
        self._newest = self._ranks.exchange(starting, list[WorkerInfo])

    def add_episode(self, env: int, episode_return: float) -> None:
        """A game of environment `env`, as all ranks count them, is over."""
        if not 0 <= env - self._first_env < self._pool.num_envs:
            return
        worker = self._owner[env - self._first_env]
        self._episodes[worker] += 1
        self._last_returns[worker] = episode_return

    def stepping(self) -> WorkersStatus:
        """The workers at the start of a rollout, with the figures of the last one."""
        return self._status([])

    def changed(self) -> WorkersStatus:
        """The workers in the middle of a rollout in which some have been lost: those, and who took their place."""
        lost = {worker.index: worker.loss is not None for worker in self._pool.workers}
        return self._status(
            msgspec.structs.replace(
                info,
                pid=worker.process.pid,
                state=WorkerState.STARTING if lost[worker.index] else WorkerState.STEPPING,
                restarts=self._pool.restarts[worker.index] + lost[worker.index],
            )
            for info, worker in zip(self._newest[self._ranks.rank], self._pool.workers, strict=True)
        )

    def waiting(self, steps: int, seconds: float) -> WorkersStatus:
        """The workers after a rollout of `steps` steps of each environment that took `seconds`."""
        busy = self._pool.shared.busy_seconds - self._busy
        self._busy = self._pool.shared.busy_seconds.copy()
        answering, before = self._answer_seconds(), self._answering
        self._answering = answering
        self._read_memory()
        seconds = max(seconds, 1e-9)
        own = [
            WorkerInfo(
                index=worker.index,
                pid=worker.process.pid,
                state=WorkerState.WAITING,
                num_envs=_count(worker.envs),
                steps_per_second=steps * _count(worker.envs) / seconds,
                wait_share=float(np.clip(1.0 - busy[worker.index] / seconds, 0.0, 1.0)),
                answer_share=float(np.clip((answering - before)[worker.index] / seconds, 0.0, 1.0)),
                episodes=int(self._episodes[worker.index]),
                last_return=self._last_returns[worker.index],
                restarts=self._pool.restarts[worker.index],
                memory_mb=self._memory[worker.index],
            )
            for worker in self._pool.workers
        ]
        self._newest = self._ranks.exchange(own, list[WorkerInfo])
        return WorkersStatus(workers=tuple(self._numbered(self._newest)))

    def _answer_seconds(self) -> np.ndarray:
        return np.array([worker.answer_seconds for worker in self._pool.workers])

    @property
    def busy_share(self) -> float:
        """Share (0..1) of the last rollout that the workers spent stepping, on average."""
        waits = [worker.wait_share for worker in itertools.chain(*self._newest)]
        return 1.0 - sum(waits) / len(waits)

    @property
    def env_slices(self) -> tuple[tuple[int, int], ...]:
        """First environment of each worker, and the one after its last."""
        stops = list(itertools.accumulate(worker.num_envs for worker in itertools.chain(*self._newest)))
        return tuple(itertools.pairwise([0, *stops]))

    def _status(self, own: Iterable[WorkerInfo]) -> WorkersStatus:
        """The workers while they step; `own` are this rank's, where more is known of them."""
        reports = [
            [msgspec.structs.replace(info, state=WorkerState.STEPPING) for info in part] for part in self._newest
        ]
        reports[self._ranks.rank] = list(own) or reports[self._ranks.rank]
        return WorkersStatus(workers=tuple(self._numbered(reports)))

    def _numbered(self, reports: Iterable[Iterable[WorkerInfo]]) -> Iterable[WorkerInfo]:
        if self._ranks.size == 1:
            return itertools.chain(*reports)
        workers = enumerate(itertools.chain(*reports))
        return (msgspec.structs.replace(worker, index=index) for index, worker in workers)

    def _read_memory(self) -> None:
        now = time.monotonic()
        if now - self._memory_read_at >= MEMORY_SECONDS:
            self._memory_read_at = now
            self._memory = [_private_megabytes(worker.process.pid) for worker in self._pool.workers]


def _count(envs: slice) -> int:
    return envs.stop - envs.start


def _private_megabytes(pid: int) -> float:
    with contextlib.suppress(psutil.Error):
        return psutil.Process(pid).memory_full_info().uss / 1e6
    return 0.0
