"""What a training has done so far, counted, and told in events and metrics."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import msgspec
import torch

from ..config import Config, to_tables
from ..distributed.ranks import ALONE, Ranks
from ..ppo import ActorCritic
from ..protocol import Alarm, CommandRefused, EpisodeFinished, Event, GameClip, RolloutProgress, RunStarted
from ..workers import WorkerPool
from .checkpoint.versions import versions
from .metrics import EpisodeWindow, PhaseTimes, RecentRate, TrainingClock
from .usage import MachineUsage
from .workers_view import WorkersView


class _News(msgspec.Struct):
    """What a rank has to say after a rollout: the games that ended in it, and what befell its workers."""

    episodes: tuple[EpisodeFinished, ...]
    events: tuple[Alarm | GameClip | CommandRefused, ...]


class Bookkeeping:
    """Counts episodes, steps and seconds, and tells of rollouts in progress, of the workers and of each update.

    Args:
        device: where the networks live.
        emit: takes the events.
        ranks: those who train together: what all of them say is told by rank 0, after each rollout.

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
        ranks: Ranks = ALONE,
    ) -> None:
        self._config, self._clock, self._emit, self._ranks = config, clock, emit, ranks
        self._untold: list[Event] = []
        self.times = PhaseTimes(clock)
        self.episodes = EpisodeWindow()
        self.workers = WorkersView(pool, ranks)
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

    def tell(self, event: Event) -> None:
        """Emit what happened on this rank alone, soon."""
        if self._ranks.leads:
            self._emit(event)
        elif isinstance(event, Alarm | GameClip | CommandRefused):
            self._untold.append(event)

    def rollout_done(self, steps: int, episodes: Iterable[EpisodeFinished] = ()) -> None:
        """`steps` steps of each environment have been collected, in which these games ended on this rank."""
        news, self._untold = _News(tuple(episodes), tuple(self._untold)), []
        told = self._ranks.exchange(news, _News)
        ended = itertools.chain.from_iterable(of_rank.episodes for of_rank in told)
        for episode in sorted(ended, key=lambda episode: (episode.step, episode.env)):
            self.episode_finished(episode)
        for rank, of_rank in enumerate(told):
            for event in of_rank.events:
                named = isinstance(event, Alarm)
                self._emit(msgspec.structs.replace(event, message=f"rank {rank}: {event.message}") if named else event)
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
    name: str,
    config: Config,
    env_slices: tuple[tuple[int, int], ...],
    policy: ActorCritic,
    device: torch.device,
    run_dir: Path | None,
) -> RunStarted:
    """The first event of a run: what it is; `env_slices` are the environments of each worker, as start and stop."""
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
    )
