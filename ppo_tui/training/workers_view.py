"""The state of each worker process, as a `WorkersStatus`."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec
import numpy as np
import psutil

from ..distributed.ranks import ALONE, Ranks
from ..protocol import WorkerInfo, WorkersStatus, WorkerState
from ..workers.pipes import WorkerHandle

MEMORY_SECONDS = 5.0
"""Reading a process's private memory walks its page tables (about a millisecond), so it is read only this often."""


class _BusyTimes(Protocol):
    @property
    def busy_seconds(self) -> np.ndarray: ...


class Workers(Protocol):
    """A pool of worker processes, as read by the metrics."""

    num_envs: int

    @property
    def num_workers(self) -> int: ...

    @property
    def restarts(self) -> list[int]: ...

    @property
    def workers(self) -> Sequence[WorkerHandle]: ...

    @property
    def shared(self) -> _BusyTimes: ...


class WorkersView:
    """The pool's counters as a `WorkersStatus`, at both ends of a rollout.

    With several ranks it covers the workers of all of them, numbered one after the other.

    Args:
        ranks: the processes that train together; all construct a view, and call `waiting`, at the same time.
    """

    def __init__(self, pool: Workers, ranks: Ranks = ALONE) -> None:
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
            WorkerInfo(index=worker.index, pid=worker.pid, state=WorkerState.STARTING, num_envs=_count(worker.envs))
            for worker in pool.workers
        ]
        self._newest = self._ranks.exchange(starting, list[WorkerInfo])

    def add_episode(self, env: int, episode_return: float) -> None:
        """Count an episode of environment `env`, numbered over all ranks."""
        if not 0 <= env - self._first_env < self._pool.num_envs:
            return
        worker = self._owner[env - self._first_env]
        self._episodes[worker] += 1
        self._last_returns[worker] = episode_return

    def stepping(self) -> WorkersStatus:
        """The workers at the start of a rollout.

        Their figures are those of the last rollout.
        """
        return self._status([])

    def changed(self) -> WorkersStatus:
        """The workers in the middle of a rollout, after failures and replacements."""
        failed = {worker.index: worker.failure is not None for worker in self._pool.workers}
        return self._status(
            msgspec.structs.replace(
                info,
                pid=worker.pid,
                state=WorkerState.STARTING if failed[worker.index] else WorkerState.STEPPING,
                restarts=self._pool.restarts[worker.index] + failed[worker.index],
            )
            for info, worker in zip(self._newest[self._ranks.rank], self._pool.workers, strict=True)
        )

    def under_way(self, steps: int, seconds: float) -> WorkersStatus:
        """The workers in the middle of a rollout, without effect on `waiting`.

        This rank's alone are up to date: others would have to be asked.
        """
        return self._status(self._measured(steps, seconds, WorkerState.STEPPING))

    def waiting(self, steps: int, seconds: float) -> WorkersStatus:
        """The workers after a rollout of `steps` vector steps in `seconds`."""
        own = self._measured(steps, seconds, WorkerState.WAITING)
        self._busy = self._pool.shared.busy_seconds.copy()
        self._answering = self._answer_seconds()
        self._newest = self._ranks.exchange(own, list[WorkerInfo])
        return WorkersStatus(workers=tuple(self._numbered(self._newest)))

    def _measured(self, steps: int, seconds: float, state: WorkerState) -> list[WorkerInfo]:
        """This rank's workers, `steps` vector steps after a rollout began."""
        busy = self._pool.shared.busy_seconds - self._busy
        answering = self._answer_seconds() - self._answering
        self._read_memory()
        seconds = max(seconds, 1e-9)
        return [
            WorkerInfo(
                index=worker.index,
                pid=worker.pid,
                state=state,
                num_envs=_count(worker.envs),
                steps_per_second=steps * _count(worker.envs) / seconds,
                wait_share=float(np.clip(1.0 - busy[worker.index] / seconds, 0.0, 1.0)),
                answer_share=float(np.clip(answering[worker.index] / seconds, 0.0, 1.0)),
                episodes=int(self._episodes[worker.index]),
                last_return=self._last_returns[worker.index],
                restarts=self._pool.restarts[worker.index],
                memory_mb=self._memory[worker.index],
            )
            for worker in self._pool.workers
        ]

    def _answer_seconds(self) -> np.ndarray:
        return np.array([worker.answer_seconds for worker in self._pool.workers])

    @property
    def busy_share(self) -> float:
        """Mean share (0..1) of the last rollout spent stepping.

        The mean is that over the workers.
        """
        waits = [worker.wait_share for worker in itertools.chain(*self._newest)]
        return 1.0 - sum(waits) / len(waits)

    @property
    def env_slices(self) -> tuple[tuple[int, int], ...]:
        """Start and stop of each worker's environments."""
        stops = list(itertools.accumulate(worker.num_envs for worker in itertools.chain(*self._newest)))
        return tuple(itertools.pairwise([0, *stops]))

    def _status(self, own: Iterable[WorkerInfo]) -> WorkersStatus:
        """The workers while they step; `own` replaces this rank's entries unless empty."""
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
            self._memory = [_private_megabytes(worker.pid) for worker in self._pool.workers]


def _count(envs: slice) -> int:
    return envs.stop - envs.start


def _private_megabytes(pid: int) -> float:
    with contextlib.suppress(psutil.Error):
        return psutil.Process(pid).memory_full_info().uss / 1e6
    return 0.0
