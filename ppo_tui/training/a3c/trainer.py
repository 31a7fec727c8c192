"""The engine of A3C: the workers learn by themselves; it steers them and says what happens."""

from __future__ import annotations

import statistics
from collections import Counter

import msgspec
import numpy as np
import torch

from ...envs import EnvInfo
from ...errors import WorkerError
from ...ppo import build_policy
from ...protocol import Alarm, CommandRefused, EpisodeFinished, Event, GameClip, Level, SetValue, WatchGame
from ..collect import CollectorState
from ..device import Threads
from ..trainer import Trainer
from .pool import ActorLearners
from .shared import LIVE, SharedOptimizer
from .worker import STATISTICS, Progress

PATIENCE_SECONDS = 0.1
"""How long the engine waits for the workers before it looks for commands again."""


class A3CTrainer(Trainer):
    """Trains a policy by asynchronous advantage actor-critic (Mnih et al., 2016, arXiv:1602.01783).

    The interface is that of `Trainer`, and so are events, commands and files. What they call an update is a round of as
    many steps as all workers' rollouts have together (``rollout.num_envs`` × ``rollout.steps``), whoever took them. Two
    runs of one seed are not equal, and neither are a resumed run and one that never stopped.
    """

    ALGORITHM = "a3c"

    def _choose_device(self) -> torch.device:
        return torch.device("cpu")

    def _choose_threads(self, info: EnvInfo) -> Threads:
        return Threads(act=1, learn=1)

    def _start_workers(self, info: EnvInfo) -> ActorLearners:
        config = self.config
        torch.set_num_threads(1)
        self.policy = build_policy(
            info.observation_space,
            info.action_space,
            config.policy,
            frame_stack=config.env.frame_stack,
            seed=config.run.seed,
        )
        log_path = None if self._run_dir is None else self._run_dir / "workers.log"
        return ActorLearners(config, info, self.policy, log_path)

    def _build(self, info: EnvInfo) -> None:
        self.learner = SharedOptimizer(self.pool.shared, self.config.optim)
        self.learner.reset()
        self._rollouts = _Elsewhere()
        self._losses: Counter[int] = Counter()
        self._steps_since_loss: Counter[int] = Counter()

    def _hold(self, paused: bool) -> None:
        self._clock.hold(paused)
        self.pool.hold(paused)

    def _watch(self, command: WatchGame) -> None:
        if command.env is not None and not 0 <= command.env < self.pool.num_envs:
            self._emit(CommandRefused(message=f"watch env {command.env}: envs are 0 to {self.pool.num_envs - 1}"))
            return
        self.pool.watch(command)

    def _edit(self, asked: SetValue) -> None:
        if asked.key.partition(".")[2] in LIVE:
            super()._edit(asked)
        else:
            self._emit(CommandRefused(message=f"{asked.key}: A3C has no such thing", by=asked.by))

    # ── The loop ────────────────────────────────────────────────────────────────────────────────────────────

    def _begin(self) -> None:
        super()._begin()
        self._write_hyperparameters()
        self.pool.hold(False)

    def _write_hyperparameters(self) -> None:
        self.pool.shared.write_hyperparameters(self._settings.hyperparameters(self.progress))

    def _collect(self) -> None:
        """Listen to the workers for one round."""
        self._write_hyperparameters()
        self._books.rollout_begins()
        self._round: list[Progress] = []
        self._taken = 0
        with self._books.times.phase("wait"):
            while self._taken < self.config.batch_size:
                for worker, payload in self.pool.receive(PATIENCE_SECONDS):
                    self._take(worker, payload)
                t = min(self._taken // self.pool.num_envs, self.config.rollout.steps)
                self._books.rollout_progress(self.step, self.update + 1, t)
                self._controls.check()
        self._books.rollout_done(self._taken // self.pool.num_workers)

    def _take(self, worker: int, payload: Progress | Event | WorkerError) -> None:
        """Take in what a worker has sent, or that nothing will come from it any more."""
        if isinstance(payload, WorkerError):
            self._replace(worker, payload)
            return
        if isinstance(payload, GameClip):
            self._emit(msgspec.structs.replace(payload, env=worker, step=self.step))
            return
        self._taken += payload.steps
        self._round.append(payload)
        self._steps_since_loss[worker] += payload.steps
        if self._steps_since_loss[worker] >= self.config.batch_size:
            del self._losses[worker]
        for episode_return, length in payload.episodes:
            self._books.episode_finished(
                EpisodeFinished(env=worker, episode_return=episode_return, length=length, step=self.step + self._taken)
            )

    def _replace(self, worker: int, error: WorkerError) -> None:
        """Let another worker learn in the place of a lost one: all that was learnt is in the shared weights.

        Raises:
            WorkerError: it was lost too often without taking the steps of a whole round between.
        """
        allowed = self.config.workers.max_restarts
        self._losses[worker] += 1
        self._steps_since_loss[worker] = 0
        if self._losses[worker] > allowed:
            if allowed:
                error.message += f", after {allowed} restarts without a whole round between"
            raise error
        self.pool.replace(worker)
        message = f"{error.message}, restarted {self._losses[worker]}/{allowed}, in a new episode"
        self._emit(Alarm(level=Level.WARNING, message=message, details="\n".join(getattr(error, "__notes__", ()))))
        self._emit(self._books.workers.changed())

    def _learn(self) -> None:
        """The workers have; this is what they say of it."""
        hyper = self._settings.hyperparameters(self.progress)
        finite = [progress.statistics for progress in self._round if progress.finite]
        self.learner.gradients_done += len(finite)
        self._metrics = {f"train/{name}": _mean([line[name] for line in finite]) for name in STATISTICS} | {
            "train/nonfinite": float(len(self._round) - len(finite)),
            "train/n_updates": self.learner.gradients_done,
            "train/learning_rate": hyper.learning_rate,
        }
        self.update += 1
        self.step += self._taken


class _Elsewhere:
    """In place of `Rollouts`, for checkpoints: the environments are the workers', who begin new episodes."""

    ahead = None

    def reset(self) -> None:
        """The workers do so when they start."""

    def save_state(self) -> CollectorState:
        return CollectorState({}, ())


def _mean(values: list[float]) -> float:
    """Over the numbers among them; NaN where there are none."""
    numbers = [value for value in values if not np.isnan(value)]
    return statistics.fmean(numbers) if numbers else float("nan")
