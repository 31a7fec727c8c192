"""What a training has done so far, counted, and told in events and metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from ..config import Config, to_tables
from ..ppo import ActorCritic
from ..protocol import EpisodeFinished, Event, RolloutProgress, RunStarted
from ..workers import WorkerPool
from .metrics import EpisodeWindow, PhaseTimes, RecentRate, TrainingClock
from .usage import MachineUsage
from .versions import versions
from .workers_view import WorkersView


class Bookkeeping:
    """Counts episodes, steps and seconds, and tells of rollouts in progress, of the workers and of each update.

    Args:
        device: where the networks live.
        emit: takes the events.

    Attributes:
        times: how long each phase of the update takes.
        episodes: the newest ones.
        workers: what they are doing.
    """

    def __init__(
        self,
        config: Config,
        pool: WorkerPool,
        device: torch.device,
        *,
        clock: TrainingClock,
        emit: Callable[[Event], None],
    ) -> None:
        self._config, self._clock, self._emit = config, clock, emit
        self.times = PhaseTimes(clock)
        self.episodes = EpisodeWindow()
        self.workers = WorkersView(pool)
        self._rate = RecentRate()
        self._usage = MachineUsage(device)
        self._rollout_began = 0.0

    def rollout_begins(self) -> None:
        self._rollout_began = self._clock.seconds
        self._emit(self.workers.stepping())

    def rollout_progress(self, step: int, update: int, t: int) -> None:
        """Vector step `t` is under way, of the rollout that `update` learns from and that began at `step`."""
        self._emit(
            RolloutProgress(
                step=step + t * self._config.rollout.num_envs,
                update=update,
                t=t,
                length=self._config.rollout.steps,
                fps=self._rate.per_second,
            )
        )

    def rollout_done(self, steps: int) -> None:
        """`steps` steps of each environment have been collected."""
        self._emit(self.workers.waiting(steps, self._clock.seconds - self._rollout_began))

    def episode_finished(self, episode: EpisodeFinished) -> None:
        self.episodes.add(episode.episode_return, episode.length)
        self.workers.add_episode(episode.env, episode.episode_return)
        self._emit(episode)

    def metrics(
        self, step: int, update: int, taken: int, learning: Mapping[str, float | None]
    ) -> dict[str, float | None]:
        """All metrics of the update that was just done.

        Args:
            step: environment steps of the run, those of this update included.
            taken: those of this update.
            learning: what the learner says of it.
        """
        seconds = self.times.total
        self._rate.add(taken, seconds)
        elapsed = self._clock.seconds
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
        }


def run_started(
    name: str, config: Config, pool: WorkerPool, policy: ActorCritic, device: torch.device, run_dir: Path | None
) -> RunStarted:
    """The first event of a run: what it is."""
    return RunStarted(
        run=name,
        config=to_tables(config),
        seed=config.run.seed,
        total_steps=config.planned_steps,
        num_envs=config.rollout.num_envs,
        num_workers=pool.num_workers,
        rollout_steps=config.rollout.steps,
        env_slices=tuple((worker.envs.start, worker.envs.stop) for worker in pool.workers),
        device=str(device),
        parameters=sum(parameter.numel() for parameter in policy.parameters()),
        versions=versions(),
        run_dir=None if run_dir is None else str(run_dir),
    )
