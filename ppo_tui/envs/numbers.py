"""The numbers in an environment's info, each in its column."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

MOST_NUMBERS = 32
"""Numbers of an environment with a column."""

MOST_ELEMENTS = 4
"""Elements of an array or list that are numbers of their own; longer ones are data and no numbers to follow."""

MOST_LEVELS = 3
"""Dictionaries within each other that are looked into."""

NAME_BYTES = 64
"""Longest name, in UTF-8."""

MOST_ENTRIES = 1024
"""Entries of a dictionary that are looked at: more are data and no numbers to follow."""

_MOST_CHARACTERS = 256
"""Characters of a key that tell it from others."""

_REMEMBERED = 1024
"""Keys whose column is remembered, so that keys made anew in every step do not fill the memory."""

_NO_COLUMN = -1

_ODD = re.compile(r"[^\w./-]+")
"""Characters without a place in a name: everybody's tags, tables and command lines take the others."""

_BOOKKEEPING = frozenset(
    {
        "action_mask",
        "elapsed_steps",
        "episode",
        "episode_frame_number",
        "episode_id",
        "episode_step",
        "frame_number",
        "level_seed",
        "lives",
        "prev_level_seed",
        "seed",
        "seeds",
    }
)
"""Keys of Gymnasium, ALE, Procgen and wrappers that count and number instead of measuring."""

_BOOKKEEPERS = ("_", "final_", "terminal_", "TimeLimit.", "ppo_tui.")
"""Beginnings of such keys."""

_PLAIN = frozenset({float, int, bool, np.float64, np.float32, np.int64, np.int32, np.bool_})
_CONTAINERS = (dict, list, tuple, np.ndarray)


def clean_name(path: str) -> str:
    """A name for tags, tables and command lines, of at most `NAME_BYTES`.

    Letters of all alphabets, digits and ``_ . - /`` stay; anything else becomes ``_``.
    """
    name = _ODD.sub("_", path).strip("/")
    name = f"end.{name[4:]}" if name.startswith("end/") else name  # ``end/…`` are values at the ends of episodes
    return name.encode()[:NAME_BYTES].decode(errors="ignore")


def is_bookkeeping(key: str) -> bool:
    """Whether a key of an info stands for bookkeeping."""
    return key in _BOOKKEEPING or key.startswith(_BOOKKEEPERS)


class NumberTable:
    """The columns of the numbers in the infos of a worker's environments.

    Numbers are those of Python and numpy, bools included, also in dictionaries within the info (``reward/forward``) and
    as the few elements of an array (``position/0``).

    Args:
        names: ``[MOST_NUMBERS + 1]`` of bytes, in shared memory: the name of each column, empty where there is none
            yet, and at the end the first name that found no column.

    Attributes:
        width: columns in use.
    """

    def __init__(self, names: np.ndarray) -> None:
        self._names = names
        self._columns: dict[str, int] = {}
        self._keys: dict[str, str] = {}
        self.width = 0
        self.reload()

    def reload(self) -> None:
        """Take over the names in the shared memory."""
        self._columns = {}
        self._keys = dict.fromkeys(read_names(self._names), "")
        self.width = len(self._keys)

    def write(self, info: dict[str, Any], row: np.ndarray) -> None:
        """Write the numbers of `info` into `row`; NaN for missing ones."""
        row[: self.width] = np.nan
        for key, value in _entries(info):
            if type(value) in _PLAIN:
                self._put(key, value, row)
            elif isinstance(value, _CONTAINERS):
                if self._columns.get(key) != _NO_COLUMN and not self._leaves_out(key):
                    for path, number in _numbers_within(key, value, MOST_LEVELS):
                        self._put(path, number, row)
            elif _is_number(value):
                self._put(key, _plain_number(value), row)

    def _leaves_out(self, key: str) -> bool:
        if is_bookkeeping(key):
            self._remember(key, _NO_COLUMN)
            return True
        return False

    def _put(self, path: str, value: Any, row: np.ndarray) -> None:
        column = self._columns.get(path)
        if column is None:
            column = self._column_of(path, value)
        if column != _NO_COLUMN:
            try:
                row[column] = value
            except OverflowError:  # an integer beyond all floats
                row[column] = np.nan

    def _column_of(self, path: str, value: Any) -> int:
        """The column of a path not remembered, perhaps a new one.

        None is begun for NaN and infinity.
        """
        column = _NO_COLUMN
        if not _is_finite(value):
            return column
        if not is_bookkeeping(path) and (name := clean_name(path)):
            if name not in self._keys and self.width < MOST_NUMBERS:
                self._names[self.width] = name.encode()
                self._keys[name] = path
                self.width += 1
            if name not in self._keys:
                self._names[MOST_NUMBERS] = self._names[MOST_NUMBERS] or name.encode()
            elif self._keys[name] in ("", path):  # else another path of the same name was first
                self._keys[name] = path
                column = list(self._keys).index(name)
        self._remember(path, column)
        return column

    def _remember(self, path: str, column: int) -> None:
        if len(self._columns) >= _REMEMBERED:
            self._columns.clear()
        self._columns[path] = column


def _entries(table: dict[Any, Any]) -> Iterator[tuple[str, Any]]:
    """The first entries of a dictionary, with texts as keys.

    Keys are plain, and only so long as tells them apart: no method of an environment's own classes runs here.
    """
    for key, value in itertools.islice(dict.items(table), MOST_ENTRIES):
        if type(key) is not str:
            if not isinstance(key, str):
                continue
            key = str.__str__(key)
        yield key if len(key) <= _MOST_CHARACTERS else key[:_MOST_CHARACTERS], value


def _numbers_within(path: str, value: Any, levels: int) -> Iterator[tuple[str, Any]]:
    """The numbers in a dictionary, array or list, with their paths."""
    if isinstance(value, dict):
        if levels:
            for key, inner in _entries(value):
                if not is_bookkeeping(key):
                    yield from _numbers_within(f"{path}/{key}"[:_MOST_CHARACTERS], inner, levels - 1)
    elif isinstance(value, np.ndarray):
        array = np.asarray(value)
        if array.dtype.kind in "fiub" and array.size == 1:
            yield path, array.item()
        elif array.dtype.kind in "fiub" and array.ndim == 1 and array.size <= MOST_ELEMENTS:
            yield from ((f"{path}/{index}", number) for index, number in enumerate(array.tolist()))
    elif isinstance(value, (list, tuple)):
        elements = _elements(value)
        if len(elements) <= MOST_ELEMENTS and all(map(_is_number, elements)):
            yield from ((f"{path}/{index}", _plain_number(number)) for index, number in enumerate(elements))
    elif _is_number(value):
        yield path, _plain_number(value)


def _elements(value: list[Any] | tuple[Any, ...]) -> list[Any]:
    """The first elements: one more than `MOST_ELEMENTS`."""
    elements = list.__iter__(value) if isinstance(value, list) else tuple.__iter__(value)
    return list(itertools.islice(elements, MOST_ELEMENTS + 1))


def _is_finite(value: Any) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond all floats
        return False


def _is_number(value: Any) -> bool:
    numbers = (float, int, np.integer, np.floating, np.bool_)
    return isinstance(value, numbers) and not isinstance(value, np.timedelta64)


def _plain_number(value: Any) -> Any:
    """A number without methods of an environment's own class."""
    if isinstance(value, np.generic):
        return np.asarray(value).item()
    return float.__float__(value) if isinstance(value, float) else int.__int__(value)


def read_names(names: np.ndarray) -> list[str]:
    """The names of the columns, in order; see `NumberTable`."""
    return [name.decode(errors="replace") for name in names[:MOST_NUMBERS].tolist() if name]


def write_names(names: np.ndarray, columns: Iterable[str]) -> None:
    """Give each table of ``[W, MOST_NUMBERS + 1]`` these columns alone."""
    names[:] = b""
    for column, name in enumerate(columns):
        names[:, column] = name.encode()
