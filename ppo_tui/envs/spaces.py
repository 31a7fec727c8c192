"""Spaces and action masks: refuse unsupported ones, convert the others."""

from __future__ import annotations

import math
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Space, Tuple, flatten_space
from gymnasium.wrappers import FlattenObservation, TransformAction, TransformObservation

from ..config.schema import EnvConfig
from ..errors import ConfigError
from .contract import ApiError, shown
from .tolerance import BadValueError

_SUPPORTED_OBSERVATIONS = (
    "supported are Box (uint8 images [H, W] or [H, W, C], anything else as a vector), Discrete, MultiDiscrete, "
    "MultiBinary, and Dict and Tuple of them without images; wrap the environment so that it has one of these"
)
_SUPPORTED_ACTIONS = "supported are Discrete, MultiDiscrete, MultiBinary, and Box of a floating-point type"

_SMALLEST_IMAGE = 36
"""Height and width from which a uint8 entry of a Dict counts as an image; smaller ones are numbers."""


def check_spaces(config: EnvConfig, observation_space: Space, action_space: Space) -> None:
    """Refuse unsupported spaces.

    Raises:
        ConfigError: naming the space and what is supported.
    """
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
        _check_entries(name, space, "")
    elif not isinstance(space, Box | Discrete | MultiDiscrete | MultiBinary):
        raise ConfigError(name, hint=_SUPPORTED_OBSERVATIONS)
    elif math.prod(_shape(space)) == 0:
        raise ConfigError(f"env.id = {env_id!r}: its observations {_show(space)} are empty")
    elif isinstance(space, Box) and space.dtype == np.uint8 and len(space.shape) > 3:
        raise ConfigError(
            f"env.id = {env_id!r}: its observations {_show(space)} have {len(space.shape)} dimensions",
            hint=_SUPPORTED_OBSERVATIONS,
        )


def _check_entries(name: str, space: Dict | Tuple, path: str) -> None:
    """Refuse entries, at any depth, without a flat form."""
    entries = space.spaces.items() if isinstance(space, Dict) else enumerate(space.spaces)
    if not space.spaces:
        raise ConfigError(f"{name}, which is empty")
    for key, entry in entries:
        place = f"{path}[{key!r}]"
        if isinstance(entry, Dict | Tuple):
            _check_entries(name, entry, place)
        elif not isinstance(entry, Box | Discrete | MultiDiscrete | MultiBinary):
            raise ConfigError(f"{name}, of which {place} is {_show(entry)}", hint=_SUPPORTED_OBSERVATIONS)
        elif _is_image(entry):
            raise ConfigError(
                f"{name}, of which {place} is an image of shape {list(_shape(entry))}: a Dict becomes one vector",
                hint="wrap the environment so that it returns the image alone, or draws the other entries into it",
            )


def _is_image(space: Space) -> bool:
    if not isinstance(space, Box) or space.dtype != np.uint8 or len(space.shape) not in (2, 3):
        return False
    return sorted(space.shape)[-2] >= _SMALLEST_IMAGE


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


def adapt_spaces(env: gymnasium.Env) -> gymnasium.Env:
    """`env` with uint8 images or float32 vectors, and actions from 0.

    Discrete observations become one-hot, one entry after the other.

    Its spaces must have passed `check_spaces`. An observation may share memory with the environment: it is valid
    until the next `step` or `reset`.
    """
    return _adapt_observations(_adapt_actions(env))


def _adapt_actions(env: gymnasium.Env) -> gymnasium.Env:
    space = env.action_space
    if isinstance(space, Box):
        return TransformAction(env, lambda action: np.clip(action, space.low, space.high), space)
    if isinstance(space, Discrete) and space.start != 0:
        return TransformAction(env, lambda action: action + space.start, Discrete(int(space.n)))
    if isinstance(space, MultiDiscrete) and np.any(space.start):
        return TransformAction(env, lambda action: action + space.start, MultiDiscrete(space.nvec, dtype=space.dtype))
    return env


def _adapt_observations(env: gymnasium.Env) -> gymnasium.Env:
    space = env.observation_space
    if not isinstance(space, Box):
        return _as_vector(FlattenObservation(env))
    if space.dtype == np.uint8 and len(space.shape) == 2:
        return env
    if space.dtype == np.uint8 and len(space.shape) == 3:
        return _channel_first(env, space) if _has_channel_last(space.shape) else env
    return _as_vector(env)


def _has_channel_last(shape: tuple[int, ...]) -> bool:
    """Whether the last axis of an image is its channel axis.

    The channel axis is the shorter one; equal ones follow Gymnasium's `[H, W, C]`.
    """
    return shape[2] <= shape[0]


def _channel_first(env: gymnasium.Env, space: Box) -> gymnasium.Env:
    height, width, channels = space.shape
    moved = Box(
        low=np.moveaxis(space.low, -1, 0),
        high=np.moveaxis(space.high, -1, 0),
        shape=(channels, height, width),
        dtype=np.uint8,
    )
    return TransformObservation(env, lambda image: np.ascontiguousarray(np.moveaxis(image, -1, 0)), moved)


def _as_vector(env: gymnasium.Env) -> gymnasium.Env:
    """Float32 vectors `[D]`, even for environments with other values.

    Some declare float32 and return float64.
    """
    flat = flatten_space(env.observation_space)
    assert isinstance(flat, Box), "check_spaces has refused what does not flatten"
    with np.errstate(over="ignore"):  # a bound beyond float32 becomes infinite
        space = Box(low=flat.low.astype(np.float32), high=flat.high.astype(np.float32), dtype=np.float32)
    size, shape = space.shape[0], env.observation_space.shape

    def flattened(observation: Any) -> np.ndarray:
        vector = np.asarray(observation, dtype=np.float32)
        if vector.size != size:
            raise BadValueError(f"the observation has the shape {vector.shape} instead of {shape}")
        return vector.reshape(size)

    return TransformObservation(env, flattened, space)


def hide_numbers(env: gymnasium.Env, config: EnvConfig) -> gymnasium.Env:
    """`env`, adapted, without the observation entries in `config.hide`.

    Raises:
        ConfigError: the observations are images, or have no such numbers, or none would be left.
    """
    if not config.hide:
        return env
    space = env.observation_space
    assert isinstance(space, Box), "adapt_spaces has made it one"
    if len(space.shape) != 1:
        raise ConfigError(
            f"env.hide = {list(config.hide)}: the observations of {config.id!r} are images of shape "
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


MASK_HINT = "set env.action_masks = false, or provide masks in info['action_mask'] or by a method action_masks()"


def count_masked(env: gymnasium.Env, config: EnvConfig, info: dict[str, Any]) -> int:
    """Number of actions A in the environment's masks; 0 without masks.

    Args:
        info: of the reset just done.

    Raises:
        ConfigError: masks are required, and there are none, or actions of this kind cannot be masked.
        BadValueError: its mask is none, or leaves no action possible.
    """
    wanted = config.action_masks
    if wanted is False or (wanted == "auto" and not isinstance(env.action_space, Discrete | MultiDiscrete)):
        return 0
    if not isinstance(env.action_space, Discrete | MultiDiscrete):
        raise ConfigError(
            f"env.action_masks = true: only Discrete and MultiDiscrete actions can be masked, not {env.action_space}",
            hint="set env.action_masks = false",
        )
    if _find_mask(env, info) is None:
        if wanted == "auto":
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
    if "action_mask" in info:
        return info["action_mask"]
    if not env.has_wrapper_attr("action_masks"):
        return None
    action_masks = env.get_wrapper_attr("action_masks")
    if not callable(action_masks):
        raise ApiError("action_masks", f"it is {shown(action_masks)}")
    return action_masks()
