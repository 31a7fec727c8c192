"""Actor and critic: from observations to action distributions and values, and from actions to the environment's."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn

from ..config import PolicyConfig
from ..errors import ConfigError
from .distributions import Categorical, DiagonalGaussian, Distribution
from .networks import MLP, NatureCNN, initialize_orthogonal
from .observations import image_layout


class Decision(NamedTuple):
    """What the policy decides for B observations. Made in inference mode: to be copied before gradients need it.

    Attributes:
        actions: `[B, *action_shape]`, as the policy counts them (see `ActorCritic.env_actions`).
        log_probs: log π(a|s), `[B]`.
        values: V(s), `[B]`.
    """

    actions: Tensor
    log_probs: Tensor
    values: Tensor


class ActorCritic(nn.Module):
    """A policy π(a|s) and a value function V(s), on one trunk or on two.

    Args:
        actor_trunk: features for the policy head.
        critic_trunk: features for the value head, or None where both heads share `actor_trunk`.
        action_space: `Discrete`, or a `Box` of real numbers, whose A dimensions are flattened.
        log_std_init: initial log standard deviation of continuous actions.
        mixed_precision: compute the trunks in bfloat16, under `torch.autocast`.

    Attributes:
        action_shape: of one action within the policy: `()` for discrete actions, `(A,)` for continuous ones.
        action_dtype: int64 or float32.
    """

    def __init__(
        self,
        actor_trunk: NatureCNN | MLP,
        critic_trunk: NatureCNN | MLP | None,
        action_space: spaces.Discrete | spaces.Box,
        *,
        log_std_init: float = 0.0,
        mixed_precision: bool = False,
    ) -> None:
        super().__init__()
        self.mixed_precision = mixed_precision
        self.action_space = action_space
        self.actor_trunk = actor_trunk
        self.critic_trunk = critic_trunk
        self.is_discrete = isinstance(action_space, spaces.Discrete)
        if self.is_discrete:
            self.num_action_parameters = int(action_space.n)
            self.action_shape: tuple[int, ...] = ()
            self.action_dtype = torch.int64
        else:
            self.num_action_parameters = math.prod(action_space.shape)
            self.action_shape = (self.num_action_parameters,)
            self.action_dtype = torch.float32
            self.log_std = nn.Parameter(torch.full(self.action_shape, log_std_init))
        self.policy_head = nn.Linear(actor_trunk.num_features, self.num_action_parameters)
        self.value_head = nn.Linear((critic_trunk or actor_trunk).num_features, 1)

    def forward(self, observations: Tensor) -> tuple[Distribution, Tensor]:
        """The action distributions and the values `[B]` of observations `[B, (K,) *S]`."""
        features = self._features(self.actor_trunk, observations)
        critic_features = features if self.critic_trunk is None else self._features(self.critic_trunk, observations)
        return self._distribution(features), self.value_head(critic_features).squeeze(-1)

    def _features(self, trunk: NatureCNN | MLP, observations: Tensor) -> Tensor:
        """What `trunk` makes of the observations, `[B, num_features]`, always as float32.

        In mixed precision the heads stay float32: their outputs decide the probability ratio, in which the eight bits
        of a bfloat16 would drown the small steps of an update.
        """
        with torch.autocast(observations.device.type, dtype=torch.bfloat16, enabled=self.mixed_precision):
            features = trunk(observations)
        return features.float()

    def _distribution(self, features: Tensor) -> Distribution:
        parameters = self.policy_head(features)  # [B, A]
        return Categorical(parameters) if self.is_discrete else DiagonalGaussian(parameters, self.log_std)

    @torch.inference_mode()
    def act(self, observations: Tensor, *, noise: Tensor | None) -> Decision:
        """Choose an action for each observation `[B, (K,) *S]`.

        Args:
            noise: these observations' rows of `draw_noise`, `[B, A]`; None takes the most probable action.
        """
        distribution, values = self(observations)
        actions = distribution.mode() if noise is None else distribution.sample(noise)
        return Decision(actions, distribution.log_prob(actions), values)

    @torch.inference_mode()
    def value(self, observations: Tensor) -> Tensor:
        """V(s) alone, `[B]`, of observations `[B, (K,) *S]`."""
        return self.value_head(self._features(self.critic_trunk or self.actor_trunk, observations)).squeeze(-1)

    def draw_noise(self, batch: int, generator: torch.Generator) -> Tensor:
        """The randomness of `batch` actions, `[batch, A]`, on the generator's device."""
        kind = Categorical if self.is_discrete else DiagonalGaussian
        return kind.draw_noise(batch, self.num_action_parameters, generator)

    def env_actions(self, actions: Tensor) -> np.ndarray:
        """Actions `[B, *action_shape]` as members of the action space, `[B, *action_space.shape]`.

        Discrete actions count from the space's `start`; continuous ones are clipped to its bounds, while the
        learner keeps the unclipped action that the log-probability belongs to.
        """
        numbers = actions.cpu().numpy()
        space = self.action_space
        if isinstance(space, spaces.Discrete):
            return (numbers + space.start).astype(space.dtype)
        shaped = numbers.reshape(len(numbers), *space.shape)
        return shaped.astype(space.dtype).clip(space.low, space.high)


def build_policy(
    observation_space: spaces.Space,
    action_space: spaces.Space,
    policy: PolicyConfig,
    *,
    frame_stack: int,
) -> ActorCritic:
    """The networks that `policy` describes, for one environment's spaces.

    The initial weights come from PyTorch's global generator: seed it first where the run is to be repeated.

    Args:
        frame_stack: newest observations that the policy sees at once, K.

    Raises:
        ConfigError: the spaces are of a kind that the policy cannot handle, or the network does not fit them.
    """
    observation_space = _checked_observation_space(observation_space)
    action_space = _checked_action_space(action_space)
    layout = image_layout(observation_space, policy, frame_stack)
    shared = policy.shared if policy.shared != "auto" else layout is not None
    num_inputs = frame_stack * math.prod(observation_space.shape)

    def build_trunk() -> NatureCNN | MLP:
        return NatureCNN(layout) if layout else MLP(num_inputs, policy.hidden, policy.activation)

    actor_critic = ActorCritic(
        build_trunk(),
        None if shared else build_trunk(),
        action_space,
        log_std_init=policy.log_std_init,
        mixed_precision=policy.precision == "bf16",
    )
    if policy.init == "orthogonal":
        initialize_orthogonal(actor_critic)
        initialize_orthogonal(actor_critic.policy_head, gain=0.01)
        initialize_orthogonal(actor_critic.value_head, gain=1.0)
    return actor_critic


def _checked_observation_space(space: spaces.Space) -> spaces.Box:
    if isinstance(space, spaces.Box):
        return space
    raise ConfigError(
        f"the environment's observations are {space}: the policy reads only arrays (a Box space)",
        hint="wrap the environment in gymnasium.wrappers.FlattenObservation",
    )


def _checked_action_space(space: spaces.Space) -> spaces.Discrete | spaces.Box:
    if isinstance(space, spaces.Discrete) or (
        isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating)
    ):
        return space
    raise ConfigError(
        f"the environment's actions are {space}: the policy chooses from a Discrete space or from a Box of floats",
        hint="choose another environment, or wrap it so that its actions are Discrete or a Box of floats",
    )
