"""Actor and critic: from observations to action distributions and values, and from actions to the environment's."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn

from ..config import PolicyConfig
from ..errors import ConfigError
from .cpu_inference import can_pack, pack
from .distributions import ActionKind, Distribution, action_kind
from .networks import CNNS, MLP, custom_network, initialize_orthogonal
from .normalizers import ObservationNormalizer
from .observations import check_spaces_of_policy, has_stack_axis, image_layout
from .recurrent import Memory, Past


class Decision(NamedTuple):
    """What the policy decides for B observations. Made in inference mode: to be copied before gradients need it.

    Attributes:
        actions: `[B, *action_shape]`, as the policy counts them (see `ActorCritic.env_actions`).
        log_probs: log π(a|s), `[B]`.
        values: V(s), `[B]`.
        distribution: what the actions come from; needed only where a rollout keeps it.
        states: what a recurrent policy remembers after the step, `[B, M]`; None without memory.
    """

    actions: Tensor
    log_probs: Tensor
    values: Tensor
    distribution: Distribution | None = None
    states: Tensor | None = None


class ActorCritic(nn.Module):
    """A policy π(a|s) and a value function V(s), on one trunk or on two.

    Args:
        actor_trunk: features for the policy head: a module with an attribute ``num_features``.
        critic_trunk: features for the value head, or None where both heads share `actor_trunk`.
        actions: how the environment's actions live within the policy.
        log_std_init: initial log standard deviation of continuous actions.
        mixed_precision: compute the trunks in bfloat16, under `torch.autocast`.
        normalizer: applied to observations before the trunks, or None.
        actor_memory, critic_memory: between each trunk and its head; None for a policy that sees the present alone.
            With a shared trunk the critic has none of its own.

    Attributes:
        action_shape: of one action within the policy: `()` for `Discrete` actions, `(D,)` for all others.
        action_dtype: int64 or float32.
        distribution_size: P, the parameters of one action distribution.
        state_size: M, the numbers that are remembered of each environment; 0 without memory.
    """

    def __init__(
        self,
        actor_trunk: nn.Module,
        critic_trunk: nn.Module | None,
        actions: ActionKind,
        *,
        log_std_init: float = 0.0,
        mixed_precision: bool = False,
        normalizer: ObservationNormalizer | None = None,
        actor_memory: Memory | None = None,
        critic_memory: Memory | None = None,
    ) -> None:
        super().__init__()
        self.mixed_precision = mixed_precision
        self.action_space = actions.space
        self.normalizer = normalizer
        self.actor_trunk = actor_trunk
        self.critic_trunk = critic_trunk
        self.actor_memory = actor_memory
        self.critic_memory = critic_memory
        self._state_sizes = [memory.state_size for memory in (actor_memory, critic_memory) if memory]
        self.state_size = sum(self._state_sizes)
        self._actions = actions
        self.is_discrete = isinstance(actions.space, spaces.Discrete)
        self.action_shape = actions.shape
        self.action_dtype = actions.dtype
        self.distribution_size = actions.distribution_size
        self.log_std = nn.Parameter(torch.full(actions.shape, log_std_init)) if actions.gaussian else None
        actor_features = (actor_memory or actor_trunk).num_features
        critic_features = actor_features if critic_trunk is None else (critic_memory or critic_trunk).num_features
        self.policy_head = nn.Linear(actor_features, actions.num_outputs)
        self.value_head = nn.Linear(critic_features, 1)
        self._packed: dict[nn.Module, nn.Module] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_packed": {}}  # the weights of a copy may change

    def initial_states(self, num_envs: int) -> Tensor | None:
        """What a recurrent policy remembers when an episode begins, `[num_envs, M]`; None without memory."""
        return self.value_head.weight.new_zeros(num_envs, self.state_size) if self.state_size else None

    def forward(
        self, observations: Tensor, masks: Tensor | None = None, past: Past | None = None
    ) -> tuple[Distribution, Tensor]:
        """The action distributions and the values `[B]` of observations `[B, (K,) *S]`.

        Args:
            masks: the possible actions, bool `[B, A]`; None for all. A is the sum of the choices' sizes.
            past: for a recurrent policy, whose B = T·N observations are T steps of N environments, step by step.
        """
        observations = self._normalized(observations)
        features = self._features(self.actor_trunk, observations)
        critic_features = features if self.critic_trunk is None else self._features(self.critic_trunk, observations)
        if self.actor_memory is not None:
            pasts = [Past(states, past.resets) for states in past.states.split(self._state_sizes, dim=-1)]
            features = self.actor_memory(features, pasts[0])
            critic_features = features if self.critic_memory is None else self.critic_memory(critic_features, pasts[1])
        return self._heads(features, critic_features, masks)

    def _step(
        self, observations: Tensor, masks: Tensor | None, states: Tensor | None
    ) -> tuple[Distribution, Tensor, Tensor | None]:
        """As `forward`, for one step after `states`, `[B, M]`; and the states after it."""
        if self.actor_memory is None:
            return *self(observations, masks), None
        observations = self._normalized(observations)
        parts = states.split(self._state_sizes, dim=-1)
        features, carried = self.actor_memory.step(self._features(self.actor_trunk, observations), parts[0])
        if self.critic_memory is None:
            return *self._heads(features, features, masks), carried
        critic_features, critic_carried = self.critic_memory.step(
            self._features(self.critic_trunk, observations), parts[1]
        )
        return *self._heads(features, critic_features, masks), torch.cat([carried, critic_carried], dim=-1)

    def _heads(self, features: Tensor, critic_features: Tensor, masks: Tensor | None) -> tuple[Distribution, Tensor]:
        distribution = self._actions.distribution(self.policy_head(features), self.log_std, masks)
        return distribution, self.value_head(critic_features).squeeze(-1)

    def _normalized(self, observations: Tensor) -> Tensor:
        return observations if self.normalizer is None else self.normalizer(observations)

    def _features(self, trunk: nn.Module, observations: Tensor) -> Tensor:
        """What `trunk` makes of the observations, `[B, num_features]`, always as float32.

        In mixed precision memories and heads stay float32: their outputs decide the probability ratio, in which the
        eight bits of a bfloat16 would drown the small steps of an update.
        """
        if (packed := self._packed.get(trunk)) is not None and torch.is_inference_mode_enabled():
            return packed(observations).float()
        with torch.autocast(observations.device.type, dtype=torch.bfloat16, enabled=self.mixed_precision):
            features = trunk(observations)
        return features.float()

    @contextlib.contextmanager
    def unchanged(self) -> Iterator[None]:
        """Act faster inside, where the weights stay as they are: on a CPU, trunks of convolutions are packed once."""
        dtype = torch.bfloat16 if self.mixed_precision else torch.float32
        trunks = [trunk for trunk in (self.actor_trunk, self.critic_trunk) if isinstance(trunk, tuple(CNNS.values()))]
        if trunks and self.value_head.weight.device.type == "cpu" and can_pack(dtype):
            self._packed = {trunk: pack(trunk, dtype) for trunk in trunks}
        try:
            yield
        finally:
            self._packed = {}

    @torch.inference_mode()
    def act(
        self,
        observations: Tensor,
        *,
        noise: Tensor | None,
        masks: Tensor | None = None,
        states: Tensor | None = None,
    ) -> Decision:
        """Choose an action for each observation `[B, (K,) *S]`.

        Args:
            noise: these observations' rows of `draw_noise`, `[B, A]`; None takes the most probable action.
            masks: as for `forward`.
            states: what a recurrent policy remembers, `[B, M]`: `initial_states` where an episode begins, else the
                `Decision.states` of the step before.
        """
        distribution, values, states = self._step(observations, masks, states)
        actions = distribution.mode() if noise is None else distribution.sample(noise)
        return Decision(actions, distribution.log_prob(actions), values, distribution, states)

    @torch.inference_mode()
    def value(self, observations: Tensor, states: Tensor | None = None) -> Tensor:
        """V(s) alone, `[B]`, of observations `[B, (K,) *S]`; `states` as for `act`."""
        features = self._features(self.critic_trunk or self.actor_trunk, self._normalized(observations))
        if self.actor_memory is not None:
            memory = self.critic_memory or self.actor_memory
            features, _ = memory.step(features, states[:, -memory.state_size :])
        return self.value_head(features).squeeze(-1)

    def draw_noise(self, batch: int, generator: torch.Generator) -> Tensor:
        """The randomness of `batch` actions, `[batch, A]`, on the generator's device."""
        return self._actions.draw_noise(batch, generator)

    def env_actions(self, actions: Tensor) -> np.ndarray:
        """Actions `[B, *action_shape]` as members of the action space, `[B, *action_space.shape]`."""
        return self._actions.to_env(actions.cpu().numpy())


def build_policy(
    observation_space: spaces.Space,
    action_space: spaces.Space,
    policy: PolicyConfig,
    *,
    frame_stack: int,
    seed: int | None = None,
) -> ActorCritic:
    """The networks that `policy` describes, for one environment's spaces.

    Args:
        frame_stack: newest observations that the policy sees at once, K.
        seed: of the initial weights; without one they come from PyTorch's global generator.

    Raises:
        ConfigError: the spaces are of a kind that the policy cannot handle, or the network does not fit them.
    """
    if seed is not None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return build_policy(observation_space, action_space, policy, frame_stack=frame_stack)
    observation_space = _checked_observation_space(observation_space)
    actions = action_kind(action_space, squash=policy.squash_actions)
    check_spaces_of_policy(observation_space, action_space, policy, frame_stack)
    build_trunk = _trunk_builder(observation_space, policy, frame_stack)
    actor_trunk = build_trunk()
    shared = policy.shared if policy.shared != "auto" else not isinstance(actor_trunk, MLP)
    critic_trunk = None if shared else build_trunk()
    actor_critic = ActorCritic(
        actor_trunk,
        critic_trunk,
        actions,
        log_std_init=policy.log_std_init,
        mixed_precision=policy.precision == "bf16",
        normalizer=ObservationNormalizer(observation_space.shape) if policy.normalize_observations else None,
        actor_memory=_memory(policy, actor_trunk),
        critic_memory=_memory(policy, critic_trunk),
    )
    if policy.init == "orthogonal":
        if ":" not in policy.network:  # a network of the user's own has initialised itself
            initialize_orthogonal(actor_critic)
        for memory in (actor_critic.actor_memory, actor_critic.critic_memory):
            if memory is not None:
                memory.initialize_orthogonal()
        initialize_orthogonal(actor_critic.policy_head, gain=0.01)
        initialize_orthogonal(actor_critic.value_head, gain=1.0)
    return actor_critic


def _memory(policy: PolicyConfig, trunk: nn.Module | None) -> Memory | None:
    """What remembers the features of `trunk`, where the policy is recurrent."""
    if trunk is None or policy.recurrent == "none":
        return None
    return Memory(policy.recurrent, trunk.num_features, policy.recurrent_size)


def _checked_observation_space(space: spaces.Space) -> spaces.Box:
    if isinstance(space, spaces.Box):
        return space
    raise ConfigError(
        f"the environment's observations are {space}: the policy reads only arrays (a Box space)",
        hint="wrap the environment in gymnasium.wrappers.FlattenObservation",
    )


def _trunk_builder(space: spaces.Box, policy: PolicyConfig, frame_stack: int) -> Callable[[], nn.Module]:
    """What makes one trunk for observations of `space`; each call makes another one, with weights of its own."""
    if ":" in policy.network:
        stacked = has_stack_axis(space.shape, space.dtype, frame_stack)
        shape = (frame_stack, *space.shape) if stacked else space.shape
        example = torch.from_numpy(np.zeros((2, *shape), space.dtype))
        return lambda: custom_network(policy.network, shape, example)
    if layout := image_layout(space, policy, frame_stack):
        return lambda: CNNS["nature-cnn" if policy.network == "auto" else policy.network](layout)
    return lambda: MLP(frame_stack * math.prod(space.shape), policy.hidden, policy.activation)
