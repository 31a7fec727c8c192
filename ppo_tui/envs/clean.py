"""Environments known to keep nothing from one episode to the next."""

from __future__ import annotations

import gymnasium
from gymnasium.wrappers import (
    OrderEnforcing,
    PassiveEnvChecker,
    TimeLimit,
    TransformAction,
    TransformObservation,
    TransformReward,
)

from .contract import CheckedEnv
from .tolerance import TolerantEnv

STATELESS = (
    CheckedEnv,
    OrderEnforcing,
    PassiveEnvChecker,
    TolerantEnv,
    TransformAction,
    TransformObservation,
    TransformReward,
)
"""Wrappers without a state that outlives a step."""

_CLEAN_FAMILIES = (
    "gymnasium.envs.classic_control.",
    "gymnasium.envs.toy_text.",
    "gymnasium.envs.box2d.",
    "gymnasium.envs.mujoco.",
    "ppo_tui.envs.atari",
)
"""Modules whose environments set all their state in `reset`, and draw from their own generator alone."""

_BOX2D = "gymnasium.envs.box2d."


def only_known_layers(env: gymnasium.Env) -> bool:
    """Whether every wrapper in `env` is stateless or a time limit."""
    layer = env
    while isinstance(layer, gymnasium.Wrapper):
        if not isinstance(layer, (TimeLimit, *STATELESS)):
            return False
        layer = layer.env
    return True


def starts_clean(env: gymnasium.Env) -> bool:
    """Whether episodes of `env` are known not to depend on earlier ones.

    Of any other environment this has to be proved.
    """
    return only_known_layers(env) and type(env.unwrapped).__module__.startswith(_CLEAN_FAMILIES)


def kept_its_world(env: gymnasium.Env) -> bool:
    """Whether the world of `env` outlived episodes before `renew_physics`."""
    return bool(_bodies_of_kept_world(env))


def _bodies_of_kept_world(env: gymnasium.Env) -> list[str]:
    """Names of the bodies to be destroyed by the next `reset`."""
    inner = env.unwrapped
    is_box2d = type(inner).__module__.startswith(_BOX2D)
    return [name for name in ("terrain", "road") if is_box2d and hasattr(inner, name)]


def renew_physics(env: gymnasium.Env) -> None:
    """Give Gymnasium's Box2D environments a new world before a reset.

    BipedalWalker and CarRacing keep theirs, in which the order of contacts depends on all episodes before; LunarLander
    makes a new one itself.
    """
    inner = env.unwrapped
    for bodies in _bodies_of_kept_world(env):
        if getattr(inner, bodies):
            setattr(inner, bodies, [])
            world = inner.world  # pyright: ignore[reportAttributeAccessIssue]
            world.contactListener = None
            inner.world = type(world)(gravity=world.gravity)  # pyright: ignore[reportAttributeAccessIssue]
