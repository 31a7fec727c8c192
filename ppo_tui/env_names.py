"""Names for actions and observations of well-known environments.

Gymnasium documents them in prose alone: https://gymnasium.farama.org/environments.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Number(NamedTuple):
    """A number of an observation.

    Attributes:
        reach: the size at which its bar is full; its bound, or what is seldom exceeded.
    """

    name: str
    reach: float


class EnvNames(NamedTuple):
    """The names of one environment.

    Attributes:
        actions: of the discrete actions, or of the components of a continuous one.
        numbers: of the observation.
    """

    actions: tuple[str, ...] = ()
    numbers: tuple[Number, ...] = ()


NO_NAMES = EnvNames()

_LANDER = (
    Number("x", 1.5),
    Number("height", 1.5),
    Number("speed x", 2.0),
    Number("speed y", 2.0),
    Number("angle", 1.0),
    Number("ang. vel.", 2.0),
    Number("left leg", 1.0),
    Number("right leg", 1.0),
)
_CAR = (Number("position", 1.2), Number("velocity", 0.07))
_WALKER_LEG = (Number("hip", 1.1), Number("hip turn", 1.0), Number("knee", 1.1), Number("knee turn", 1.0))
_WALKER = (
    Number("angle", 1.0),
    Number("ang. vel.", 1.0),
    Number("speed x", 1.0),
    Number("speed y", 1.0),
    *_WALKER_LEG,
    Number("contact", 1.0),
    *(Number(f"{number.name} 2", number.reach) for number in (*_WALKER_LEG, Number("contact", 1.0))),
    *(Number(f"lidar {index}", 1.0) for index in range(10)),
)
_MOVES = ("left", "down", "right", "up")

_NAMES = {
    "CartPole": EnvNames(
        ("left", "right"),
        (Number("position", 2.4), Number("velocity", 3.0), Number("angle", 0.2095), Number("ang. vel.", 3.5)),
    ),
    "MountainCar": EnvNames(("push left", "coast", "push right"), _CAR),
    "MountainCarContinuous": EnvNames(("push",), _CAR),
    "Acrobot": EnvNames(
        ("torque -1", "no torque", "torque +1"),
        (
            Number("cos θ1", 1.0),
            Number("sin θ1", 1.0),
            Number("cos θ2", 1.0),
            Number("sin θ2", 1.0),
            Number("ang. vel. 1", 12.57),
            Number("ang. vel. 2", 28.27),
        ),
    ),
    "Pendulum": EnvNames(("torque",), (Number("cos θ", 1.0), Number("sin θ", 1.0), Number("ang. vel.", 8.0))),
    "LunarLander": EnvNames(("coast", "fire left", "fire main", "fire right"), _LANDER),
    "LunarLanderContinuous": EnvNames(("main engine", "side engine"), _LANDER),
    "BipedalWalker": EnvNames(("hip", "knee", "hip 2", "knee 2"), _WALKER),
    "BipedalWalkerHardcore": EnvNames(("hip", "knee", "hip 2", "knee 2"), _WALKER),
    "CarRacing": EnvNames(("steering", "gas", "brake")),
    "FrozenLake": EnvNames(_MOVES),
    "FrozenLake8x8": EnvNames(_MOVES),
    "CliffWalking": EnvNames(("up", "right", "down", "left")),
    "Taxi": EnvNames(("south", "north", "east", "west", "pick up", "drop off")),
    "Blackjack": EnvNames(("stick", "hit")),
}

_VERSION = re.compile(r"-v\d+$")


def names_of(env_id: str, kwargs: object = None) -> EnvNames:
    """The names of an environment, by its id such as ``CartPole-v1``.

    They are empty for an unknown one.

    Args:
        kwargs: of its constructor: some environments have continuous actions as an option.
    """
    name = _VERSION.sub("", env_id)
    if isinstance(kwargs, dict) and kwargs.get("continuous") is True:
        name += "Continuous"
    elif name == "CarRacing" and isinstance(kwargs, dict) and kwargs.get("continuous") is False:
        return EnvNames(("coast", "right", "left", "gas", "brake"))
    return _NAMES.get(name, NO_NAMES)
