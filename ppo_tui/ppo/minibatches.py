"""A rollout, cut into minibatches; where several ranks hold the rollout, the part of each minibatch that lies here."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import torch
from torch import Tensor

from ..distributed.ranks import ALONE, Ranks
from .buffer import Minibatch, RolloutBuffer


class Minibatches:
    """Cuts the rollout of all ranks, T steps of N environments, into minibatches of any order.

    A sample is a step, step t of environment n being number t × N + n; or a whole environment, where what a policy
    does depends on the steps before. The order and what is in each minibatch are the same on every rank, whoever holds
    the samples: how many of a minibatch's lie here differs from one to the next, and may be none.

    Args:
        rollout: this rank's environments, where the learner computes.
        count: minibatches that an order is cut into.
        whole_envs: samples are whole environments.
        advantages: of all ranks, `[T, N]`; needed only where there are several.

    Attributes:
        num_samples: in the rollout of all ranks.
    """

    def __init__(
        self,
        rollout: RolloutBuffer,
        *,
        count: int,
        whole_envs: bool,
        advantages: Tensor | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        self._rollout, self._count, self._whole_envs, self._ranks = rollout, count, whole_envs, ranks
        self._advantages = advantages
        self._num_envs = rollout.num_envs * ranks.size
        self._choose = rollout.sequences if whole_envs else rollout.minibatch
        self.num_samples = (1 if whole_envs else rollout.num_steps) * self._num_envs

    def shuffled(self, generator: torch.Generator) -> Iterator[Minibatch]:
        """Every sample once, in an order that `generator` draws."""
        return self._cut(torch.randperm(self.num_samples, generator=generator))

    def in_order(self) -> Iterator[Minibatch]:
        """Every sample once, as they lie."""
        return self._cut(torch.arange(self.num_samples))

    def _cut(self, order: Tensor) -> Iterator[Minibatch]:
        take = self._choose if self._ranks.size == 1 else self._take_own
        return map(take, order.to(self._rollout.frames.device).tensor_split(self._count))

    def _take_own(self, samples: Tensor) -> Minibatch:
        """Those of these samples that lie here."""
        own, num_envs = self._ranks.share(self._num_envs), self._num_envs
        envs = samples if self._whole_envs else samples % num_envs
        mine = (envs >= own.start) & (envs < own.stop)
        indices = envs[mine] - own.start
        if not self._whole_envs:
            indices += samples[mine] // num_envs * self._rollout.num_envs
        advantages = self._advantages[:, samples] if self._whole_envs else self._advantages.view(-1)[samples]
        share = len(indices) / len(samples)
        return dataclasses.replace(self._choose(indices), share=share, whole_advantages=advantages)
