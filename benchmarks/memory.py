"""The memory of a training run, and its growth."""

from __future__ import annotations

import dataclasses
import statistics

import psutil

from benchmarks.effort import Effort
from benchmarks.statistics import growth
from benchmarks.work import breakout
from ppo_tui import Trainer
from ppo_tui.protocol import Event, UpdateFinished

SETTLED_UPDATES = 3
"""Updates until all allocations of a run have been made once."""


def memory(effort: Effort) -> dict[str, float]:
    """Megabytes (10⁶ bytes) of the parent and its workers, and growth.

    ``uss`` is a process's own memory; ``pss`` adds its share of what it has in common with others.
    """
    config = breakout(num_updates=max(effort.memory_updates, 2 * SETTLED_UPDATES))
    trainer = Trainer(config, sinks=(watch := MemoryWatch(),))
    watch.observe(trainer)
    trainer.run()
    return watch.figures()


class MemoryWatch:
    """A sink to read the memory of all processes after each update."""

    def __init__(self) -> None:
        self._figures: dict[str, float] = {}
        self._parent = psutil.Process()
        self._workers: list[psutil.Process] = []
        self._parent_mb: list[float] = []
        self._workers_mb: list[float] = []

    def observe(self, trainer: Trainer) -> None:
        """Watch this trainer's workers, and record the size of the shared rollout."""
        self._workers = [psutil.Process(worker.process.pid) for worker in trainer.engine.pool.workers]
        arrays = dataclasses.asdict(trainer.engine.pool.shared).values()
        self._figures["rollout_shared_mb"] = sum(array.nbytes for array in arrays) / 1e6

    def emit(self, event: Event) -> None:
        if not isinstance(event, UpdateFinished):
            return
        if event.update == SETTLED_UPDATES:
            self._read_in_full()
        if event.update >= SETTLED_UPDATES:
            self._parent_mb.append(self._parent.memory_info().rss / 1e6)
            self._workers_mb.append(sum(worker.memory_info().rss for worker in self._workers) / 1e6)

    def _read_in_full(self) -> None:
        parent = self._parent.memory_full_info()
        workers = [worker.memory_full_info() for worker in self._workers]
        self._figures |= {
            "parent_uss_mb": parent.uss / 1e6,
            "parent_pss_mb": parent.pss / 1e6,
            "worker_uss_mb": statistics.fmean(worker.uss for worker in workers) / 1e6,
            "worker_uss_max_mb": max(worker.uss for worker in workers) / 1e6,
            "worker_pss_mb": statistics.fmean(worker.pss for worker in workers) / 1e6,
        }

    def figures(self) -> dict[str, float]:
        """All figures, and the growth of resident memory.

        Growth is from the first quarter of the updates to the last.
        """
        return self._figures | {
            "updates_observed": len(self._parent_mb),
            "parent_rss_growth_mb": growth(self._parent_mb),
            "workers_rss_growth_mb": growth(self._workers_mb),
        }
