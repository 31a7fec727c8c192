"""Gymnasium's API in words: name each breach of it."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from typing import Any, SupportsFloat

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec, load_env_creator
from gymnasium.spaces import Space

from .tolerance import BadValueError

API = {
    "reset": "reset() must return (observation, info), info being a dict",
    "step": "step() must return (observation, reward, terminated, truncated, info), info being a dict",
    "reward": "step() must return one real number as its reward",
    "terminated": "step() must return True or False as terminated",
    "truncated": "step() must return True or False as truncated",
    "keywords": "reset() must take both keywords of def reset(self, *, seed=None, options=None)",
    "observation_space": "observation_space must be a gymnasium.spaces.Space, set in the constructor",
    "action_space": "action_space must be a gymnasium.spaces.Space, set in the constructor",
    "action_masks": "action_masks must be a method, def action_masks(self), and no property",
    "mask": "an action mask must be made of True and False (or 1 and 0), one for each action",
}
"""The rules, by the name of what breaks them."""


class ApiError(BadValueError):
    """A breach of Gymnasium's API.

    Args:
        rule: a key of `API`.
        found: what was there instead, in words.
    """

    def __init__(self, rule: str, found: str) -> None:
        super().__init__(f"{API[rule]}; {found}")


def shown(value: Any) -> str:
    """A value of an environment in a few words."""
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape} and type {value.dtype}"
    if isinstance(value, int) and value.bit_length() > 128:
        return f"an integer of {value.bit_length():,} bits"
    if value is None or isinstance(value, bool | int | float | complex | str):
        return repr(value)[:60]
    return f"an object of type {type(value).__module__}.{type(value).__qualname__}"


class CheckedEnv(gymnasium.Wrapper):
    """Check the results of `reset` and `step`.

    It stands right around the environment's own code. Rewards and flags in arrays of one entry become numbers, and any
    mapping as an info becomes a dict; nothing else is changed.

    Raises:
        ApiError: its spaces are missing or none, or `reset` does not take Gymnasium's keywords.
    """

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        if not isinstance(env.metadata, dict):
            self.metadata = {}
        for name in ("observation_space", "action_space"):
            if not isinstance(space := getattr(env, name, None), Space):
                raise ApiError(name, "there is none" if space is None else f"it is {shown(space)}")
        if missing := _missing_keywords(env.reset):
            raise ApiError("keywords", f"it does not take {' and '.join(missing)}")

    @property
    def spec(self) -> EnvSpec | None:
        """The environment's own, as `gymnasium.make` compares its list of wrappers."""
        return self.env.spec

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        result = self.env.reset(seed=seed, options=options)
        if not _ends_with_info(result, 2):
            raise ApiError("reset", f"it returned {_shown_result(result)}")
        observation, info = result
        return observation, info if type(info) is dict else dict(info)

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        result = self.env.step(action)
        if not _ends_with_info(result, 5):
            raise ApiError("step", f"it returned {_shown_result(result)}")
        observation, reward, terminated, truncated, info = result
        if type(reward) is not float:
            reward = _checked_reward(reward)
        if type(terminated) is not bool:
            terminated = _checked_flag("terminated", terminated)
        if type(truncated) is not bool:
            truncated = _checked_flag("truncated", truncated)
        return observation, reward, terminated, truncated, info if type(info) is dict else dict(info)


def checked_spec(spec: EnvSpec) -> EnvSpec:
    """`spec` with `CheckedEnv` around its environment."""
    entry_point = spec.entry_point
    if entry_point is None:
        return spec

    def create_checked(**kwargs: Any) -> Any:
        create = load_env_creator(entry_point) if isinstance(entry_point, str) else entry_point
        env = create(**kwargs)
        return CheckedEnv(env) if isinstance(env, gymnasium.Env) else env  # of which Gymnasium itself complains

    checked = copy.copy(spec)
    checked.entry_point = create_checked
    return checked


def _missing_keywords(reset: Callable[..., Any]) -> list[str]:
    try:
        parameters = inspect.signature(reset).parameters
    except (TypeError, ValueError):  # written in C, without a signature
        return []
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return []
    return [name for name in ("seed", "options") if name not in parameters]


def _ends_with_info(result: Any, length: int) -> bool:
    return isinstance(result, tuple | list) and len(result) == length and isinstance(result[-1], Mapping)


def _shown_result(result: Any) -> str:
    ending = f" that ends with {shown(result[-1])}" if isinstance(result, tuple | list) and result else ""
    return f"{shown(result)}{ending}"


def _checked_reward(reward: Any) -> Any:
    if isinstance(reward, int):
        try:
            float(reward)
        except OverflowError:  # it is beyond all floats
            raise ApiError("reward", f"it was {shown(reward)}") from None
        return reward
    if isinstance(reward, float | np.floating | np.integer | np.bool_):
        return reward
    try:
        array = np.asarray(reward)
    except Exception:  # an object with a conversion of its own
        array = np.asarray(None)
    if array.size != 1 or array.dtype.kind not in "fiub":
        raise ApiError("reward", f"it was {shown(reward)}")
    return array.item()


def _checked_flag(name: str, flag: Any) -> bool:
    if isinstance(flag, np.bool_):
        return bool(flag)
    try:
        array = np.asarray(flag)
    except Exception:  # an object with a conversion of its own
        array = np.asarray(None)
    if array.size != 1 or array.dtype.kind not in "biu" or array.item() not in (0, 1):
        raise ApiError(name, f"it was {shown(flag)}")
    return bool(array.item())
