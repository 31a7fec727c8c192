"""Portraits of environments: hashes of all their state in Python.

Two instances with the same portrait behave the same, unless they keep state outside Python. Objects that keep their
state elsewhere (an engine in C, a process, a connection) are named.
"""

from __future__ import annotations

import datetime
import decimal
import enum
import fractions
import functools
import hashlib
import logging
import pathlib
import random
import re
import threading
import time
import types
import uuid
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.wrappers import RecordEpisodeStatistics

MAX_OBJECTS = 5_000
MAX_BYTES = 1_000_000
"""An environment of more objects, or larger arrays, is not looked at: it would take too long."""

_VALUES = (
    type(None), bool, int, float, complex, str, bytes, bytearray, enum.Enum, np.generic, np.dtype, range, slice,
    decimal.Decimal, fractions.Fraction, datetime.date, datetime.time, datetime.timedelta, pathlib.PurePath, uuid.UUID,
    re.Pattern,
)  # fmt: skip
"""Types whose ``repr`` is their value."""

_INERT = (
    type, types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.ModuleType, functools.partial,
    property, logging.Logger, weakref.ref, type(threading.Lock()), type(threading.RLock()), type(NotImplemented),
    type(...), np.ufunc, EnvSpec, gymnasium.Space,
)  # fmt: skip
"""Types without state of an environment; the generators of spaces are saved apart."""

_INERT_MODULES = ("pygame",)

_INERT_ATTRIBUTES = {"_np_random_seed", "_cached_spec", "_saved_kwargs"}
"""What Gymnasium remembers about an environment, without influence on what it does."""

_SPACES = ("action_space", "observation_space")
"""An instance's copies of its class's spaces are no state of its own."""

_RECENT_SECONDS = 30 * 86400
"""A number this close to the present Unix time is a time of day, which no two runs share."""

_SMALL_OBJECT = object.__basicsize__ + 16
"""Bytes of an object with all its state in attributes, without slots."""


class TooLargeError(Exception):
    """The environment has too much state to be looked at."""


def portrait(env: gymnasium.Env) -> str:
    """A hash of the state of `env` and of all its layers.

    Raises:
        TooLargeError: there is too much of it.
    """
    digest = hashlib.blake2b(digest_size=16)
    _Walk(digest.update).look_at(env, "")
    return digest.hexdigest()


def opaque_parts(env: gymnasium.Env) -> dict[int, tuple[str, Any]]:
    """The objects of `env` with state outside Python: identity → name, object.

    Raises:
        TooLargeError: there are too many objects.
    """
    walk = _Walk(lambda content: None)
    walk.look_at(env, "")
    return walk.opaque


class _Walk:
    """A walk through all objects within an environment.

    Args:
        feed: takes the bytes of their values, in an order that is the same for equal environments.

    Attributes:
        opaque: objects with state outside Python: identity → name and object.
    """

    def __init__(self, feed: Callable[[bytes], None]) -> None:
        self._feed = feed
        self._seen: dict[int, tuple[int, Any]] = {}
        self._now = time.time()
        self._bytes = 0
        self.opaque: dict[int, tuple[str, Any]] = {}

    def look_at(self, first: Any, name: str) -> None:
        """Walk from `first`, depth first.

        Raises:
            TooLargeError: there are too many objects.
        """
        waiting: list[tuple[str, Any]] = [(name, first)]
        while waiting:
            name, item = waiting.pop()
            self._feed(name.encode() + b"=")
            if isinstance(item, _VALUES):
                self._add_value(item)
                continue
            if id(item) in self._seen:
                self._feed(b"#%d;" % self._seen[id(item)][0])
                continue
            self._seen[id(item)] = len(self._seen), item  # kept, so that no other gets its identity
            if len(self._seen) + len(waiting) > MAX_OBJECTS:
                raise TooLargeError
            kind = type(item)
            self._feed(f"{_module(kind)}.{kind.__qualname__};".encode())
            parts = [(f"{name}.{part}" if name else part, value) for part, value in self._parts(name, item)]
            waiting.extend(reversed(parts))

    def _add_value(self, item: Any) -> None:
        if isinstance(item, float | int) and abs(item - self._now) < _RECENT_SECONDS:
            item = "a time"
        text = repr(item).encode("utf-8", "surrogatepass")
        self._count(len(text))
        self._feed(text + b";")

    def _count(self, size: int) -> None:
        self._bytes += size
        if self._bytes > MAX_BYTES:
            raise TooLargeError

    def _parts(self, name: str, item: Any) -> Iterator[tuple[str, Any]]:
        """The parts of an object, named."""
        kind = type(item)
        if isinstance(item, _INERT) or _module(kind).partition(".")[0] in _INERT_MODULES:
            return
        if isinstance(item, RecordEpisodeStatistics):  # of times and returns, which it only reports
            yield "env", item.env
        elif isinstance(item, np.ndarray):
            yield from self._parts_of_array(item)
        elif isinstance(item, np.random.Generator | np.random.RandomState):
            yield "bits", item.bit_generator if isinstance(item, np.random.Generator) else item.get_state(legacy=False)
        elif isinstance(item, np.random.BitGenerator):
            yield "state", dict(item.state)
        elif isinstance(item, random.Random):
            yield "state", item.getstate()
        elif isinstance(item, dict | types.MappingProxyType):
            yield "keys", list(item)
            yield from ((str(number), value) for number, value in enumerate(item.values()))
        elif isinstance(item, list | tuple | deque):
            yield from ((str(number), value) for number, value in enumerate(item))
        elif isinstance(item, set | frozenset):
            yield "set", sorted(map(_portrait_of, item))
        if hasattr(item, "__dict__") or _slots(kind):
            yield from self._attributes(item)
        elif not isinstance(item, _TRANSPARENT):
            self.opaque[id(item)] = name, item
        if _hides_state(kind) and not isinstance(item, _TRANSPARENT):
            self.opaque[id(item)] = name, item

    def _parts_of_array(self, array: np.ndarray) -> Iterator[tuple[str, Any]]:
        yield "shape", array.shape
        yield "dtype", array.dtype
        if array.dtype.hasobject:
            yield "items", array.ravel().tolist()
        else:
            self._count(array.nbytes)
            self._feed(array.tobytes())

    def _attributes(self, item: Any) -> Iterator[tuple[str, Any]]:
        """The attributes of an object, by name.

        Those of an environment include its class's, which its instances share.
        """
        if isinstance(item, gymnasium.Env):
            shared = {key: value for key, value in vars(type(item)).items() if isinstance(value, _DATA)}
            yield from ((key, shared[key]) for key in sorted(shared) if not key.startswith("__"))
        own = {key: getattr(item, key) for key in _slots(type(item)) if hasattr(item, key)} | getattr(
            item, "__dict__", {}
        )
        for key in sorted(own, key=str):
            if key not in _INERT_ATTRIBUTES and not (key in _SPACES and hasattr(type(item), key)):
                yield key, own[key]


_TRANSPARENT = (
    np.ndarray, np.random.Generator, np.random.RandomState, np.random.BitGenerator, random.Random, dict,
    types.MappingProxyType, list, tuple, deque, set, frozenset,
)  # fmt: skip
"""Types whose state `_Walk` reads."""

_DATA = (*_VALUES, np.ndarray, dict, list, tuple, deque, set, frozenset)
"""Types of attributes of a class that its instances may use as their own."""


def _portrait_of(item: Any) -> str:
    digest = hashlib.blake2b(digest_size=16)
    _Walk(digest.update).look_at(item, "")
    return digest.hexdigest()


def _module(kind: type) -> str:
    """The module of a class; some classes of C extensions have none."""
    return getattr(kind, "__module__", None) or ""


@functools.cache
def _slots(kind: type) -> tuple[str, ...]:
    """The slots of a class and its bases."""
    names = (name for base in kind.__mro__ for name in _as_tuple(base.__dict__.get("__slots__", ())))
    return tuple(sorted(name for name in names if name not in ("__dict__", "__weakref__")))


def _as_tuple(slots: Any) -> tuple[str, ...]:
    return (slots,) if isinstance(slots, str) else tuple(slots)


@functools.cache
def _hides_state(kind: type) -> bool:
    """Whether objects of this class have state besides their attributes."""
    return kind.__basicsize__ - 8 * len(_slots(kind)) > _SMALL_OBJECT
