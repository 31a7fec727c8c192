"""Spaces and action masks: refuse unsupported ones, convert the others."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Space, Tuple
from gymnasium.wrappers import TransformAction, TransformObservation

from ..config.collecting import EnvConfig
from ..errors import ConfigError
from .contract import ApiError, shown
from .fitting import FittedActions, FittedObservations, holds_bytes, in_brackets, without_texts
from .packing import PackedBox
from .tolerance import BadValueError

_SUPPORTED_OBSERVATIONS = (
    "supported are Box (uint8 [H, W] or [H, W, C] as it is, anything else as a vector), Discrete, MultiDiscrete, "
    "MultiBinary, and Dict and Tuple of them (a text in a Dict is left out); wrap the environment so that it has one "
    "of these"
)
_SUPPORTED_ACTIONS = "supported are Discrete, MultiDiscrete, MultiBinary, and Box of a floating-point type"


_MOST_NAMED = 8
"""Entries named in a remark."""

MOST_OBSERVED = 2**25
"""Limit of the numbers of an observation: a picture of 3840 × 2160 pixels has fewer."""


def check_spaces(config: EnvConfig, observation_space: Space, action_space: Space) -> None:
    """Refuse unsupported spaces.

    Raises:
        ConfigError: naming the space and what is supported.
    """
    if _uses_mask_entry(config, observation_space, action_space):
        assert isinstance(observation_space, Dict), "it has a mask entry"
        observation_space = _without_mask(observation_space)
    _check_observations(config.id, observation_space)
    _check_actions(config.id, action_space)
    if config.frame_stack > 1 and isinstance(observation_space, Discrete):
        raise ConfigError(
            f"env.frame_stack = {config.frame_stack}: the observations of {config.id!r} are {observation_space}, "
            "states without a history to stack",
            hint="set env.frame_stack = 1",
        )


def _check_observations(env_id: str, space: Space) -> None:
    name = f"env.id = {env_id!r}: its observations are {_show(space)}"
    if isinstance(space, Dict | Tuple):
        kept, texts = without_texts(space)
        assert isinstance(kept, Dict | Tuple), "it keeps its kind"
        if texts and not kept.spaces:
            raise ConfigError(f"{name}, of which nothing is left without its texts", hint=_SUPPORTED_OBSERVATIONS)
        _check_entries(name, kept, "")
    elif not isinstance(space, Box | Discrete | MultiDiscrete | MultiBinary):
        raise ConfigError(name, hint=_SUPPORTED_OBSERVATIONS)
    if (numbers := _count_numbers(space)) == 0:
        raise ConfigError(f"env.id = {env_id!r}: its observations {_show(space)} are empty")
    if numbers > MOST_OBSERVED:
        raise ConfigError(
            f"{name}, {numbers:,} numbers with one for each choice: at most {MOST_OBSERVED:,} can be learnt",
            hint="wrap the environment so that it gives fewer, such as the digits of a large number",
        )
    if isinstance(space, Box) and len(space.shape) > 3 and holds_bytes(space):
        raise ConfigError(
            f"env.id = {env_id!r}: its observations {_show(space)} have {len(space.shape)} dimensions",
            hint=_SUPPORTED_OBSERVATIONS,
        )


def _count_numbers(space: Space) -> int:
    """Numbers of an observation as the learner sees them; texts have none."""
    match space:
        case Dict():
            return sum(map(_count_numbers, space.spaces.values()))
        case Tuple():
            return sum(map(_count_numbers, space.spaces))
        case Discrete():
            return int(space.n)
        case MultiDiscrete():
            return sum(map(int, space.nvec.flat))
        case Box() | MultiBinary():
            return math.prod(_shape(space))
    return 0


def _check_entries(name: str, space: Dict | Tuple, path: str) -> None:
    """Refuse entries, at any depth, without a flat form."""
    entries = space.spaces.items() if isinstance(space, Dict) else enumerate(space.spaces)
    if not space.spaces:
        raise ConfigError(f"{name}, which is empty")
    for key, entry in entries:
        place = f"{path}{in_brackets(key)}"
        if isinstance(entry, Dict | Tuple):
            _check_entries(name, entry, place)
        elif not isinstance(entry, Box | Discrete | MultiDiscrete | MultiBinary):
            raise ConfigError(f"{name}, of which {place} is {_show(entry)}", hint=_SUPPORTED_OBSERVATIONS)


def _check_actions(env_id: str, space: Space) -> None:
    if isinstance(space, Discrete):
        return
    if not isinstance(space, MultiDiscrete | MultiBinary | Box):
        raise ConfigError(f"env.id = {env_id!r}: its actions are {_show(space)}", hint=_SUPPORTED_ACTIONS)
    if math.prod(space.shape) == 0 or (isinstance(space, Box) and not np.issubdtype(space.dtype, np.floating)):
        raise ConfigError(
            f"env.id = {env_id!r}: its actions {_show(space)} have the shape {list(space.shape)} "
            f"and the type {space.dtype}",
            hint=_SUPPORTED_ACTIONS,
        )


def _shape(space: Space) -> tuple[int, ...]:
    """The shape of a space; empty for a single number."""
    return space.shape or ()


def _show(space: Space) -> str:
    text = str(space)
    return text if len(text) <= 120 else text[:119] + "…"


class AdaptedObservations(TransformObservation):
    """Convert observations by `FittedObservations`.

    Attributes:
        fit: the conversion.
        observation_remarks: on observations that do not fit their space; one of each kind.
    """

    def __init__(self, env: gymnasium.Env) -> None:
        self.fit = FittedObservations(env.observation_space)
        self.observation_remarks = self.fit.remarks
        super().__init__(env, self.fit, self.fit.space)


class AdaptedActions(TransformAction):
    """Convert actions by `FittedActions`.

    Attributes:
        fit: the conversion.
    """

    def __init__(self, env: gymnasium.Env) -> None:
        self.fit = FittedActions(env.action_space)
        super().__init__(env, self.fit, self.fit.space)


class MaskInObservation(TransformObservation):
    """Move the action mask from Dict observations into the info.

    Of the rest, a single entry ``observation`` or ``observations`` stands for the whole.
    """

    def __init__(self, env: gymnasium.Env) -> None:
        space = env.observation_space
        assert isinstance(space, Dict), "mask_entry has found a Dict"
        self._only = _only_entry(space)
        super().__init__(env, self._without_mask, _without_mask(space))

    def _without_mask(self, observation: Any) -> Any:
        if self._only is not None:
            return observation[self._only]
        return {key: part for key, part in observation.items() if key != MASK_ENTRY}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        observation, info = self.env.reset(seed=seed, options=options)
        return self._without_mask(observation), {MASK_ENTRY: observation[MASK_ENTRY], **info}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        info = {MASK_ENTRY: observation[MASK_ENTRY], **info}
        return self._without_mask(observation), reward, terminated, truncated, info


def split_mask(observation: Any, space: Space) -> tuple[Any, Any]:
    """Split an observation into the rest and its action mask, or None.

    Args:
        space: of the rest; a mask that is a feature in it stays there.
    """
    if not isinstance(observation, Mapping) or MASK_ENTRY not in observation:
        return observation, None
    if isinstance(space, Dict) and MASK_ENTRY in space.spaces:
        return observation, None
    rest = {key: part for key, part in observation.items() if key != MASK_ENTRY}
    whole = (
        len(rest) == 1 and next(iter(rest)) in _WHOLE and not (isinstance(space, Dict) and rest.keys() <= space.keys())
    )
    return (next(iter(rest.values())) if whole else rest), observation[MASK_ENTRY]


def _only_entry(space: Dict) -> str | None:
    """Key of the only entry, standing for the whole observation; else None."""
    rest = [key for key in space.spaces if key != MASK_ENTRY]
    return rest[0] if len(rest) == 1 and rest[0] in _WHOLE else None


def _without_mask(space: Dict) -> Space:
    """The space of observations after `MaskInObservation`."""
    if (only := _only_entry(space)) is not None:
        return space.spaces[only]
    return Dict({key: part for key, part in space.spaces.items() if key != MASK_ENTRY})


def _uses_mask_entry(config: EnvConfig, observation_space: Space, action_space: Space) -> bool:
    return config.action_masks in ("auto", True) and mask_entry(observation_space, action_space) is True


def adapt_spaces(env: gymnasium.Env, config: EnvConfig) -> gymnasium.Env:
    """`env` with uint8 grids, float32 vectors or both, actions from 0.

    Discrete observations become one-hot, one entry after the other. A mask within a Dict observation goes into the
    info, unless `config` says otherwise.

    Its spaces must have passed `check_spaces`. An observation may share memory with the environment: it is valid
    until the next `step` or `reset`.
    """
    if _uses_mask_entry(config, env.observation_space, env.action_space):
        env = MaskInObservation(env)
    if not isinstance(env.action_space, MultiBinary):
        env = AdaptedActions(env)
    return AdaptedObservations(env)


def given_spaces(env: gymnasium.Env) -> tuple[Space, Space]:
    """The spaces of observations and actions before `adapt_spaces`.

    Observations are without their texts, and without their action mask, where that is used.
    """
    observations, actions = env.observation_space, env.action_space
    layer = env
    while isinstance(layer, gymnasium.Wrapper):
        if isinstance(layer, AdaptedObservations):
            observations = layer.fit.given
        elif isinstance(layer, AdaptedActions):
            actions = layer.fit.given
        layer = layer.env
    return observations, actions


MASK_ENTRY = "action_mask"
"""Key of the mask in a Dict observation (RLlib's and PettingZoo's), and in the info (Gymnasium's)."""

_WHOLE = ("observation", "observations")
"""Keys beside `MASK_ENTRY`: PettingZoo's and RLlib's."""


def mask_entry(observation_space: Space, action_space: Space) -> bool | None:
    """Whether observations have an entry usable as an action mask.

    None if there is an entry of that name, and nothing else or of another size.
    """
    if not isinstance(observation_space, Dict) or MASK_ENTRY not in observation_space.spaces:
        return False
    if not isinstance(action_space, Discrete | MultiDiscrete) or len(observation_space.spaces) == 1:
        return None
    entry = observation_space.spaces[MASK_ENTRY]
    if isinstance(entry, Box):
        binary = bool(np.all(entry.low == 0) and np.all(entry.high == 1))
    elif isinstance(entry, MultiDiscrete):
        binary = bool(np.all(entry.nvec == 2) and not np.any(entry.start))
    else:
        binary = isinstance(entry, MultiBinary)
    return True if binary and math.prod(_shape(entry)) == sum(choice_sizes(action_space)) else None


def describe_masks(env: gymnasium.Env, config: EnvConfig) -> str | None:
    """A remark on an action mask within the observations; None without one.

    Args:
        env: after `adapt_spaces`.
    """
    inner = layer = env
    while isinstance(layer, gymnasium.Wrapper):
        if isinstance(layer, AdaptedObservations | AdaptedActions | MaskInObservation):
            inner = layer.env
        layer = layer.env
    found = mask_entry(inner.observation_space, inner.action_space)
    if found is False or config.action_masks is False:
        return None
    name = f"the observations' entry {MASK_ENTRY!r}"
    if _uses_mask_entry(config, inner.observation_space, inner.action_space):
        return f"{name} masks the actions and is not part of what the policy sees (env.action_masks = false: a feature)"
    if found:
        return f"{name} is a feature, and masks no actions (env.action_masks = {config.action_masks!r})"
    return (
        f"{name} is a feature, and masks no actions: a mask has one number, 0 or 1, for each action "
        f"of {_show(inner.action_space)}, beside other entries"
    )


def describe_texts(env: gymnasium.Env) -> str | None:
    """A remark on texts left out of the observations; None without any.

    Args:
        env: after `adapt_spaces`.
    """
    layer, texts = env, ()
    while isinstance(layer, gymnasium.Wrapper):
        if isinstance(layer, AdaptedObservations):
            texts = layer.fit.left_out
        layer = layer.env
    if not texts:
        return None
    more = f" and {len(texts) - _MOST_NAMED:,} more" if len(texts) > _MOST_NAMED else ""
    return f"not part of what the policy sees, because it is text: {', '.join(texts[:_MOST_NAMED])}{more}"


def hide_numbers(env: gymnasium.Env, config: EnvConfig) -> gymnasium.Env:
    """`env`, adapted, without the observation entries in `config.hide`.

    Raises:
        ConfigError: the observations are images, or have no such numbers, or none would be left.
    """
    if not config.hide:
        return env
    space = env.observation_space
    assert isinstance(space, Box), "adapt_spaces has made it one"
    if len(space.shape) != 1 or isinstance(space, PackedBox):
        raise ConfigError(
            f"env.hide = {list(config.hide)}: the observations of {config.id!r} have images among other parts"
            if isinstance(space, PackedBox)
            else f"env.hide = {list(config.hide)}: the observations of {config.id!r} are images or boards of shape "
            f"{list(space.shape)}",
            hint="remove it; it hides numbers of a vector",
        )
    shown = np.setdiff1d(np.arange(space.shape[0]), config.hide)
    if max(config.hide) >= space.shape[0] or not shown.size:
        raise ConfigError(
            f"env.hide = {list(config.hide)}: the observations of {config.id!r} have the numbers 0 to "
            f"{space.shape[0] - 1}, at least one of which must be shown"
        )
    visible = Box(low=space.low[shown], high=space.high[shown], dtype=np.float32)
    return TransformObservation(env, lambda vector: vector[shown], visible)


MASK_HINT = (
    "set env.action_masks = false, or provide masks in info['action_mask'], by a method action_masks() or as an entry "
    "'action_mask' of Dict observations"
)


def count_masked(env: gymnasium.Env, config: EnvConfig, info: dict[str, Any]) -> int:
    """Number of actions A in the environment's masks; 0 without masks.

    Args:
        info: of the reset just done.

    Raises:
        ConfigError: masks are required, and there are none, or actions of this kind cannot be masked.
        BadValueError: its mask is none, or leaves no action possible.
    """
    wanted = config.action_masks
    if wanted is False or (wanted is not True and not isinstance(env.action_space, Discrete | MultiDiscrete)):
        return 0
    if not isinstance(env.action_space, Discrete | MultiDiscrete):
        raise ConfigError(
            f"env.action_masks = true: only Discrete and MultiDiscrete actions can be masked, not {env.action_space}",
            hint="set env.action_masks = false",
        )
    if _find_mask(env, info) is None:
        if wanted is not True:
            return 0
        raise ConfigError(f"env.action_masks = true: {config.id!r} provides no masks", hint=MASK_HINT)
    return read_mask(env, info).size


def read_mask(env: gymnasium.Env, info: dict[str, Any]) -> np.ndarray:
    """The possible actions after a reset or step, bool `[A]`.

    Of a `MultiDiscrete` space, the masks of its choices one after the other.

    Raises:
        BadValueError: there is no mask here, or one of another size or type, or one without a possible action.
    """
    found = _find_mask(env, info)
    sizes = choice_sizes(env.action_space)
    if found is None:
        raise BadValueError("the environment provided action masks before, and none now")
    parts = found if isinstance(found, tuple | list) and isinstance(env.action_space, MultiDiscrete) else (found,)
    mask = np.concatenate([np.ravel(np.asarray(part)) for part in parts])
    if mask.size != sum(sizes):
        raise BadValueError(f"an action mask has {mask.size} entries for {sum(sizes)} actions")
    if mask.dtype != np.bool_:
        if mask.dtype.kind not in "iuf" or not ((mask == 0) | (mask == 1)).all():
            raise ApiError("mask", f"it was {shown(found)}")
        mask = mask.astype(bool)
    if not all(choice.any() for choice in np.split(mask, np.cumsum(sizes)[:-1])):
        raise BadValueError("an action mask leaves no action possible: the environment should end the episode there")
    return mask


def choice_sizes(space: Space) -> list[int]:
    """Number of actions of each choice of a Discrete or MultiDiscrete space."""
    if isinstance(space, Discrete):
        return [int(space.n)]
    assert isinstance(space, MultiDiscrete)
    return [int(n) for n in space.nvec.flat]


def _find_mask(env: gymnasium.Env, info: dict[str, Any]) -> Any:
    if MASK_ENTRY in info:
        return info[MASK_ENTRY]
    if not env.has_wrapper_attr("action_masks"):
        return None
    action_masks = env.get_wrapper_attr("action_masks")
    if not callable(action_masks):
        raise ApiError("action_masks", f"it is {shown(action_masks)}")
    return action_masks()
