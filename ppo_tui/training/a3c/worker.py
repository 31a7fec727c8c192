"""An actor-learner process: short rollouts, gradients applied to shared weights."""

from __future__ import annotations

import dataclasses
import os
import pickle
from multiprocessing.connection import Connection
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from ...config import Config
from ...envs import EnvInfo
from ...envs.tolerance import Remark
from ...ppo import Hyperparameters, RolloutBuffer, build_policy, losses
from ...protocol import EpisodeFinished, Event, WatchGame
from ...workers import WorkerPool, wire
from ...workers.wire import ParentGoneError, Reply, Request
from ...workers.worker import become_worker, end_child, error_reply
from ..collect import Collector, wrap_rollout
from ..env_metrics import RolloutNumbers
from ..game_clips import GameClips
from ..hub import TrainingClock
from ..metrics import PhaseTimes
from .own_envs import OwnEnvs
from .shared import SharedLayout, SharedMemory, SharedOptimizer, lay_out

PAUSE_SECONDS = 0.05
"""How long a paused worker sleeps between two checks whether it may continue."""

STATISTICS = ("policy_gradient_loss", "value_loss", "entropy_loss", "loss", "grad_norm", "explained_variance")


@dataclasses.dataclass(frozen=True)
class A3CSetup:
    """The settings of an actor-learner process.

    Attributes:
        index: of the worker.
        restarts: replacements of this worker so far.
        env_fn: the constructor of the environment, pickled.
    """

    index: int
    restarts: int
    config: Config
    info: EnvInfo
    env_fn: bytes
    layout: SharedLayout
    log_path: str | None

    @property
    def seed(self) -> int:
        """The seed of environment and actions.

        It is the run's plus the index, and a new one after each restart.
        """
        return self.config.run.seed + self.index + self.layout.num_workers * self.restarts


class Progress(NamedTuple):
    """A message of an actor-learner about one gradient.

    Attributes:
        steps: of the rollout.
        episodes: those that ended in it.
        numbers: in the infos of its steps.
        statistics: by the names of `STATISTICS`, means over the steps.
        finite: whether loss and gradient were finite; else nothing was applied.
    """

    steps: int
    episodes: tuple[EpisodeFinished, ...]
    numbers: RolloutNumbers
    statistics: dict[str, float]
    finite: bool


def actor_learner(pipe: Connection, setup: A3CSetup, memory: Any) -> None:
    """Learn until the parent asks for the end, or is gone."""
    become_worker(setup.log_path)
    pid = os.getpid()
    try:
        learner = ActorLearner(setup, SharedMemory(setup.layout, memory), pipe)
        wire.send(pipe, wire.encode(Reply.READY))
        learner.learn()
    except BaseException as error:
        if os.getpid() != pid:
            end_child(error)
        try:
            wire.send(pipe, error_reply(setup.index, error))
        except ParentGoneError:
            return


class ActorLearner:
    """An actor-learner: algorithm S3 of Mnih et al., 2016, with GAE.

    λ = 1 gives the paper's returns.
    """

    def __init__(self, setup: A3CSetup, shared: SharedMemory, pipe: Connection) -> None:
        torch.set_num_threads(1)
        config, info, seed = setup.config, setup.info, setup.seed
        self._index, self._pipe, self._shared = setup.index, pipe, shared
        self._steps = config.rollout.steps
        self._config_hyper = Hyperparameters.from_config(config)
        self._policy = build_policy(
            info.observation_space, info.action_space, config.policy, frame_stack=config.env.frame_stack
        )
        self._weights, self._gradients = torch.empty_like(shared.weights), torch.zeros_like(shared.weights)
        lay_out(self._policy, self._weights, self._gradients)
        self._optimizer = SharedOptimizer(shared, config.optim)
        slots = config.env.frame_stack + self._steps
        self._envs = OwnEnvs(pickle.loads(setup.env_fn), info, slots, seed)
        self._rollout = wrap_rollout(self._envs.shared, self._policy, config, masked=info.num_masked > 0)
        pool = cast(WorkerPool, self._envs)  # has every method that `Collector` and `GameClips` call
        self._collector = Collector(
            pool,
            self._policy,
            self._rollout,
            times=PhaseTimes(TrainingClock()),
            action_seed=seed,
            env_seeds=[seed],
        )
        self._clips = GameClips(
            pool,
            self._policy,
            self._rollout,
            action_names=info.action_meanings or (),
            publish=self._send,
        )

    def learn(self) -> None:
        """Apply one gradient after another until the parent ends it.

        Raises:
            ParentGoneError: the parent is gone.
        """
        self._collector.reset()
        total = 0
        while self._obey():
            self._weights.copy_(self._shared.weights)  # θ' ← θ
            hyper = dataclasses.replace(self._config_hyper, **self._shared.read_hyperparameters())
            self._clips.gamma = hyper.gamma
            self._clips.before_rollout(total)
            experience = self._play()
            self._clips.after_rollout()
            for remark in self._envs.take_remarks():
                self._send(remark)
            total += experience.num_steps
            statistics, finite = self._improve(experience, hyper)
            episodes = tuple(self._collector.finished_episodes(0, range(experience.num_steps)))
            numbers = self._collector.numbers(experience.num_steps)
            experience.carry_over()
            self._shared.busy_seconds[self._index] = self._envs.shared.busy_seconds[0]
            self._send(Progress(experience.num_steps, episodes, numbers, statistics, finite))

    def _obey(self) -> bool:
        """Obey the parent, and wait while paused.

        Returns False if the parent asks for the end.
        """
        while True:
            while self._pipe.poll(PAUSE_SECONDS if self._shared.paused else 0):
                message = wire.receive(self._pipe)
                if message[0] == Request.CLOSE:
                    return False
                command: WatchGame = wire.decode(message)
                self._clips.watch(command)
            if not self._shared.paused:
                return True

    def _play(self) -> RolloutBuffer:
        """Collect a rollout of up to n steps.

        As in the paper, it ends with its episode.
        """
        steps = 0
        while steps < self._steps:
            self._collector.step(steps)
            steps += 1
            if self._collector.all_ended(steps - 1):
                break
        return self._collector.finish(steps)

    def _improve(self, experience: RolloutBuffer, hyper: Hyperparameters) -> tuple[dict[str, float], bool]:
        """Apply the gradient of the rollout to the shared weights.

        As in the paper, it is summed over the steps.
        """
        experience.compute_advantages(gamma=hyper.gamma, gae_lambda=hyper.gae_lambda)
        loss, statistics = self._loss(experience, hyper)
        self._gradients.zero_()
        (loss * experience.num_steps).backward()
        norm, finite = self._optimizer.step(
            self._gradients, learning_rate=hyper.learning_rate, max_grad_norm=hyper.max_grad_norm
        )
        statistics |= {
            "loss": loss.item(),
            "grad_norm": norm,
            "explained_variance": losses.explained_variance(experience.values, experience.returns).item(),
        }
        return statistics, finite

    def _loss(self, experience: RolloutBuffer, hyper: Hyperparameters) -> tuple[Tensor, dict[str, float]]:
        """Compute the mean loss of the steps, and its terms.

        A step's loss is −log π(aₜ|sₜ) Âₜ + c₁ ½ (V(sₜ) − Vᵗᵃʳᵍ)² − c₂ H (section 4).
        """
        if self._policy.state_size:
            batch = experience.sequences(torch.zeros(1, dtype=torch.int64))
        else:
            batch = experience.minibatch(torch.arange(len(experience)))
        distribution, values = self._policy(batch.observations, batch.masks, batch.context)
        terms = {
            "policy_gradient_loss": losses.policy_gradient_loss(distribution.log_prob(batch.actions), batch.advantages),
            "value_loss": losses.value_loss(values, batch.returns),
            "entropy_loss": losses.entropy_loss(distribution.entropy()),
        }
        loss = (
            terms["policy_gradient_loss"]
            + hyper.value_coef * terms["value_loss"]
            + hyper.entropy_coef * terms["entropy_loss"]
        )
        return loss, {name: term.item() for name, term in terms.items()}

    def _send(self, payload: Progress | Event | Remark) -> None:
        wire.send(self._pipe, wire.encode(Reply.RESULT, payload))
