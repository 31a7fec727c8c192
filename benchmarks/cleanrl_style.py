"""PPO as single-file implementations write it: plain PyTorch, nothing tuned for speed.

It stands for the scripts that people start from, such as CleanRL's, so it has what they have (NCHW float images
divided by 255, unfused Adam, stacked frames stored whole) and none of what makes the learner of this project fast.
The algorithm is Schulman et al., "Proximal Policy Optimization Algorithms" (2017, arXiv:1707.06347), equations 7, 9,
11 and 12, with the value clipping and the advantage normalisation of OpenAI's baselines.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Categorical

from ppo_tui import Config


class Agent(nn.Module):
    """The Nature CNN (Mnih et al., 2015) with policy and value heads."""

    def __init__(self, num_actions: int) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            orthogonal(nn.Conv2d(4, 32, 8, stride=4)), nn.ReLU(),
            orthogonal(nn.Conv2d(32, 64, 4, stride=2)), nn.ReLU(),
            orthogonal(nn.Conv2d(64, 64, 3)), nn.ReLU(),
            nn.Flatten(),
            orthogonal(nn.Linear(64 * 7 * 7, 512)), nn.ReLU(),
        )  # fmt: skip
        self.actor = orthogonal(nn.Linear(512, num_actions), gain=0.01)
        self.critic = orthogonal(nn.Linear(512, 1), gain=1.0)

    def forward(self, observations: Tensor) -> tuple[Categorical, Tensor]:
        """Policies and values `[B]` of frames `[B, 4, 84, 84]` in 0..255."""
        features = self.trunk(observations / 255.0)
        return Categorical(logits=self.actor(features)), self.critic(features).squeeze(-1)


def orthogonal(layer: nn.Conv2d | nn.Linear, gain: float = 2**0.5) -> nn.Conv2d | nn.Linear:
    nn.init.orthogonal_(layer.weight, gain)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


@dataclass
class Rollout:
    """Data of one update.

    `dones[t]`: whether the observation of step t is the first of its episode.
    """

    observations: Tensor  # [T, N, 4, 84, 84]
    actions: Tensor  # [T, N]
    log_probs: Tensor  # [T, N]
    rewards: Tensor  # [T, N]
    dones: Tensor  # [T, N]
    values: Tensor  # [T, N]

    @classmethod
    def empty(cls, steps: int, num_envs: int) -> Rollout:
        scalars = torch.zeros(5, steps, num_envs).unbind()
        return cls(torch.zeros(steps, num_envs, 4, 84, 84), *scalars)


class CleanRLStyle:
    """Collects from a vector environment with Gymnasium's `step`, and learns.

    Args:
        envs: N environments that show frames `[N, 4, 84, 84]` and reset themselves.
    """

    def __init__(self, envs, config: Config, num_actions: int) -> None:
        self.envs, self.config = envs, config
        self.agent = Agent(num_actions)
        self.optimizer = torch.optim.Adam(
            self.agent.parameters(), lr=config.optim.learning_rate, eps=config.optim.adam_eps
        )
        self.rollout = Rollout.empty(config.rollout.steps, config.rollout.num_envs)
        self.observations = torch.Tensor(envs.reset()[0])
        self.dones = torch.zeros(config.rollout.num_envs)

    def update(self, progress: float) -> None:
        """Collect one rollout and learn from it.

        `progress` is the share of the training so far, 0 to 1.
        """
        self.optimizer.param_groups[0]["lr"] = self.config.optim.learning_rate * (1.0 - progress)
        self._collect()
        advantages = self._advantages()
        self._learn(advantages, advantages + self.rollout.values)

    @torch.no_grad()
    def _collect(self) -> None:
        rollout = self.rollout
        for t in range(self.config.rollout.steps):
            rollout.observations[t], rollout.dones[t] = self.observations, self.dones
            distribution, rollout.values[t] = self.agent(self.observations)
            actions = distribution.sample()
            rollout.actions[t], rollout.log_probs[t] = actions, distribution.log_prob(actions)
            observations, rewards, terminations, truncations, _ = self.envs.step(actions.numpy())
            rollout.rewards[t] = torch.from_numpy(rewards)
            self.observations = torch.Tensor(observations)
            self.dones = torch.Tensor(np.logical_or(terminations, truncations))

    @torch.no_grad()
    def _advantages(self) -> Tensor:
        """Generalised advantage estimates `[T, N]`: equations 11 and 12."""
        ppo, rollout = self.config.ppo, self.rollout
        next_values, next_dones = self.agent(self.observations)[1], self.dones
        advantages, running = torch.zeros_like(rollout.rewards), torch.zeros_like(next_dones)
        for t in reversed(range(len(advantages))):
            alive = 1.0 - next_dones
            delta = rollout.rewards[t] + ppo.gamma * next_values * alive - rollout.values[t]
            running = delta + ppo.gamma * ppo.gae_lambda * alive * running
            advantages[t] = running
            next_values, next_dones = rollout.values[t], rollout.dones[t]
        return advantages

    def _learn(self, advantages: Tensor, returns: Tensor) -> None:
        """Epochs of minibatch steps on the clipped objective: equations 7 and 9."""
        flat = {name: value.flatten(0, 1) for name, value in vars(self.rollout).items()}
        flat |= {"advantages": advantages.flatten(), "returns": returns.flatten()}
        for _ in range(self.config.ppo.epochs):
            for indices in torch.randperm(self.config.batch_size).split(self.config.minibatch_size):
                loss = self._loss({name: value[indices] for name, value in flat.items()})
                self.optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(self.agent.parameters(), self.config.optim.max_grad_norm)
                self.optimizer.step()

    def _loss(self, batch: dict[str, Tensor]) -> Tensor:
        ppo = self.config.ppo
        distribution, values = self.agent(batch["observations"])
        ratio = (distribution.log_prob(batch["actions"]) - batch["log_probs"]).exp()
        advantages = batch["advantages"]
        advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
        clipped_ratio = ratio.clamp(1 - ppo.clip_range, 1 + ppo.clip_range)
        policy_loss = -torch.min(ratio * advantages, clipped_ratio * advantages).mean()
        moved = (values - batch["values"]).clamp(-ppo.clip_range, ppo.clip_range)
        errors = (values - batch["returns"]).square()
        clipped_errors = (batch["values"] + moved - batch["returns"]).square()
        value_loss = 0.5 * torch.max(errors, clipped_errors).mean()
        return policy_loss + ppo.value_coef * value_loss - ppo.entropy_coef * distribution.entropy().mean()
