"""What runs inside an actor-learner: play a few steps, compute their gradient, apply it to the shared weights."""

from __future__ import annotations

import dataclasses
import functools
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...config import Config
from ...envs import EnvInfo, make_env
from ...ppo import Hyperparameters, RolloutBuffer, build_policy, losses
from ...protocol import Event, WatchGame
from ...workers import wire
from ...workers.wire import Reply, Request
from ...workers.worker import become_worker, error_reply
from ..collect import Collector, wrap_rollout
from ..game_clips import GameClips
from ..metrics import PhaseTimes, TrainingClock
from .own_envs import OwnEnvs
from .shared import SharedLayout, SharedMemory, SharedOptimizer, lay_out

HELD_SECONDS = 0.05
"""How long a worker that waits sleeps between two looks at whether it may go on."""

STATISTICS = ("policy_gradient_loss", "value_loss", "entropy_loss", "loss", "grad_norm", "explained_variance")


class A3CSetup(NamedTuple):
    """All that an actor-learner needs to know.

    Attributes:
        index: its rank.
        restarts: how often the worker of this rank has been replaced.
    """

    index: int
    restarts: int
    config: Config
    info: EnvInfo
    layout: SharedLayout
    log_path: str | None

    @property
    def seed(self) -> int:
        """Of environment and actions: the run's plus the rank, and one that nobody has had yet after each restart."""
        return self.config.run.seed + self.index + self.layout.num_workers * self.restarts


class Progress(NamedTuple):
    """What an actor-learner says of one gradient.

    Attributes:
        steps: of the rollout.
        episodes: raw return and length of each full game that ended in it.
        statistics: by the names of `STATISTICS`, means over the steps.
        finite: whether loss and gradient were, else nothing was applied.
    """

    steps: int
    episodes: tuple[tuple[float, int], ...]
    statistics: dict[str, float]
    finite: bool


def actor_learner(pipe: Connection, setup: A3CSetup, memory: Any) -> None:
    """Learn until the parent says so or is gone."""
    become_worker(setup.log_path)
    try:
        learner = ActorLearner(setup, SharedMemory(setup.layout, memory), pipe)
        wire.send(pipe, wire.encode(Reply.READY))
        learner.learn()
    except (BrokenPipeError, ConnectionResetError, EOFError):
        return  # the parent closed its end or died
    except BaseException as error:
        try:
            wire.send(pipe, error_reply(setup.index, error))
        except OSError:
            return


class ActorLearner:
    """Algorithm S3 of Mnih et al., 2016, with generalised advantage estimation: λ = 1 gives the paper's returns."""

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
        self._envs = OwnEnvs(functools.partial(make_env, config.env), info, slots)
        self._rollout = wrap_rollout(self._envs.shared, self._policy, config, masked=info.num_masked > 0)
        self._collector = Collector(
            self._envs,
            self._policy,
            self._rollout,
            times=PhaseTimes(TrainingClock()),
            action_seed=seed,
            env_seeds=[seed],
        )
        self._game = GameClips(
            self._envs,
            self._policy,
            self._rollout,
            action_names=info.action_meanings or (),
            emit=lambda event: self._send(event),
        )

    def learn(self) -> None:
        """One gradient after the other; returns when the parent asks for the end.

        Raises:
            OSError, EOFError: the parent is gone.
        """
        self._collector.reset()
        total = 0
        while self._obey():
            self._weights.copy_(self._shared.weights)  # θ' ← θ
            hyper = dataclasses.replace(self._config_hyper, **self._shared.read_hyperparameters())
            self._game.before_rollout(total)
            experience = self._play()
            self._game.after_rollout()
            total += experience.num_steps
            statistics, finite = self._improve(experience, hyper)
            episodes = tuple(
                (episode.episode_return, episode.length)
                for episode in self._collector.finished_episodes(0, experience.num_steps)
            )
            experience.carry_over()
            self._shared.busy_seconds[self._index] = self._envs.shared.busy_seconds[0]
            self._send(Progress(experience.num_steps, episodes, statistics, finite))

    def _obey(self) -> bool:
        """Take in what the parent has sent, and wait while it wants that; False where it wants the end."""
        while True:
            while self._pipe.poll(HELD_SECONDS if self._shared.held else 0):
                message = wire.receive(self._pipe)
                if message[0] == Request.CLOSE:
                    return False
                command: WatchGame = wire.decode(message)
                self._game.watch(command)
            if not self._shared.held:
                return True

    def _play(self) -> RolloutBuffer:
        """Up to n steps; as in the paper, a rollout ends with its episode."""
        for t in range(self._steps):
            self._collector.step(t)
            if self._collector.all_ended(t):
                break
        return self._collector.finish(t + 1)

    def _improve(self, experience: RolloutBuffer, hyper: Hyperparameters) -> tuple[dict[str, float], bool]:
        """Apply the gradient of the rollout, summed over its steps as in the paper, to the shared weights."""
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
        """Mean loss of the steps: −log π(aₜ|sₜ) Âₜ + c₁ ½ (V(sₜ) − Vᵗᵃʳᵍ)² − c₂ H (section 4), and its terms."""
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
        weights = (1.0, hyper.value_coef, hyper.entropy_coef)
        loss = sum(weight * term for weight, term in zip(weights, terms.values(), strict=True))
        return loss, {name: term.item() for name, term in terms.items()}

    def _send(self, payload: Progress | Event) -> None:
        wire.send(self._pipe, wire.encode(Reply.RESULT, payload))
