"""Measurements of a run, and the metrics of each update.

The keys of the metrics are made here.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import torch

from ..config import Config, to_tables
from ..expectations import Reference
from ..ppo import ActorCritic
from ..protocol import Alarm, EpisodeFinished, InterimMetrics, Level, RolloutProgress, RunStarted
from .checkpoint.resume import versions
from .env_metrics import EPISODE_WINDOW, EnvMetrics, RolloutNumbers, merged
from .hub import RankEvent, RunContext, TrainingClock
from .machine_usage import MachineUsage
from .workers_view import Workers, WorkersView

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
