"""Spaces as plain numbers and text, to leave an environment's process.

A pickled space may be of a class of the environment's own: loading it would import and run code of the environment.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Space, Tuple

from .packing import PackedBox

PlainSpace = Mapping[str, Any]
"""The kind of a space, and the arguments of its constructor."""


def plain_space(space: Space) -> PlainSpace | None:
    """The numbers of a space of arrays, or of such spaces.

    None for any other kind. Of a subclass, the numbers alone remain.
    """
    match space:
        case PackedBox():
            return {"kind": "PackedBox", **space.to_plain()}
        case Box():
            low, high = _plain_array(space.low), _plain_array(space.high)
            return {"kind": "Box", "low": low, "high": high, "dtype": space.dtype.str}
        case Discrete():
            return {"kind": "Discrete", "n": int(space.n), "start": int(space.start), "dtype": space.dtype.str}
        case MultiDiscrete():
            nvec, start = _plain_array(space.nvec), _plain_array(space.start)
            return {"kind": "MultiDiscrete", "nvec": nvec, "start": start, "dtype": space.dtype.str}
        case MultiBinary():
            return {"kind": "MultiBinary", "shape": [int(n) for n in space.shape], "scalar": isinstance(space.n, int)}
        case Dict():
            return _plain_parts("Dict", dict(space.spaces))
        case Tuple():
            return _plain_parts("Tuple", dict(enumerate(space.spaces)))
    return None


def _plain_parts(kind: str, spaces: Mapping[Any, Space]) -> PlainSpace | None:
    parts = [(key if isinstance(key, int) else str(key), plain_space(space)) for key, space in spaces.items()]
    return None if any(part is None for _, part in parts) else {"kind": kind, "parts": parts}


def space_of(plain: PlainSpace) -> Space:
    """The space of Gymnasium's own class with these numbers.

    Raises:
        ValueError, TypeError, KeyError: they are none of `plain_space`.
    """
    kind, dtype = plain["kind"], np.dtype(plain["dtype"]) if "dtype" in plain else None
    if kind == "PackedBox":
        return PackedBox.from_plain(plain)
    if kind == "Box":
        return Box(_array(plain["low"]), _array(plain["high"]), dtype=dtype)  # type: ignore[arg-type]
    if kind == "Discrete":
        return Discrete(plain["n"], start=plain["start"], dtype=dtype)  # type: ignore[arg-type]
    if kind == "MultiDiscrete":
        return MultiDiscrete(_array(plain["nvec"]), start=_array(plain["start"]), dtype=dtype)  # type: ignore[arg-type]
    if kind == "MultiBinary":
        return MultiBinary(plain["shape"][0] if plain["scalar"] else plain["shape"])
    if kind == "Dict":  # an ordered one keeps its order
        return Dict(OrderedDict((key, space_of(part)) for key, part in plain["parts"]))
    if kind == "Tuple":
        return Tuple([space_of(part) for _, part in plain["parts"]])
    raise ValueError(f"{kind!r} is no kind of space")


def _plain_array(array: np.ndarray) -> tuple[str, list[int], bytes]:
    return array.dtype.str, [int(n) for n in array.shape], np.ascontiguousarray(array).tobytes()


def _array(plain: tuple[str, list[int], bytes]) -> np.ndarray:
    dtype, shape, content = plain
    return np.frombuffer(content, np.dtype(dtype)).reshape(shape).copy()
