"""Which actions an environment allows in its present state, where it says so.

Two conventions are understood: Gymnasium's ``info["action_mask"]`` (as Taxi has it), and a method ``action_masks()``
(as sb3-contrib's MaskablePPO asks for).
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Discrete, MultiDiscrete, Space

from ..config.environment import EnvConfig
from ..errors import ConfigError

_HINT = "set env.action_masks = false, or let the environment give masks by info['action_mask'] or action_masks()"


def count_masked(env: gymnasium.Env, config: EnvConfig) -> int:
    """Actions A that each of the environment's masks tells about, or 0 where `config` and it agree on none.

    The environment is reset to find out.

    Raises:
        ConfigError: masks are asked for, and there are none, or actions of this kind cannot be masked.
    """
    wanted = config.action_masks
    if wanted is False or (wanted == "auto" and not isinstance(env.action_space, Discrete | MultiDiscrete)):
        return 0
    if not isinstance(env.action_space, Discrete | MultiDiscrete):
        raise ConfigError(
            f"env.action_masks = true: only Discrete and MultiDiscrete actions can be masked, not {env.action_space}",
            hint="set env.action_masks = false",
        )
    _, info = env.reset()
    if _find_mask(env, info) is None:
        if wanted == "auto":
            return 0
        raise ConfigError(f"env.action_masks = true: {config.id!r} gives no masks", hint=_HINT)
    return read_mask(env, info).size


def read_mask(env: gymnasium.Env, info: dict[str, Any]) -> np.ndarray:
    """The actions that are possible after the reset or step that gave `info`, bool `[A]`.

    A `MultiDiscrete` space has the masks of its choices one after the other.

    Raises:
        ConfigError: the environment gives none here, one of another size, or one that leaves nothing to do.
    """
    found = _find_mask(env, info)
    sizes = choice_sizes(env.action_space)
    if found is None:
        raise ConfigError("the environment gave action masks before, and none now", hint=_HINT)
    parts = found if isinstance(found, tuple | list) and isinstance(env.action_space, MultiDiscrete) else (found,)
    mask = np.concatenate([np.ravel(np.asarray(part)) for part in parts]).astype(bool)
    if mask.size != sum(sizes):
        raise ConfigError(f"an action mask has {mask.size} entries for {sum(sizes)} actions", hint=_HINT)
    if not all(choice.any() for choice in np.split(mask, np.cumsum(sizes)[:-1])):
        raise ConfigError("an action mask leaves no action possible", hint="let the environment end the episode there")
    return mask


def choice_sizes(space: Space) -> list[int]:
    """The number of actions of each choice that a Discrete or MultiDiscrete space has."""
    return [int(space.n)] if isinstance(space, Discrete) else [int(n) for n in space.nvec.flat]


def _find_mask(env: gymnasium.Env, info: dict[str, Any]) -> Any:
    if "action_mask" in info:
        return info["action_mask"]
    return env.get_wrapper_attr("action_masks")() if env.has_wrapper_attr("action_masks") else None
