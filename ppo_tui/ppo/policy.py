"""The actor-critic: observations to action distributions and values, actions to the environment's."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn

from ..config import PolicyConfig
from ..envs.packing import PackedBox
from ..errors import ConfigError, UsageError
from .combined import CombinedNetwork, Parts, PartsNormalizer
from .cpu_inference import can_pack, pack
from .distributions import ActionKind, Distribution, action_kind
from .interface import Interface
from .networks import CNNS, MLP, custom_network, custom_network_error, initialize_orthogonal, is_custom
from .normalizers import ObservationNormalizer, ValueNormalizer
from .observations import check_spaces_of_policy, divides_bytes, has_stack_axis, image_layout, picture_space
from .recurrent import RecurrentContext, RecurrentLayer


class Decision(NamedTuple):
    """Decisions for B observations.

    Made in inference mode: clone them before gradients need them.

    Attributes:
        actions: `[B, *action_shape]`, as the policy counts them (see `ActorCritic.env_actions`).
        log_probs: log π(a|s), `[B]`.
        values: V(s), `[B]`.
        distribution: of the actions; needed only where a rollout keeps it.
        states: recurrent states after the step, `[B, M]`; None without recurrence.
    """

    actions: Tensor
    log_probs: Tensor
    values: Tensor
    distribution: Distribution | None = None
    states: Tensor | None = None


class HeadOutputs(NamedTuple):
    """Results of one forward pass over B observations.

    Attributes:
        scores: of the policy head, `[B, num_outputs]`; None where only values were asked for.
        values: V(s), `[B]`.
        states: recurrent states after a single step, `[B, M]`; None after a sequence and without recurrence.
    """

    scores: Tensor | None
    values: Tensor
    states: Tensor | None


class ActorCritic(nn.Module):
    """A policy π(a|s) and a value function V(s), sharing trunks or not.

    Args:
        actor_trunk: features for the policy head: a module with an attribute ``num_features``.
        critic_trunk: features for the value head, or None where both heads share `actor_trunk`.
        actions: representation of the environment's actions within the policy.
        log_std_init: initial log standard deviation of continuous actions.
        mixed_precision: compute the trunks in bfloat16, under `torch.autocast`.
        normalizer: applied to observations before the trunks, or None.
        value_normalizer: turns the value head's outputs into values in real units, or None where they are already.
        actor_recurrence, critic_recurrence: between each trunk and its head; None for a policy without recurrence.
            With a shared trunk the critic has none of its own.

    Attributes:
        action_shape: of one action within the policy: `()` for `Discrete` actions, `(D,)` for all others.
        action_dtype: int64 or float32.
        distribution_size: P, the parameters of one action distribution.
        state_size: M, the numbers in the recurrent state of one environment; 0 without recurrence.
        interface: to the environment itself, for `predict` and `act`; None for networks alone.
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
        value_normalizer: ValueNormalizer | None = None,
        actor_recurrence: RecurrentLayer | None = None,
        critic_recurrence: RecurrentLayer | None = None,
    ) -> None:
        super().__init__()
        self.mixed_precision = mixed_precision
        self.action_space = actions.space
        self.normalizer = normalizer
        self.value_normalizer = value_normalizer
        self.actor_trunk = actor_trunk
        self.critic_trunk = critic_trunk
        self.actor_memory = actor_recurrence  # these two names are keys in the weights of every checkpoint
        self.critic_memory = critic_recurrence
        self._branches = [(actor_trunk, actor_recurrence)]
        if critic_trunk is not None:
            self._branches.append((critic_trunk, critic_recurrence))
        self._state_sizes = [layer.state_size for _, layer in self._branches if layer]
        self.state_size = sum(self._state_sizes)
        self._actions = actions
        self.action_shape = actions.shape
        self.action_dtype = actions.dtype
        self.distribution_size = actions.distribution_size
        self.log_std = nn.Parameter(torch.full(actions.shape, log_std_init)) if actions.gaussian else None
        actor_features, critic_features = (
            _num_features(layer or trunk) for trunk, layer in (self._branches[0], self._branches[-1])
        )
        self.policy_head = nn.Linear(actor_features, actions.num_outputs)
        self.value_head = nn.Linear(critic_features, 1)
        self.interface: Interface | None = None
        self._packed: dict[nn.Module, nn.Module] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_packed": {}}  # the weights of a copy may change

    @property
    def packing(self) -> PackedBox | None:
        """The parts of packed observations; None for others."""
        return self.actor_trunk.space if isinstance(self.actor_trunk, CombinedNetwork) else None

    def critic_parameters(self) -> list[nn.Parameter]:
        """Parameters of the value head and the critic's own networks."""
        modules = (self.critic_trunk, self.critic_memory, self.value_head)
        return [parameter for module in modules if module is not None for parameter in module.parameters()]

    def hidden_weights(self) -> list[nn.Parameter]:
        """Convolutions, and matrices `[out, in]` between hidden features.

        Those of trunks and recurrent layers. The first matrix of a trunk reads observations and is none of them.
        """
        found: list[nn.Parameter] = []
        for trunk, layer in self._branches:
            parameters = [*trunk.parameters(), *(() if layer is None else layer.parameters())]
            weights = [parameter for parameter in parameters if parameter.ndim >= 2]
            found += [weight for number, weight in enumerate(weights) if number > 0 or weight.ndim > 2]
        return found

    def initial_states(self, num_envs: int) -> Tensor | None:
        """Recurrent states at the start of an episode, `[num_envs, M]`.

        None without recurrence.
        """
        return self.value_head.weight.new_zeros(num_envs, self.state_size) if self.state_size else None

    def evaluate(
        self, observations: Tensor | Parts, context: RecurrentContext | None = None, *, values_only: bool = False
    ) -> HeadOutputs:
        """The forward pass: normaliser, trunks, recurrent layers, heads.

        Acting, valuing and learning all go through here.

        Args:
            observations: `[B, (K,) *S]`; those with images among other parts may be in `Parts`.
            context: for a recurrent policy: the states before a single step of B environments, or before a sequence of
                B = T·N observations.
            values_only: leave out the actor, where it shares nothing with the critic.
        """
        if self.normalizer is not None:
            observations = self.normalizer(observations)
        parts = () if context is None else context.states.split(self._state_sizes, dim=-1)
        branches, parts = (self._branches[-1:], parts[-1:]) if values_only else (self._branches, parts)
        features: list[Tensor] = []
        states: list[Tensor] = []
        for branch, (trunk, layer) in enumerate(branches):
            outputs = self._features(trunk, observations)
            if layer is not None:
                assert context is not None, "a recurrent policy needs its states"
                outputs, next_states = layer(outputs, RecurrentContext(parts[branch], context.resets))
                if next_states is not None:
                    states.append(next_states)
            features.append(outputs)
        values = self.value_head(features[-1]).squeeze(-1)
        return HeadOutputs(
            scores=None if values_only else self.policy_head(features[0]),
            values=values if self.value_normalizer is None else self.value_normalizer(values),
            states=(torch.cat(states, dim=-1) if len(states) > 1 else states[0]) if states else None,
        )

    def _features(self, trunk: nn.Module, observations: Tensor | Parts) -> Tensor:
        """Features of the observations by `trunk`, `[B, num_features]`, always as float32.

        In mixed precision recurrent layers and heads stay float32: their outputs decide the probability ratio, in which
        the eight bits of a bfloat16 would drown the small steps of an update.

        Raises:
            NetworkError: the trunk is the user's own, and raised.
        """
        if (packed := self._packed.get(trunk)) is not None and torch.is_inference_mode_enabled():
            return packed(observations).float()
        try:
            with torch.autocast(self.value_head.weight.device.type, dtype=torch.bfloat16, enabled=self.mixed_precision):
                features = trunk(observations)
        except (Exception, SystemExit) as error:
            if is_custom(trunk):
                raise custom_network_error(trunk, error) from error
            raise
        return features.float()

    def _distribution(self, scores: Tensor | None, masks: Tensor | None) -> Distribution:
        assert scores is not None, "values only were asked for"
        return self._actions.distribution(scores, self.log_std, masks)

    def forward(
        self, observations: Tensor, masks: Tensor | None = None, context: RecurrentContext | None = None
    ) -> tuple[Distribution, Tensor]:
        """The action distributions and the values `[B]` of observations `[B, (K,) *S]`.

        Args:
            masks: the possible actions, bool `[B, A]`; None for all. A is the sum of the choices' sizes.
            context: as for `evaluate`.
        """
        outputs = self.evaluate(observations, context)
        return self._distribution(outputs.scores, masks), outputs.values

    @contextlib.contextmanager
    def unchanged(self) -> Iterator[None]:
        """Act faster while the weights stay unchanged.

        On a CPU, convolutional trunks are packed once.
        """
        dtype = torch.bfloat16 if self.mixed_precision else torch.float32
        trunks = [trunk for trunk, _ in self._branches if _has_convolutions(trunk)]
        if trunks and self.value_head.weight.device.type == "cpu" and can_pack(dtype):
            self._packed = {trunk: pack(trunk, dtype) for trunk in trunks}
        try:
            yield
        finally:
            self._packed = {}

    @torch.inference_mode()
    def decide(
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
            states: recurrent states, `[B, M]`: `initial_states` at the start of an episode, else the `Decision.states`
                of the step before.
        """
        scores, values, next_states = self.evaluate(observations, None if states is None else RecurrentContext(states))
        distribution = self._distribution(scores, masks)
        actions = distribution.mode() if noise is None else distribution.sample(noise)
        return Decision(actions, distribution.log_prob(actions), values, distribution, next_states)

    @torch.inference_mode()
    def value(self, observations: Tensor, states: Tensor | None = None) -> Tensor:
        """V(s) alone, `[B]`, of observations `[B, (K,) *S]`; `states` as for `decide`."""
        context = None if states is None else RecurrentContext(states)
        return self.evaluate(observations, context, values_only=True).values

    def predict(
        self,
        observation: Any,
        state: np.ndarray | None = None,
        episode_start: np.typing.ArrayLike | None = None,
        deterministic: bool = True,
        action_masks: Any = None,
    ) -> tuple[Any, np.ndarray | None]:
        """Choose actions for an environment's own observations, in NumPy.

        Arguments and results are those of ``predict`` in Stable-Baselines3 and sb3-contrib, whose default is to sample.

        Args:
            observation: one, or a batch `[B, ...]`, also in each entry of a Dict or Tuple. With ``env.frame_stack``
                K > 1: the newest K, `[(B,) K, ...]`, as from ``gymnasium.wrappers.FrameStackObservation``.
            state: of a recurrent policy: what `predict` returned for the step before; None where episodes begin.
            episode_start: `[B]` or one for all, true where an episode begins: its state there is forgotten.
            deterministic: take the most probable action; else draw one with PyTorch's global generator.
            action_masks: true or 1 for the possible actions, `[A]` or `[B, A]`, those of several choices in a row.
                None takes the mask within a Dict observation.

        Returns:
            The action, a member of the environment's action space, or `[B, ...]` of them for a batch; and the recurrent
            state `[B, M]`, with B = 1 for one observation, or None without recurrence.

        Raises:
            UsageError: an argument does not fit the environment.
        """
        return self._required_interface().predict(self, observation, state, episode_start, deterministic, action_masks)

    def act(self, observation: Any, *, deterministic: bool = True, action_masks: Any = None) -> Any:
        """Choose actions as `predict` does, and return them alone.

        Raises:
            UsageError: an argument does not fit the environment, or the policy is recurrent.
        """
        if self.state_size:
            raise UsageError(
                "act: the policy is recurrent, and its state has to be passed on from step to step",
                hint="action, state = policy.predict(observation, state)",
            )
        return self.predict(observation, deterministic=deterministic, action_masks=action_masks)[0]

    def _required_interface(self) -> Interface:
        if self.interface is None:
            raise UsageError(
                "these networks know their tensors alone, and no environment",
                hint="take the policy of a Trainer, of load_policy or of open_run",
            )
        return self.interface

    def folded(self) -> ActorCritic:
        """This policy, its value head giving V(s) in real units.

        It is a copy where values are normalised, else the policy itself.
        """
        if self.value_normalizer is None:
            return self
        policy = copy.deepcopy(self)
        self.value_normalizer.fold_into(policy.value_head)
        policy.value_normalizer = None
        return policy

    def draw_noise(self, batch: int, generator: torch.Generator) -> Tensor:
        """Random numbers for `batch` actions, `[batch, A]`, on the generator's device."""
        return self._actions.draw_noise(batch, generator)

    def env_actions(self, actions: Tensor) -> np.ndarray:
        """Actions `[B, *action_shape]` as members of the action space, `[B, *action_space.shape]`."""
        return self._actions.to_env(actions.cpu().numpy())


def _num_features(module: nn.Module) -> int:
    return cast(int, module.num_features)  # to the type checker every attribute of a module is a tensor or a module


def _has_convolutions(trunk: nn.Module) -> bool:
    """Whether a trunk of this program reads images by convolutions."""
    return trunk.has_convolutions if isinstance(trunk, CombinedNetwork) else isinstance(trunk, tuple(CNNS.values()))


def _is_mlp(trunk: nn.Module) -> bool:
    """Whether a trunk of this program has linear layers alone."""
    return isinstance(trunk, MLP) or (isinstance(trunk, CombinedNetwork) and not trunk.has_convolutions)


def _normalizer(space: spaces.Box) -> ObservationNormalizer:
    return PartsNormalizer(space) if isinstance(space, PackedBox) else ObservationNormalizer(space.shape)


def build_policy(
    observation_space: spaces.Space,
    action_space: spaces.Space,
    policy: PolicyConfig,
    *,
    frame_stack: int,
    normalize_values: bool = False,
    seed: int | None = None,
) -> ActorCritic:
    """Build the networks of a `policy` section for one environment's spaces.

    A `Trainer` decides what a precision of ``auto`` stands for; here it is float32.

    Args:
        frame_stack: K, the newest observations in one input of the policy.
        normalize_values: as ``ppo.normalize_values``.
        seed: of the initial weights; None draws them from PyTorch's global generator.

    Raises:
        ConfigError: the policy does not support these spaces, or the network does not fit them.
    """
    if seed is not None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return build_policy(
                observation_space, action_space, policy, frame_stack=frame_stack, normalize_values=normalize_values
            )
    observation_space = _checked_observation_space(observation_space)
    actions = action_kind(action_space, squash=policy.squash_actions)
    check_spaces_of_policy(observation_space, action_space, policy, frame_stack)
    build_trunk = _trunk_builder(observation_space, policy, frame_stack)
    actor_trunk = build_trunk()
    shared = policy.shared if policy.shared != "auto" else not _is_mlp(actor_trunk)
    critic_trunk = None if shared else build_trunk()
    actor_critic = ActorCritic(
        actor_trunk,
        critic_trunk,
        actions,
        log_std_init=policy.log_std_init,
        mixed_precision=policy.precision == "bf16",
        normalizer=_normalizer(observation_space) if policy.normalize_observations else None,
        value_normalizer=ValueNormalizer() if normalize_values else None,
        actor_recurrence=_recurrent_layer(policy, actor_trunk),
        critic_recurrence=_recurrent_layer(policy, critic_trunk),
    )
    if policy.init == "orthogonal":
        if ":" not in policy.network:  # a network of the user's own has initialised itself
            initialize_orthogonal(actor_critic)
        for layer in (actor_critic.actor_memory, actor_critic.critic_memory):
            if layer is not None:
                layer.initialize_orthogonal()
        initialize_orthogonal(actor_critic.policy_head, gain=0.01)
        initialize_orthogonal(actor_critic.value_head, gain=1.0)
    return actor_critic


def _recurrent_layer(policy: PolicyConfig, trunk: nn.Module | None) -> RecurrentLayer | None:
    """The recurrent layer after `trunk`, or None without recurrence."""
    if trunk is None or policy.recurrent == "none":
        return None
    return RecurrentLayer(policy.recurrent, _num_features(trunk), policy.recurrent_size)


def _checked_observation_space(space: spaces.Space) -> spaces.Box:
    if isinstance(space, spaces.Box):
        return space
    raise ConfigError(
        f"the environment's observation space is {space}: a policy reads arrays only (a Box space)",
        hint="wrap the environment in gymnasium.wrappers.FlattenObservation",
    )


def _trunk_builder(space: spaces.Box, policy: PolicyConfig, frame_stack: int) -> Callable[[], nn.Module]:
    """A factory of trunks for observations of `space`.

    Each call makes a trunk with its own weights.
    """
    if ":" in policy.network:
        stacked = has_stack_axis(space.shape, space.dtype, frame_stack)
        shape = (frame_stack, *space.shape) if stacked else space.shape
        example = torch.from_numpy(np.zeros((2, *shape), space.dtype))
        return lambda: custom_network(policy.network, shape, example)
    if isinstance(space, PackedBox):
        return lambda: _combined_network(space, policy, frame_stack)
    return lambda: _network(space, policy, policy.hidden, frame_stack)


def _combined_network(space: PackedBox, policy: PolicyConfig, frame_stack: int) -> CombinedNetwork:
    return CombinedNetwork(
        space,
        [_network(picture_space(picture.shape), policy, (), frame_stack) for picture in space.pictures],
        policy.hidden,
        policy.activation,
        frame_stack=frame_stack,
        layer_norm=policy.layer_norm,
    )


def _network(space: spaces.Box, policy: PolicyConfig, hidden: Sequence[int], frame_stack: int) -> nn.Module:
    """A CNN for images, else an MLP with `hidden` layers."""
    if layout := image_layout(space, policy, frame_stack):
        cnn = CNNS["nature-cnn" if policy.network == "auto" else policy.network]
        return cnn(layout, layer_norm=policy.layer_norm)
    inputs, divided = frame_stack * math.prod(space.shape), divides_bytes(space, policy)
    return MLP(inputs, hidden, policy.activation, divided=divided, layer_norm=policy.layer_norm)
