"""The interface of a policy to an environment's own observations and actions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces

from ..config import EnvConfig
from ..envs import EnvInfo
from ..envs.fitting import FittedActions, FittedObservations
from ..envs.spaces import choice_sizes, split_mask
from ..envs.tolerance import BadValueError
from ..errors import UsageError
from .observations import has_stack_axis

if TYPE_CHECKING:
    from .policy import ActorCritic

_WHOLE_NUMBERS = (spaces.Discrete, spaces.MultiDiscrete)


class Observed(NamedTuple):
    """Observations on their way into a policy.

    Attributes:
        observations: `[B, (K,) *S]`, as the policy sees them.
        masks: possible actions, bool `[B, A]`, or None.
        batched: whether a batch was given, and not a single observation.
    """

    observations: np.ndarray
    masks: np.ndarray | None
    batched: bool


class Interface:
    """Conversion between an environment's own spaces and those of its policy.

    Args:
        info: of the environment.
        config: of the environment, with hidden numbers and the stack.

    Attributes:
        observation_space, action_space: the environment's own.
    """

    def __init__(self, info: EnvInfo, config: EnvConfig) -> None:
        self.observation_space, self.action_space = info.given_observation_space, info.given_action_space
        self._env, self._stack = config.id, config.frame_stack
        self._fit = FittedObservations(self.observation_space)
        self._fit_action = FittedActions(self.action_space)
        self._seen = info.observation_space
        self._shown = np.setdiff1d(np.arange(math.prod(self._fit.space.shape)), config.hide) if config.hide else None
        self._masked = info.num_masked > 0

    def predict(
        self, policy: ActorCritic, observation: Any, state: Any, episode_start: Any, deterministic: bool, masks: Any
    ) -> tuple[Any, np.ndarray | None]:
        """Implement `ActorCritic.predict`."""
        observed = self.observe(observation, masks)
        size, device = len(observed.observations), policy.value_head.weight.device
        states = _states(policy, state, episode_start, size)
        decision = policy.decide(
            torch.from_numpy(observed.observations).to(device),
            noise=None if deterministic else policy.draw_noise(size, torch.default_generator).to(device),
            masks=None if observed.masks is None else torch.from_numpy(observed.masks).to(device),
            states=None if states is None else torch.from_numpy(states).to(device),
        )
        actions = self.actions(policy.env_actions(decision.actions))
        after = None if decision.states is None else decision.states.cpu().numpy()
        return actions if observed.batched else self._single(actions), after

    def observe(self, observation: Any, masks: Any = None) -> Observed:
        """Convert one observation, or a batch of them.

        Args:
            observation: as the environment gives it, or as `make_env` does; K of them in a stack.
            masks: the possible actions; None takes those within a Dict observation.

        Raises:
            UsageError: it is none of the space, or masks are missing or wrong.
        """
        observation, own_masks = split_mask(observation, self.observation_space)
        leading = _leading(self.observation_space, observation)
        if leading is not None:
            self._check_leading(leading, observation)
            rows = [self._fitted(_part(self.observation_space, observation, at)) for at in np.ndindex(*leading)]
            array = np.stack(rows).reshape(*leading, *self._seen.shape)
        else:
            leading = _leading(self._seen, observation)
            self._check_leading(leading, observation)
            array = np.asarray(observation, self._seen.dtype)
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise UsageError("the observation is NaN or infinite: the policy has learnt from finite numbers alone")
        batched = len(leading or ()) > (self._stack > 1)
        array = np.ascontiguousarray(array if batched else array[None])
        if self._takes_stack and self._stack == 1:
            array = array[:, None]
        return Observed(array, self._masks(own_masks if masks is None else masks, len(array)), batched)

    @property
    def _takes_stack(self) -> bool:
        return has_stack_axis(self._seen.shape, self._seen.dtype, self._stack)

    def _fitted(self, observation: Any) -> np.ndarray:
        try:
            fitted = self._fit(observation)
        except BadValueError as error:
            raise UsageError(f"the observation is none of {self._env}: {error}") from None
        return fitted if self._shown is None else fitted[self._shown]

    def _check_leading(self, leading: tuple[int, ...] | None, observation: Any) -> None:
        """Refuse anything but one observation or a batch."""
        axes = (self._stack,) if self._stack > 1 else ()
        if leading is not None and 0 not in leading and leading in (axes, (*leading[:1], *axes)):
            return
        stacked = f", the newest {self._stack} of them stacked" if axes else ""
        if isinstance(observation, tuple) and not isinstance(self.observation_space, spaces.Tuple):
            hint = "reset() returns a tuple: observation, info = env.reset()"
        elif axes and leading is not None and len(leading) < 2:
            hint = f"stack them: gymnasium.wrappers.FrameStackObservation(env, {self._stack})"
        else:
            hint = "give one observation, or a batch of them along a first axis"
        raise UsageError(
            f"the observation is {_shape_in_words(observation)}: expected is one of {self._env}, "
            f"{self.observation_space}{stacked}",
            hint=hint,
        )

    def _masks(self, given: Any, size: int) -> np.ndarray | None:
        """Masks as bool `[B, A]`."""
        space = self.action_space
        if given is None:
            if self._masked:
                raise UsageError(
                    f"action_masks is missing: the policy was trained with the masks of {self._env}",
                    hint="give action_masks=info['action_mask'], or whatever the environment calls them",
                )
            return None
        if not isinstance(space, _WHOLE_NUMBERS):
            raise UsageError(f"action_masks: the actions of {self._env} are {space}, which has no masks")
        sizes = choice_sizes(space)
        parts = given if isinstance(given, tuple | list) and len(given) == len(sizes) > 1 else (given,)
        try:
            masks = np.concatenate([np.asarray(part) for part in parts], axis=-1)
            masks = (masks if masks.ndim > 1 else masks[None]).reshape(size, sum(sizes))
        except (TypeError, ValueError):
            text = f"action_masks is {_shape_in_words(given)}: expected are {sum(sizes)} numbers for each observation"
            raise UsageError(text) from None
        if not np.isin(masks, (0, 1)).all():
            raise UsageError("action_masks: a mask has True or 1 for a possible action, and False or 0 for others")
        masks = masks.astype(bool)
        if not all(choice.any(-1).all() for choice in np.split(masks, np.cumsum(sizes)[:-1], axis=-1)):
            raise UsageError("action_masks leaves no action possible", hint="the episode should have ended before")
        return masks

    def _single(self, actions: np.ndarray) -> Any:
        """The only action; a Discrete one as a scalar and a key."""
        return actions[0] if isinstance(self.action_space, spaces.Discrete) else np.asarray(actions[0])

    def actions(self, actions: np.ndarray) -> np.ndarray:
        """Actions `[B, ...]` of the policy's space as the environment's own.

        They are `[B, *action_space.shape]`, of the space's type.
        """
        return np.stack([np.asarray(self._fit_action(action)) for action in actions])


def _states(policy: ActorCritic, state: Any, episode_start: Any, size: int) -> np.ndarray | None:
    """Recurrent states before a step, `[B, M]`; None without recurrence."""
    if not policy.state_size:
        return None
    shape = (size, policy.state_size)
    try:
        states = np.zeros(shape, np.float32) if state is None else np.array(state, np.float32).reshape(shape)
    except (TypeError, ValueError):
        raise UsageError(
            f"state is {_shape_in_words(state)}: expected is {list(shape)}",
            hint="give what predict returned for the step before, or None where the episodes begin",
        ) from None
    if episode_start is not None:
        starts = np.asarray(episode_start, bool).reshape(-1)
        if len(starts) not in (1, size):
            raise UsageError(f"episode_start has {len(starts)} numbers for {size} observations")
        states[np.broadcast_to(starts, size)] = 0.0
    return states


def _leading(space: spaces.Space, observation: Any) -> tuple[int, ...] | None:
    """Axes of an observation before its space's; None for a misfit."""
    if isinstance(space, spaces.Dict):
        if not isinstance(observation, Mapping) or not space.spaces.keys() <= observation.keys():
            return None
        return _common(_leading(part, observation[key]) for key, part in space.spaces.items())
    if isinstance(space, spaces.Tuple):
        if not isinstance(observation, tuple | list) or len(observation) != len(space.spaces):
            return None
        return _common(_leading(*pair) for pair in zip(space.spaces, observation, strict=True))
    try:
        array = np.asarray(observation)
    except (TypeError, ValueError):
        return None
    shape = space.shape or ()
    before = array.ndim - len(shape)
    if before < 0 or array.shape[before:] != shape or array.dtype.kind not in "biuf":
        return None
    return None if isinstance(space, _WHOLE_NUMBERS) and array.dtype.kind == "f" else array.shape[:before]


def _common(leading: Iterable[tuple[int, ...] | None]) -> tuple[int, ...] | None:
    """The leading axes of all entries; None if they differ."""
    found = set(leading)
    return found.pop() if len(found) == 1 else None


def _part(space: spaces.Space, observation: Any, index: tuple[int, ...]) -> Any:
    """One observation at an index of a batch or a stack."""
    if isinstance(space, spaces.Dict):
        return {key: _part(part, observation[key], index) for key, part in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(_part(part, observation[number], index) for number, part in enumerate(space.spaces))
    return np.asarray(observation)[index]


def _shape_in_words(value: Any) -> str:
    """A value by its type and shape."""
    if isinstance(value, Mapping):
        return "a dict with " + (", ".join(map(repr, list(value)[:5])) or "nothing")
    if isinstance(value, tuple):
        return f"a tuple of {len(value)}"
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):
        return f"of the type {type(value).__name__}"
    return f"of the type {array.dtype} and the shape {list(array.shape)}"
