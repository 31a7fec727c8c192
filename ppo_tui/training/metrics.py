"""Measurements of a run, and the metrics of each update.

The keys of the metrics are made here.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import msgspec
import numpy as np
import psutil
import torch

from ..config import Config, to_tables
from ..distributed.ranks import ALONE, Ranks
from ..expectations import Reference
from ..ppo import ActorCritic
from ..protocol import (
    Alarm,
    EpisodeFinished,
    InterimMetrics,
    Level,
    RolloutProgress,
    RunStarted,
    WorkerInfo,
    WorkersStatus,
    WorkerState,
)
from ..system.library import gpu_usage_reader
from ..workers.pipes import WorkerHandle
from .checkpoint.resume import versions
from .env_metrics import EnvMetrics, RolloutNumbers, merged
from .hub import RankEvent, RunContext, TrainingClock

EPISODE_WINDOW = 100
"""Episodes in the mean ``rollout/ep_rew_mean``, as in Stable-Baselines3."""


INTERIM_SECONDS = 0.5
"""Shortest time between two reports of what is known during a rollout."""


class PhaseTimes:
    """Seconds of each phase of an update, by a `TrainingClock`.

    Phases: ``wait`` for the workers, ``infer`` actions and values, ``copy`` observations and decisions in and out of
    the rollout, ``learn`` from it.
    """

    PHASES: tuple[str, ...] = ("wait", "infer", "copy", "learn")

    def __init__(self, clock: TrainingClock) -> None:
        self._clock = clock
        self._began = clock.seconds
        self._spent = dict.fromkeys(self.PHASES, 0.0)

    def begin_update(self) -> None:
        """Start a new update."""
        self._began = self._clock.seconds
        self._spent = dict.fromkeys(self.PHASES, 0.0)

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the time inside to the phase `name`."""
        started = self._clock.seconds
        try:
            yield
        finally:
            self._spent[name] += self._clock.seconds - started

    @property
    def total(self) -> float:
        return max(self._clock.seconds - self._began, 1e-9)

    def shares(self) -> dict[str, float]:
        """Share (0..1) of the update in each phase.

        ``other`` is the rest. They add up to 1.
        """
        total = self.total
        shares = {f"time/share_{name}": spent / total for name, spent in self._spent.items()}
        shares["time/share_other"] = max(0.0, 1.0 - sum(shares.values()))
        return shares


class RecentRate:
    """Environment steps a second over the newest updates."""

    def __init__(self, updates: int = 10) -> None:
        self._newest: deque[tuple[int, float]] = deque(maxlen=updates)

    def add(self, steps: int, seconds: float) -> None:
        self._newest.append((steps, seconds))

    @property
    def per_second(self) -> float:
        seconds = sum(seconds for _, seconds in self._newest)
        return sum(steps for steps, _ in self._newest) / seconds if seconds > 0 else 0.0


@dataclass
class EpisodeWindow:
    """Raw returns and lengths of the newest whole episodes."""

    returns: deque[float] = field(default_factory=lambda: deque(maxlen=EPISODE_WINDOW))
    lengths: deque[int] = field(default_factory=lambda: deque(maxlen=EPISODE_WINDOW))
    total: int = 0

    def add(self, episode_return: float, length: int) -> None:
        self.returns.append(episode_return)
        self.lengths.append(length)
        self.total += 1

    def score(self, at_least: int) -> float | None:
        """The finite mean return; None before `at_least` episodes have ended."""
        if len(self.returns) < at_least:
            return None
        mean = sum(self.returns) / len(self.returns)
        return mean if math.isfinite(mean) else None

    def metrics(self) -> dict[str, float]:
        """Mean return and length; nothing before the first episode has ended."""
        if not self.returns:
            return {}
        return {
            "rollout/ep_rew_mean": sum(self.returns) / len(self.returns),
            "rollout/ep_len_mean": sum(self.lengths) / len(self.lengths),
        }


class CoresMeter:
    """Use of all cores since the meter was last read."""

    def __init__(self) -> None:
        self._before = self._read()

    @staticmethod
    def _read() -> tuple[float, float]:
        """Seconds at work and in all, of all cores together."""
        times = psutil.cpu_times()
        # Linux counts guests among its users, too.
        total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
        return total - times.idle - getattr(times, "iowait", 0.0), total

    def percent(self) -> float | None:
        """Percent (0..100) at work since the last call.

        None if that was just now.
        """
        (busy_before, before), (busy, total) = self._before, self._read()
        if total <= before:
            return None
        self._before = busy, total
        return min(100.0, max(0.0, 100 * (busy - busy_before) / (total - before)))


class MachineUsage:
    """Use of the processors, read once an update.

    Args:
        device: of the networks; a GPU is measured through NVIDIA's driver library, if that is installed.
    """

    def __init__(self, device: torch.device) -> None:
        psutil.cpu_percent()  # the first call only starts its measurement
        self._gpu_percent = _gpu_meter(device)
        self._interim = CoresMeter()

    def metrics(self) -> dict[str, float | None]:
        """Percent (0..100) in use of all cores and of the GPU.

        The cores since the last call, the GPU over about the last second.
        """
        return {"time/cpu_percent": psutil.cpu_percent(), **self._gpu()}

    def interim(self) -> dict[str, float | None]:
        """The same in the middle of an update, without effect on `metrics`.

        The cores since the last call of this.
        """
        return {"time/cpu_percent": self._interim.percent(), **self._gpu()}

    def _gpu(self) -> dict[str, float | None]:
        return {"time/gpu_percent": self._gpu_percent()} if self._gpu_percent else {}


def _gpu_meter(device: torch.device) -> Callable[[], float | None] | None:
    """A function to measure the GPU's use; None if unknown.

    It returns the percent of time with a kernel on `device`.
    """
    if device.type != "cuda":
        return None
    uuid = getattr(torch.cuda.get_device_properties(device), "uuid", None)  # not in every build of PyTorch
    return gpu_usage_reader(f"GPU-{uuid}") if uuid else None


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


class _RankNews(msgspec.Struct):
    """A rank's finished episodes in a rollout, its events and numbers.

    Rank 0 publishes them.
    """

    episodes: tuple[EpisodeFinished, ...]
    events: tuple[RankEvent, ...]
    numbers: RolloutNumbers


class RunMetrics:
    """The measurements of a run.

    They count episodes, steps and seconds, publish progress, and make the metrics of each update.

    Args:
        device: of the networks.

    Attributes:
        times: seconds of each phase of the update.
        episodes: the newest ones.
        workers: the state of each worker process.
        environment: what the environments say in their infos.
    """

    def __init__(self, context: RunContext, pool: Workers, device: torch.device) -> None:
        self._context, self._config = context, context.config
        self.times = PhaseTimes(context.clock)
        self.episodes = EpisodeWindow()
        self.environment = EnvMetrics()
        self.workers = WorkersView(pool, context.ranks)
        self._rate = RecentRate()
        self._usage = MachineUsage(device)
        self._rollout_began = self._interim_at = 0.0
        self._finished: list[EpisodeFinished] = []

    def rollout_begins(self) -> None:
        self._finished = []
        self._rollout_began = self._interim_at = self._context.clock.seconds
        self._context.publish(self.workers.stepping())

    def rollout_progress(self, step: int, update: int, t: int) -> None:
        """Publish the progress of a rollout.

        Vector step `t` of the rollout for `update`, which began at `step`, has been taken.
        """
        self._context.publish(
            RolloutProgress(
                step=step + t * self._config.rollout.num_envs,
                update=update,
                t=t,
                length=self._config.rollout.steps,
                fps=self._rate.per_second,
            )
        )

    @property
    def interim_due(self) -> bool:
        """Whether `interim` is due.

        Several ranks never do: they exchange news at its end alone.
        """
        return self._context.ranks.size == 1 and self._context.clock.seconds - self._interim_at >= INTERIM_SECONDS

    def interim(self, steps: int, episodes: Iterable[EpisodeFinished] = ()) -> None:
        """Publish measurements in the middle of a rollout.

        Args:
            steps: of each environment in this rollout so far.
            episodes: those that ended since the last call, or since the rollout began.
        """
        self._interim_at = now = self._context.clock.seconds
        for episode in episodes:
            self.episode_finished(episode)
        self._context.publish(self.workers.under_way(steps, now - self._rollout_began))
        self._context.publish(InterimMetrics(metrics=self._usage.interim()))

    def rollout_done(self, steps: int, episodes: Iterable[EpisodeFinished], numbers: RolloutNumbers) -> None:
        """Publish the end of a rollout of all ranks.

        Args:
            steps: of each environment.
            episodes: those that ended in it on this rank since the last `interim`.
            numbers: those in the infos of this rank's environments.
        """
        news = _RankNews(tuple(episodes), self._context.take_rank_events(), numbers)
        of_ranks = self._context.ranks.exchange(news, _RankNews)
        ended = itertools.chain.from_iterable(of_rank.episodes for of_rank in of_ranks)
        for episode in sorted(ended, key=lambda episode: (episode.step, episode.env)):
            self.episode_finished(episode)
        # Not before: a snapshot within a rollout is one of its start.
        for episode in self._finished:
            self.episodes.add(episode.episode_return, episode.length)
        ends = [episode.numbers for episode in self._finished]
        if message := self.environment.add(merged(of_rank.numbers for of_rank in of_ranks), ends):
            self._context.publish(Alarm(level=Level.INFO, message=message))
        for rank, of_rank in enumerate(of_ranks):
            for event in of_rank.events:
                if isinstance(event, Alarm):
                    event = msgspec.structs.replace(event, message=f"rank {rank}: {event.message}")
                self._context.publish(event)
        self._context.publish(self.workers.waiting(steps, self._context.clock.seconds - self._rollout_began))

    def episode_finished(self, episode: EpisodeFinished) -> None:
        """Publish an episode, counted at the end of its rollout."""
        self._finished.append(episode)
        self.workers.add_episode(episode.env, episode.episode_return)
        self._context.publish(episode)

    def of_update(
        self, step: int, update: int, taken: int, learning: Mapping[str, float | None]
    ) -> dict[str, float | None]:
        """The metrics of the update just ended.

        Args:
            step: environment steps of the run, those of this update included.
            taken: environment steps of this update.
            learning: the learner's metrics.
        """
        seconds = self.times.total
        self._rate.add(taken, seconds)
        elapsed = self._context.clock.seconds
        return {
            "time/total_timesteps": step,
            "time/iterations": update,
            "time/time_elapsed": elapsed,
            "time/fps": step / max(elapsed, 1e-9),
            "time/fps_update": taken / seconds,
            **self.times.shares(),
            "time/workers_busy": self.workers.busy_share,
            **self._usage.metrics(),
            **self.episodes.metrics(),
            **learning,
            **self.environment.metrics(),
        }


def run_started(
    name: str,
    config: Config,
    env_slices: tuple[tuple[int, int], ...],
    policy: ActorCritic,
    device: torch.device,
    run_dir: Path | None,
    reference: Reference | None = None,
    reward_threshold: float | None = None,
) -> RunStarted:
    """The first event of a run.

    Args:
        env_slices: start and stop of each worker's environments.
        reward_threshold: see `RunStarted`.
    """
    return RunStarted(
        run=name,
        config=to_tables(config),
        seed=config.run.seed,
        total_steps=config.planned_steps,
        num_envs=config.rollout.num_envs,
        num_workers=len(env_slices),
        rollout_steps=config.rollout.steps,
        env_slices=env_slices,
        device=str(device),
        parameters=sum(parameter.numel() for parameter in policy.parameters()),
        versions=versions(),
        run_dir=None if run_dir is None else str(run_dir),
        reference=None if reference is None else msgspec.to_builtins(reference),
        reward_threshold=reward_threshold,
    )
