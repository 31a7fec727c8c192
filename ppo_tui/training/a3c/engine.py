"""The A3C engine: steers learning workers and publishes their messages."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
import torch

from ...envs import EnvInfo
from ...envs.tolerance import Remark
from ...errors import WorkerError
from ...ppo import Hyperparameters, Interface, build_policy
from ...protocol import Alarm, Event, GameClip, Level, WatchGame
from ..checkpoint.snapshot import Position
from ..collect import CollectorState
from ..controls import Controls
from ..device import Threads
from ..engine import Collected
from ..env_metrics import merged
from ..hub import RunContext
from ..metrics import RunMetrics
from ..recovery import start_warning
from .pool import ActorLearners
from .shared import LIVE, SharedOptimizer
from .worker import STATISTICS, Progress

PATIENCE_SECONDS = 0.1
"""How long the engine waits for the workers between two checks for commands."""


class A3CEngine:
    """An `Engine` of actor-learners: asynchronous advantage actor-critic (Mnih et al., 2016, arXiv:1602.01783).

    An update is a round of as many steps as all workers' rollouts have together (``rollout.num_envs`` ×
    ``rollout.steps``), whichever workers took them. Two runs of one seed are not equal, and neither are a resumed run
    and one that never stopped.

    Args:
        workers_log: file for the workers' output; None leaves it as it is.

    Raises:
        ConfigError: the networks do not fit.
        WorkerError: the workers could not start.
    """

    live_settings: frozenset[str] = frozenset(LIVE)
    has_rollout_ahead = False

    def __init__(self, context: RunContext, info: EnvInfo, *, workers_log: Path | None) -> None:
        config = context.config
        self._context = context
        self.device, self.threads = torch.device("cpu"), Threads(act=1, learn=1)
        torch.set_num_threads(1)
        self.policy = build_policy(
            info.observation_space,
            info.action_space,
            config.policy,
            frame_stack=config.env.frame_stack,
            seed=config.run.seed,
        )
        self.policy.interface = Interface(info, config.env)
        self.pool = ActorLearners(config, info, self.policy, workers_log)
        self.rollouts = _EnvironmentsOfWorkers()
        self._failures: Counter[int] = Counter()
        self._remarked: set[str] = set()
        self._steps_since_failure: Counter[int] = Counter()
        try:
            self.metrics = RunMetrics(context, self.pool, self.device)
            self.pool.wait_until_ready()
            self.learner = SharedOptimizer(self.pool.shared, config.optim)
            self.learner.reset()
        except BaseException:
            self.pool.close()
            raise

    @property
    def groups(self) -> Sequence[slice]:
        return [self.pool.group_envs(group) for group in range(self.pool.num_groups)]

    def begin(self, hyper: Hyperparameters) -> None:
        """Let the workers learn; report the replaced ones."""
        for lost in self.pool.start_failures:
            message = start_warning(lost, self._context.config.workers.max_restarts)
            self._context.publish(Alarm(level=Level.WARNING, message=message))
            self._failures[lost.worker] = lost.losses
        self.pool.shared.write_hyperparameters(hyper)
        self.pool.pause(False)

    def collect(self, position: Position, hyper: Hyperparameters, controls: Controls) -> Collected[list[Progress]]:
        """Receive the workers' progress for one round."""
        self.pool.shared.write_hyperparameters(hyper)
        self.metrics.rollout_begins()
        progress: list[Progress] = []
        steps, wanted = 0, self._context.config.batch_size
        with self.metrics.times.phase("wait"):
            while steps < wanted:
                for worker, payload in self.pool.receive(PATIENCE_SECONDS):
                    if isinstance(payload, Progress):
                        steps += payload.steps
                        progress.append(payload)
                        self._count(worker, payload, position.step + steps)
                    else:
                        self._take(worker, payload, position)
                t = min(steps // self.pool.num_envs, self._context.config.rollout.steps)
                self.metrics.rollout_progress(position.step, position.update + 1, t)
                if self.metrics.interim_due:
                    self.metrics.interim(steps // self.pool.num_workers)
                controls.check()
        self.metrics.rollout_done(steps // self.pool.num_workers, (), merged(line.numbers for line in progress))
        return Collected(progress, steps)

    def _count(self, worker: int, progress: Progress, step: int) -> None:
        """Count a gradient's steps and publish its episodes.

        After the gradient the run is at `step`.
        """
        self._steps_since_failure[worker] += progress.steps
        if self._steps_since_failure[worker] >= self._context.config.batch_size:
            del self._failures[worker]
        for episode in progress.episodes:
            self.metrics.episode_finished(msgspec.structs.replace(episode, env=worker, step=step))

    def _take(self, worker: int, payload: Event | Remark | WorkerError, position: Position) -> None:
        """Take in a clip, a remark, or the failure of a worker."""
        if isinstance(payload, WorkerError):
            self._replace(worker, payload)
        elif isinstance(payload, GameClip):
            self._context.publish(msgspec.structs.replace(payload, env=worker, step=position.step))
        elif isinstance(payload, Remark) and payload.kind not in self._remarked:
            self._remarked.add(payload.kind)
            self._context.publish(Alarm(level=Level.WARNING, message=f"environment {worker}: {payload.text}"))

    def _replace(self, worker: int, error: WorkerError) -> None:
        """Replace a failed worker: everything learned is in the shared weights.

        Raises:
            WorkerError: it failed too often without a whole round of steps between.
        """
        allowed = self._context.config.workers.max_restarts
        self._failures[worker] += 1
        self._steps_since_failure[worker] = 0
        if self._failures[worker] > allowed:
            if allowed:
                error.message += f", after {allowed} restarts without a whole round between"
            raise error
        self.pool.replace(worker)
        message = f"{error.message}, restarted {self._failures[worker]}/{allowed}, in a new episode"
        details = "\n".join(getattr(error, "__notes__", ()))
        self._context.publish(Alarm(level=Level.WARNING, message=message, details=details))
        self._context.publish(self.metrics.workers.changed())

    def learn(
        self,
        collected: Collected[list[Progress]],
        position: Position,
        hyper: Hyperparameters,
        controls: Controls,
        *,
        more_wanted: bool,
    ) -> Mapping[str, float | None]:
        """Average the statistics of the round: the workers have learned already."""
        progress = collected.experience
        finite = [line.statistics for line in progress if line.finite]
        self.learner.gradients_done += len(finite)
        return {f"train/{name}": _mean([line[name] for line in finite]) for name in STATISTICS} | {
            "train/nonfinite": float(len(progress) - len(finite)),
            "train/n_updates": self.learner.gradients_done,
            "train/learning_rate": hyper.learning_rate,
            **hyper.scheduled_coefficients(self._context.config.ppo),
        }

    def pause(self, paused: bool) -> None:
        self.pool.pause(paused)

    def allow(self, minibatches: int | None) -> None:
        """No limit is ever set: `Controls` refuses to step through A3C."""

    def watch(self, command: WatchGame) -> None:
        self.pool.watch(command)


class _EnvironmentsOfWorkers:
    """The workers' environments, for checkpoints.

    They are not saved, and begin new episodes in a resumed run.
    """

    def reset(self) -> None:
        """Nothing to do: the workers reset them when they start."""

    def save_state(self) -> CollectorState:
        return CollectorState({}, ())

    def load_state(self, state: CollectorState) -> dict[int, str]:
        return {}


def _mean(values: list[float]) -> float:
    """Mean of the numbers among `values`; NaN without any."""
    numbers = [value for value in values if not np.isnan(value)]
    return statistics.fmean(numbers) if numbers else float("nan")
