"""Normalisation of observations, rewards and values by running statistics.

The statistics are updated once with each rollout: those of observations after learning from it, so that acting and
learning use the same numbers; those of values before, because the rollout holds values in real units. Nothing depends
on the order of the workers' answers. Evaluation leaves them unchanged.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..distributed.ranks import ALONE, Ranks

NORMALIZED_LIMIT = 10.0
"""Normalised observations and rewards are clipped to ± this, as in Stable-Baselines3's ``VecNormalize``."""

EPSILON = 1e-8
"""Added to variances, as in ``VecNormalize``: a constant is then normalised to 0."""

VALUE_WINDOW = 50_000
"""Steps after which a target counts e times less in the statistics of values.

About 25 rollouts of a fast Atari run, enough for a steady σ. A return that grows from 0 to 400 in two million steps
grows by 10 in a window, far less than it varies from state to state, so that normalised targets keep near mean 0. The
average over the whole run would lag 200 behind.
"""

DEVIATIONS = (1e-4, 1e6)
"""Smallest and largest σ of values, as in Hessel et al., 2019, arXiv:1809.04474."""


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


class ValueNormalizer(RunningMoments):
    """Mean μ and standard deviation σ of a value head's targets.

    PopArt: "preserving outputs precisely, while adaptively rescaling targets" (van Hasselt et al., 2016,
    arXiv:1602.07714). The head computes n(s), and V(s) = σ n(s) + μ. Its error is measured between n(s) and the
    normalised target, so that it learns as fast from returns of 400 as from returns of 1.

    At first all targets count alike, as in rl_games and in the debiased average of MAPPO (Yu et al., 2022,
    arXiv:2103.01955); from then on the newest `VALUE_WINDOW` count most. Before the first ones μ is 0 and σ is 1.
    """

    @property
    def deviation(self) -> Tensor:
        """σ, a float64 scalar."""
        return self.variance.sqrt().clamp(*DEVIATIONS)

    def forward(self, outputs: Tensor) -> Tensor:
        """V(s) in real units, `[B]`, of the head's outputs n(s)."""
        return outputs * self.deviation.float() + self.mean.float()

    def normalize(self, values: Tensor) -> Tensor:
        """Values or targets in real units, `[B]`, as the head has them."""
        return (values - self.mean.float()) / self.deviation.float()

    @torch.no_grad()
    def adapt(self, targets: Tensor, head: nn.Linear) -> None:
        """Add targets of all ranks to the statistics; `head` keeps its V(s).

        w ← σ w / σ' and b ← (σ b + μ − μ') / σ' (van Hasselt et al., proposition 1). Targets that are not finite are
        left out.

        Args:
            targets: in real units, of any shape.
        """
        targets = targets[targets.isfinite()].to(self.mean.device)
        if not len(targets):
            return
        mean, deviation = self.mean.clone(), self.deviation
        self.count.mul_(math.exp(-len(targets) / VALUE_WINDOW))
        self.merge(targets)
        _rescale(head, deviation / self.deviation, (mean - self.mean) / self.deviation)

    @torch.no_grad()
    def fold_into(self, head: nn.Linear) -> None:
        """Make `head` compute V(s) itself."""
        _rescale(head, self.deviation, self.mean)


def _rescale(head: nn.Linear, scale: Tensor, offset: Tensor) -> None:
    """Let `head` compute `scale` times its outputs plus `offset`."""
    head.weight.copy_(head.weight.double() * scale)
    head.bias.copy_(head.bias.double() * scale + offset)


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
