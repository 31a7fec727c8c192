"""The minibatches of a rollout: of this process, or of all ranks."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..distributed.ranks import ALONE, Ranks
from .recurrent import RecurrentContext

if TYPE_CHECKING:
    from .buffer import RolloutBuffer


@dataclasses.dataclass(frozen=True, kw_only=True)
class Minibatch:
    """B steps of a rollout, in the order of the given indices.

    All tensors are `[B]` unless another shape is given.

    Attributes:
        observations: `[B, (K,) *S]`.
        actions: `[B, *action_shape]`.
        log_probs: log-probabilities of the actions under the policy that acted.
        values: V(s) of the critic that acted.
        masks: the possible actions, bool `[B, A]`, or None where all are.
        old_distributions: parameters of the distributions of the acting policy, `[B, P]`, where they are kept.
        context: recurrent states before these steps; None without recurrence.
        share: B divided by the steps of the whole minibatch, whose rest other ranks hold.
        whole_advantages: advantages of the whole minibatch where there are several ranks; else None.
    """

    observations: Tensor
    actions: Tensor
    log_probs: Tensor
    values: Tensor
    advantages: Tensor
    returns: Tensor
    masks: Tensor | None = None
    old_distributions: Tensor | None = None
    context: RecurrentContext | None = None
    share: float = 1.0
    whole_advantages: Tensor | None = None


class Minibatches:
    """Minibatches of the rollout of all ranks.

    The rollout is T steps of N environments, counted over all ranks.

    A sample is a step, step t of environment n being number t × N + n; or a whole environment, for a recurrent policy.
    The order and the samples of each minibatch are the same on every rank: the number of samples that lie on this rank
    differs from one minibatch to the next, and may be zero.

    Args:
        rollout: this rank's environments, on the learner's device.
        count: number of minibatches.
        whole_envs: samples are whole environments.
        advantages: of all ranks, `[T, N]`; needed only with several ranks.
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
        self._select = rollout.sequences if whole_envs else rollout.minibatch
        self._num_samples = (1 if whole_envs else rollout.num_steps) * self._num_envs

    def shuffled(self, generator: torch.Generator) -> Iterator[Minibatch]:
        """Every sample once, in a random order drawn from `generator`."""
        return self._split(torch.randperm(self._num_samples, generator=generator))

    def in_order(self) -> Iterator[Minibatch]:
        """Every sample once, by number."""
        return self._split(torch.arange(self._num_samples))

    def _split(self, order: Tensor) -> Iterator[Minibatch]:
        select = self._select if self._ranks.size == 1 else self._select_of_rank
        return map(select, order.to(self._rollout.frames.device).tensor_split(self._count))

    def _select_of_rank(self, samples: Tensor) -> Minibatch:
        """The samples of this rank among `samples`."""
        assert self._advantages is not None, "several ranks normalise by the advantages of all"
        share_of_rank, num_envs = self._ranks.share(self._num_envs), self._num_envs
        envs = samples if self._whole_envs else samples % num_envs
        here = (envs >= share_of_rank.start) & (envs < share_of_rank.stop)
        indices = envs[here] - share_of_rank.start
        if not self._whole_envs:
            indices += samples[here] // num_envs * self._rollout.num_envs
        advantages = self._advantages[:, samples] if self._whole_envs else self._advantages.view(-1)[samples]
        share = len(indices) / len(samples)
        return dataclasses.replace(self._select(indices), share=share, whole_advantages=advantages)
