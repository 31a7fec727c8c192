"""The interface of an algorithm to the training loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Generic, NamedTuple, Protocol, TypeVar

import torch

from ..ppo import ActorCritic, Hyperparameters
from ..protocol import WatchGame
from .checkpoint.snapshot import Position, SavesEnvironments, SavesLearning
from .controls import Controls
from .device import Threads
from .metrics import RunMetrics
from .workers_view import Workers

E = TypeVar("E")


class Collected(NamedTuple, Generic[E]):
    """Experience to learn from, and its number of environment steps.

    The steps are those of all ranks.
    """

    experience: E
    steps: int


class ClosablePool(Workers, Protocol):
    """A pool of worker processes, closed together."""

    def close(self) -> None: ...


class Engine(Protocol[E]):
    """An algorithm, driven by the loop of `Trainer`.

    Attributes:
        live_settings: names of the live settings that it reads.
        has_rollout_ahead: whether the next rollout is collected already.
        groups: the environments of each of this rank's worker groups.
    """

    metrics: RunMetrics
    policy: ActorCritic
    device: torch.device
    threads: Threads

    @property
    def live_settings(self) -> frozenset[str]: ...

    @property
    def learner(self) -> SavesLearning: ...

    @property
    def rollouts(self) -> SavesEnvironments: ...

    @property
    def pool(self) -> ClosablePool: ...

    @property
    def has_rollout_ahead(self) -> bool: ...

    @property
    def groups(self) -> Sequence[slice]: ...

    def begin(self, hyper: Hyperparameters) -> None:
        """Start, with the environments ready for the first rollout."""
        ...

    def collect(self, position: Position, hyper: Hyperparameters, controls: Controls) -> Collected[E]:
        """Collect the experience of the next update.

        `position` is the run's before that update.

        Raises:
            StopTraining: a command ended the run.
        """
        ...

    def learn(
        self,
        collected: Collected[E],
        position: Position,
        hyper: Hyperparameters,
        controls: Controls,
        *,
        more_wanted: bool,
    ) -> Mapping[str, float | None]:
        """Learn from `collected` and return the learner's metrics.

        The other arguments are as for `collect`.

        Args:
            more_wanted: another rollout follows this update.
        """
        ...

    def pause(self, paused: bool) -> None:
        """Pause or continue any work beside the training thread."""
        ...

    def allow(self, minibatches: int | None) -> None:
        """Learn from so many more minibatches, then wait; None sets no limit."""
        ...

    def watch(self, command: WatchGame) -> None:
        """Send clips of the command's environment.

        None sends no more.
        """
        ...
