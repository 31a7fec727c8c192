"""Registers an environment with infos that were made to do harm."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete


def _refuse(*_: Any) -> Any:
    raise RuntimeError("a method of the environment's own class")


class Whole(int):
    __float__ = __int__ = __index__ = _refuse


class Real(float):
    __float__ = __int__ = _refuse


class Table(dict):
    __iter__ = __len__ = __getitem__ = items = keys = get = _refuse


class Endless(list):
    __len__ = _refuse

    def __iter__(self):
        while True:
            yield 1


class Array(np.ndarray):
    item = tolist = _refuse


class Key(str):
    __eq__ = __format__ = startswith = encode = _refuse

    def __hash__(self) -> int:
        return 1


LOOP: dict[str, Any] = {}
LOOP["again"] = LOOP

HOSTILE: dict[Any, tuple[Any, dict[str, float]]] = {
    "whole": (Whole(3), {"whole": 3.0}),
    "real": (Real(3.5), {"real": 3.5}),
    "endless": (Endless([1, 2]), {"endless/0": 1.0, "endless/1": 2.0}),
    "table": (Table(a=1, b=Whole(2)), {"table/a": 1.0, "table/b": 2.0}),
    "array": (np.zeros(1).view(Array), {"array": 0.0}),
    Key("key"): (1, {"key": 1.0}),
    "tables": ({Key("a"): {Key("b"): 1}}, {"tables/a/b": 1.0}),
    "loop": (LOOP, {}),
    "duration": (np.timedelta64(1, "s"), {}),
    "long double": (np.longdouble("1e4000"), {}),
    "huge": (10**5_000, {}),
    "complex": (1j, {}),
    "object": (np.array([Whole(1)], object), {}),
    "\x1b]0;PWN\x07[/]\u202e\n": (1, {"_0_PWN_/_": 1.0}),
    "=cmd|' /C calc'!A0": (1, {"_cmd_/C_calc_A0": 1.0}),
    "torn\udc80": (1, {"torn_": 1.0}),
    "episode": ({"r": "much", "l": -1}, {}),
    "ppo_tui.failures": (1, {}),
    (1, 2): (1, {}),
    None: (1, {}),
}
"""Key → its value, and the numbers in it."""


class HostileInfo(gymnasium.Env):
    """Episodes of five steps of reward 1, with infos of all hostile kinds."""

    observation_space = Box(-1, 1, (2,))
    action_space = Discrete(2)

    def _info(self) -> Any:
        info = {key: value for key, (value, _) in HOSTILE.items()}
        return MappingProxyType({**info, "final_info": 1})

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, Any]:
        super().reset(seed=seed)
        self._steps = 0
        return np.zeros(2, np.float32), {**self._info(), "episode": {"r": 1e6, "l": 1_000}}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, Any]:
        self._steps += 1
        return np.zeros(2, np.float32), 1.0, self._steps == 5, False, self._info()


gymnasium.register("HostileInfo-v0", HostileInfo)
