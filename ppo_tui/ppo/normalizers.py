"""Normalisation of observations and rewards by running statistics.

The statistics are updated once with each rollout, after learning from it: acting and learning use the same numbers, and
nothing depends on the order of the workers' answers. Evaluation leaves them unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..distributed.ranks import ALONE, Ranks

NORMALIZED_LIMIT = 10.0
"""Normalised observations and rewards are clipped to ± this, as in Stable-Baselines3's ``VecNormalize``."""

EPSILON = 1e-8
"""Added to variances, as in ``VecNormalize``: a constant is then normalised to 0."""


class RunningMoments(nn.Module):
    """Mean and variance of all samples so far, in float64.

    Args:
        shape: of one sample.
    """

    count: Tensor
    mean: Tensor
    variance: Tensor

    def __init__(self, shape: Sequence[int] = ()) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))
        self.register_buffer("mean", torch.zeros(tuple(shape), dtype=torch.float64))
        self.register_buffer("variance", torch.ones(tuple(shape), dtype=torch.float64))

    @torch.no_grad()
    def merge(self, samples: Tensor, ranks: Ranks = ALONE) -> None:
        """Add samples, `[M, *shape]` on each of `ranks`, to the moments.

        The parallel algorithm (Chan, Golub & LeVeque, 1979, equations 2.1a and 2.1b): the moments do not depend on how
        the samples are split into calls.
        """
        size, mean, variance = ranks.moments(samples.double())
        total = self.count + size
        delta = mean - self.mean
        squares = self.variance * self.count + variance * size
        self.variance.copy_((squares + delta.square() * self.count * size / total) / total)
        self.mean.add_(delta * size / total)
        self.count.copy_(total)


class ObservationNormalizer(RunningMoments):
    """A normaliser of each number of an observation.

    It computes (x − mean) / √(variance + ε), clipped.

    At first the mean is 0 and the variance 1.

    Args:
        shape: of one frame; a stack of frames shares the statistics.
    """

    def forward(self, observations: Tensor) -> Tensor:
        """Observations `[B, (K,) *shape]` of floats, normalised."""
        scale = torch.rsqrt(self.variance + EPSILON).float()
        return ((observations - self.mean.float()) * scale).clamp(-NORMALIZED_LIMIT, NORMALIZED_LIMIT)


class RewardNormalizer:
    """Rewards divided by the standard deviation of the discounted return, and clipped.

    The return is Rₜ = γ Rₜ₋₁ + rₜ, as in ``VecNormalize``. Rewards are not centred: it would change the optimal policy
    where the length of an episode depends on the actions. The scale of a rollout includes the rollout itself.

    Args:
        num_envs: environments of all `ranks` together.
    """

    def __init__(self, num_envs: int, ranks: Ranks = ALONE) -> None:
        self._ranks = ranks
        self._moments = RunningMoments()
        self._returns = torch.zeros(num_envs, dtype=torch.float64)[ranks.share(num_envs)]

    def __call__(self, rewards: Tensor, episode_ends: Tensor, gamma: float) -> Tensor:
        """Normalise this rank's rewards of a rollout, `[T, N]`.

        Its returns are added to the moments before.

        Args:
            episode_ends: bool `[T, N]`; R restarts at 0 after them.
        """
        running, returns = self._returns, []
        for reward, ended in zip(rewards.double(), episode_ends, strict=True):
            running = gamma * running + reward
            returns.append(running)
            running = running.masked_fill(ended, 0.0)
        self._returns = running
        self._moments.merge(torch.stack(returns).flatten(), self._ranks)
        scale = torch.rsqrt(self._moments.variance + EPSILON)
        return (rewards * scale).clamp(-NORMALIZED_LIMIT, NORMALIZED_LIMIT)

    def state_dict(self) -> dict[str, Tensor]:
        """The state of all ranks; every rank has to call it."""
        return {"returns": self._ranks.concatenate(self._returns.clone(), dim=0)} | {
            name: tensor.clone() for name, tensor in self._moments.state_dict().items()
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        moments = dict(state)
        returns = moments.pop("returns")
        self._returns = returns[self._ranks.share(len(returns))].clone()
        self._moments.load_state_dict(moments)
