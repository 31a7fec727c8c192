"""Conversion of observations and actions between an environment and the learner."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Space, Tuple, flatten_space

from .packing import Numbers, PackedBox, Picture
from .tolerance import BadValueError, Remark

CHECKED_OBSERVATIONS = 1_000
"""First observations of an environment with their bounds checked: later ones are of the same kind."""

SMALLEST_PICTURE = 36
"""Height and width from which bytes among other parts are an image; smaller ones are numbers."""

_LONGEST_KEY = 80
"""Characters of a key in a message; the environment may choose any."""

_TOLERANCE = 1e-5
"""Relative to a bound: a float64 that was rounded to float32 is no other number."""


def holds_bytes(space: Space) -> bool:
    """Whether a space is of uint8 with bounds 0 and 255."""
    return bool(
        isinstance(space, Box) and space.dtype == np.uint8 and np.all(space.low == 0) and np.all(space.high == 255)
    )


def is_grid(space: Space) -> bool:
    """Whether observations stay uint8 of 2 or 3 dimensions: images and boards."""
    return isinstance(space, Box) and space.dtype == np.uint8 and len(space.shape) in (2, 3)


def is_picture(space: Space) -> bool:
    """Whether a part of an observation is an image."""
    return is_grid(space) and holds_bytes(space) and sorted(space.shape or ())[-2] >= SMALLEST_PICTURE


def is_text(space: Space) -> bool:
    """Whether a space is one of text, of Gymnasium's class or another."""
    return space.dtype is not None and np.dtype(space.dtype).kind == "U"


def without_texts(space: Space, place: str = "observation") -> tuple[Space, tuple[str, ...]]:
    """`space` without the texts in its Dicts, and their places."""
    if not isinstance(space, Dict | Tuple):
        return space, ()
    entries = list(space.spaces.items() if isinstance(space, Dict) else enumerate(space.spaces))
    left_out: list[str] = []
    kept: OrderedDict[Any, Space] = OrderedDict()
    for key, entry in entries:
        if isinstance(space, Dict) and is_text(entry):
            left_out.append(f"{place}{in_brackets(key)}")
            continue
        part, texts = without_texts(entry, f"{place}{in_brackets(key)}")
        left_out += texts
        if not (texts and isinstance(space, Dict) and isinstance(part, Dict) and not part.spaces):
            kept[key] = part
    if not left_out:
        return space, ()
    return Dict(kept) if isinstance(space, Dict) else Tuple(list(kept.values())), tuple(left_out)


def in_brackets(key: Any) -> str:
    """A key or an index for messages, such as ``['speed']``."""
    text = repr(key)
    return f"[{text}]" if len(text) <= _LONGEST_KEY else f"[{text[:_LONGEST_KEY]}…]"


class Entry:
    """A part of an observation with a space of its own.

    Attributes:
        path: keys and indices that lead to it, empty for the whole observation.
        size: numbers of it in the learner's observation.
        is_vector: whether these are its own numbers, in place of one-hots.
    """

    is_vector = False

    def __init__(self, space: Space, path: tuple[Any, ...], size: int, remarks: list[Remark]) -> None:
        self.space, self.path, self.size = space, path, size
        self._remarks = remarks

    def fit(self, value: Any) -> np.ndarray:
        """Convert to float32 `[size]`.

        Raises:
            BadValueError: it is not of this space, and another number would be learnt.
        """
        raise NotImplementedError

    def restore(self, numbers: np.ndarray) -> np.ndarray:
        """Convert `[..., size]` back to `[..., *shape]` of the space's own type."""
        raise NotImplementedError

    def pick(self, observation: Any) -> Any:
        """Find the entry's value in a whole observation.

        Raises:
            BadValueError: the observation has no such entry.
        """
        value = observation
        for key in self.path:
            try:
                value = value[key]
            except (KeyError, IndexError, TypeError):
                raise BadValueError(f"{self.place()} is missing: the observation is {_brief(observation)}") from None
        return value

    def place(self, index: tuple[int, ...] = ()) -> str:
        """The words for this entry, or for one of its numbers."""
        path = "".join(map(in_brackets, self.path))
        return f"observation{path}" + (f"[{', '.join(map(str, index))}]" if index else "")

    def _array(self, value: Any) -> np.ndarray:
        """`value` as an array of numbers.

        Raises:
            BadValueError: it is none.
        """
        try:
            array = np.asarray(value)
            if array.dtype.kind == "O" and not any(item is None for item in array.flat):
                array = array.astype(np.float64)
        except (TypeError, ValueError):
            raise BadValueError(f"{self.place()}: expected {self.space.dtype}, got {_brief(value)}") from None
        if array.dtype.kind not in "biuf":
            raise BadValueError(f"{self.place()}: expected {self.space.dtype}, got {_brief(value)}")
        return array

    def _whole_numbers(self, value: Any, low: Any, high: Any) -> np.ndarray:
        """`value` as int64 `[D]` from `low` to `high` (both included).

        Raises:
            BadValueError: a number is outside, or no whole one.
        """
        array = self._array(value)
        if array.size != np.size(low):
            raise BadValueError(f"{self.place()} has the shape {array.shape} instead of {self.space.shape}")
        array = array.reshape(-1)
        wrong = ~((array >= low) & (array <= high) & (array == np.floor(array)))
        if wrong.any():
            index = int(wrong.argmax())
            place = self.place((index,) if array.size > 1 else ())
            bounds = np.broadcast_to(low, array.shape)[index], np.broadcast_to(high, array.shape)[index]
            raise BadValueError(f"{place} is {array[index]!s}: expected a whole number from {bounds[0]} to {bounds[1]}")
        return array.astype(np.int64)


class _Numbers(Entry):
    """Numbers of a Box or MultiBinary, learnt as they are."""

    def __init__(self, space: Box | MultiBinary, path: tuple[Any, ...], remarks: list[Remark]) -> None:
        super().__init__(space, path, math.prod(space.shape), remarks)
        self.is_vector = isinstance(space, Box)
        whole = np.dtype(space.dtype).kind in "biu"
        low, high = (space.low, space.high) if isinstance(space, Box) else (0, 1)
        low, high = (np.broadcast_to(np.asarray(bound, np.float64), space.shape).reshape(-1) for bound in (low, high))
        self._bounds = low, high
        margin = 0.0 if whole else _TOLERANCE
        with np.errstate(invalid="ignore"):  # infinite bounds stay so
            self._low = low - margin * np.maximum(1.0, np.abs(low))
            self._high = high + margin * np.maximum(1.0, np.abs(high))
        self._whole = whole
        self._unchecked = CHECKED_OBSERVATIONS

    def fit(self, value: Any) -> np.ndarray:
        array = self._array(value)
        if array.size != self.size:
            raise BadValueError(f"{self.place()} has the shape {array.shape} instead of {self.space.shape}")
        self.check_bounds(array)
        if array.dtype == np.float32:
            return array.reshape(self.size)
        try:
            return _as_float32(array).reshape(self.size)
        except FloatingPointError:
            large = np.abs(array.reshape(-1)) > np.finfo(np.float32).max
            index = np.unravel_index(int(large.argmax()), array.shape)
            raise BadValueError(
                f"{self.place(tuple(map(int, index)))} is {array[index]!s}, too large for float32"
            ) from None

    def check_bounds(self, array: np.ndarray) -> None:
        """Remark once on a number outside its bounds or of another type."""
        if not self._unchecked:
            return
        self._unchecked -= 1
        flat = array.reshape(-1)
        if self._whole and array.dtype.kind == "f" and (broken := flat != np.floor(flat)).any():
            self._whole = False
            index = int(broken.argmax())
            text = f"expected {self.space.dtype}, got {array.dtype}: {self._show(index, array)}; it is learnt as it is"
            self._remarks.append(Remark(f"type of {self.place()}", text))
        outside = (flat < self._low) | (flat > self._high)
        if outside.any():
            self._unchecked = 0
            index = int(outside.argmax())
            low, high = (bound[index] for bound in self._bounds)
            text = f"{self._show(index, array)}, outside its bounds of {low:g} to {high:g}; it is learnt as it is"
            self._remarks.append(Remark(f"bounds of {self.place()}", text))

    def _show(self, index: int, array: np.ndarray) -> str:
        where = np.unravel_index(index, array.shape)
        return f"{self.place(tuple(map(int, where)))} is {array[where]!s}"

    def restore(self, numbers: np.ndarray) -> np.ndarray:
        return numbers.reshape((*numbers.shape[:-1], *(self.space.shape or ()))).astype(self.space.dtype)


@np.errstate(over="raise")
def _as_float32(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32)


class _Choice(Entry):
    """The number of a Discrete space, learnt as one-hot."""

    def __init__(self, space: Discrete[Any], path: tuple[Any, ...], remarks: list[Remark]) -> None:
        super().__init__(space, path, int(space.n), remarks)
        self._low, self._high = int(space.start), int(space.start) + int(space.n) - 1

    def fit(self, value: Any) -> np.ndarray:
        numbers = np.zeros(self.size, np.float32)
        numbers[self._whole_numbers(value, self._low, self._high) - self._low] = 1.0
        return numbers

    def restore(self, numbers: np.ndarray) -> np.ndarray:
        return (numbers.argmax(-1) + self._low).astype(self.space.dtype)


class _Choices(Entry):
    """The numbers of a MultiDiscrete space, learnt as one-hots in a row."""

    def __init__(self, space: MultiDiscrete, path: tuple[Any, ...], remarks: list[Remark]) -> None:
        self._sizes = space.nvec.reshape(-1).astype(np.int64)
        super().__init__(space, path, int(self._sizes.sum()), remarks)
        self._low = np.asarray(space.start).reshape(-1).astype(np.int64)
        self._offsets = np.cumsum(self._sizes) - self._sizes

    def fit(self, value: Any) -> np.ndarray:
        numbers = np.zeros(self.size, np.float32)
        chosen = self._whole_numbers(value, self._low, self._low + self._sizes - 1)
        numbers[chosen - self._low + self._offsets] = 1.0
        return numbers

    def restore(self, numbers: np.ndarray) -> np.ndarray:
        parts = np.split(numbers, self._offsets[1:], axis=-1)
        chosen = np.stack([part.argmax(-1) for part in parts], axis=-1) + self._low
        return chosen.reshape((*numbers.shape[:-1], *(self.space.shape or ()))).astype(self.space.dtype)


class _Grid(Entry):
    """An image or board of uint8, channels moved to the front."""

    def __init__(self, space: Box, path: tuple[Any, ...], remarks: list[Remark]) -> None:
        super().__init__(space, path, math.prod(space.shape), remarks)
        self.channel_last = len(space.shape) == 3 and has_channel_last(space.shape)
        self._bounds = None if holds_bytes(space) else _Numbers(space, path, remarks)

    def fit(self, value: Any) -> np.ndarray:
        array = self._array(value)
        if array.shape != self.space.shape:
            name = self.place() if self.path else "the observation"
            raise BadValueError(f"{name} has the shape {array.shape} instead of {self.space.shape}")
        if array.dtype != np.uint8:
            array = self._as_bytes(array)
        if self._bounds is not None:
            self._bounds.check_bounds(array)
        return np.ascontiguousarray(np.moveaxis(array, -1, 0)) if self.channel_last else array

    def _as_bytes(self, array: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            converted = array.astype(np.uint8)
        if (other := converted != array).any():
            index = tuple(map(int, np.unravel_index(int(other.argmax()), array.shape)))
            raise BadValueError(f"expected uint8, got {array.dtype}: {self.place(index)} is {array[index]!s}")
        return converted

    def restore(self, numbers: np.ndarray) -> np.ndarray:
        return np.moveaxis(numbers, -3, -1) if self.channel_last else numbers


def has_channel_last(shape: tuple[int, ...]) -> bool:
    """Whether the last axis of an image is its channel axis.

    The channel axis is the shorter one; equal ones follow Gymnasium's `[H, W, C]`.
    """
    return shape[2] <= shape[0]


class FittedObservations:
    """Conversion of an environment's observations to the learner's.

    Images and boards (uint8 of 2 or 3 dimensions) stay uint8, with their channels first. Everything else becomes one
    float32 vector `[D]`, with one-hots in place of discrete numbers; where images are among it, both are packed (see
    `PackedBox`). Texts in a Dict are left out.

    Args:
        space: of the environment; `check_spaces` has accepted it.

    Attributes:
        given, space: the environment's space, without texts, and the learner's.
        left_out: places of the texts.
        entries: parts of an observation, in the order of the vector.
        remarks: on observations that do not fit their space; one of each kind.
    """

    def __init__(self, space: Space) -> None:
        self.given, self.left_out = without_texts(space)
        self.remarks: list[Remark] = []
        self.entries: tuple[Entry, ...]
        self._packed: PackedBox | None = None
        self.space: Box
        if isinstance(space, Box) and is_grid(space):
            self.entries = (grid := _Grid(space, (), self.remarks),)
            self.space = _channel_first(space) if grid.channel_last else space
            return
        self.entries = tuple(_entries(self.given, (), self.remarks))
        if any(isinstance(entry, _Grid) for entry in self.entries):
            self.space = self._packed = _packed_space(self.entries)
        else:
            self.space = _vector_space(self.given)

    def __call__(self, observation: Any) -> np.ndarray:
        """Convert one observation; the result may share its memory.

        Raises:
            BadValueError: it does not fit the space, and another number would be learnt.
        """
        if self._packed is not None:
            return self._pack(observation, self._packed)
        if len(self.entries) == 1:
            entry = self.entries[0]
            return entry.fit(entry.pick(observation) if entry.path else observation)
        return np.concatenate([entry.fit(entry.pick(observation)) for entry in self.entries])

    def _pack(self, observation: Any, space: PackedBox) -> np.ndarray:
        numbers, pictures = [np.zeros(0, np.float32)], []
        for entry in self.entries:
            fitted = entry.fit(entry.pick(observation))
            if isinstance(entry, _Grid):
                pictures.append(fitted)
                continue
            if not np.isfinite(fitted).all():
                index = int((~np.isfinite(fitted)).argmax())
                where = tuple(map(int, np.unravel_index(index, entry.space.shape or (1,))))
                raise BadValueError(f"{entry.place(where if entry.space.shape else ())} is {fitted[index]}")
            numbers.append(fitted)
        return space.pack(np.concatenate(numbers), pictures)

    def restore(self, fitted: np.ndarray) -> list[np.ndarray]:
        """Convert `[..., *space.shape]` back: an array for each entry.

        An entry's array is `[..., *shape]` of the type that the environment gives.
        """
        if is_grid(self.given):
            return [self.entries[0].restore(fitted)]
        pictures: list[np.ndarray] = []
        if self._packed is not None:
            fitted, pictures = self._packed.unpack(fitted)
        vectors = [entry for entry in self.entries if not isinstance(entry, _Grid)]
        bounds = np.cumsum([entry.size for entry in vectors])[:-1]
        numbers = iter(np.split(fitted, bounds, axis=-1))
        images = iter(pictures)
        return [entry.restore(next(images if isinstance(entry, _Grid) else numbers)) for entry in self.entries]


def _packed_space(entries: tuple[Entry, ...]) -> PackedBox:
    numbers, pictures = [], []
    for entry in entries:
        if isinstance(entry, _Grid):
            shape = tuple(entry.space.shape or ())
            shape = (shape[-1], *shape[:-1]) if entry.channel_last else shape
            pictures.append(Picture(entry.place(), shape))
        else:
            numbers.append(Numbers(entry.place(), entry.size, entry.is_vector))
    return PackedBox(numbers, pictures)


def _entries(space: Space, path: tuple[Any, ...], remarks: list[Remark]) -> Iterator[Entry]:
    """Entries at any depth, in the order of Gymnasium's `flatten`."""
    match space:
        case Dict():
            for key, part in space.spaces.items():
                yield from _entries(part, (*path, key), remarks)
        case Tuple():
            for index, part in enumerate(space.spaces):
                yield from _entries(part, (*path, index), remarks)
        case Discrete():
            yield _Choice(space, path, remarks)
        case MultiDiscrete():
            yield _Choices(space, path, remarks)
        case Box() if path and is_picture(space):
            yield _Grid(space, path, remarks)
        case Box() | MultiBinary():
            yield _Numbers(space, path, remarks)
        case _:
            raise AssertionError("check_spaces has refused what does not flatten")


def _channel_first(space: Box) -> Box:
    low, high = np.moveaxis(space.low, -1, 0), np.moveaxis(space.high, -1, 0)
    return Box(low=low, high=high, shape=low.shape, dtype=np.uint8)


def _vector_space(space: Space) -> Box:
    flat = flatten_space(space)
    assert isinstance(flat, Box), "check_spaces has refused what does not flatten"
    with np.errstate(over="ignore"):  # a bound beyond float32 becomes infinite
        return Box(low=flat.low.astype(np.float32), high=flat.high.astype(np.float32), dtype=np.float32)


class FittedActions:
    """Conversion of the learner's actions to the environment's.

    Attributes:
        given, space: the environment's space and the learner's, which counts from 0.
    """

    def __init__(self, space: Space) -> None:
        self.given = self.space = space
        if isinstance(space, Discrete):
            self.space = Discrete(int(space.n))
        elif isinstance(space, MultiDiscrete) and np.any(space.start):
            self.space = MultiDiscrete(space.nvec, dtype=space.dtype)

    def __call__(self, action: Any) -> Any:
        """Convert one action to the type and shape of the environment's space.

        A Discrete one is a NumPy scalar, all others are arrays of their own; those of a Box are clipped to its bounds.
        """
        space = self.given
        match space:
            case Discrete():
                return np.dtype(space.dtype).type(action + space.start)
            case MultiDiscrete():
                return np.asarray(action + space.start, space.dtype)
            case Box():
                return np.asarray(np.clip(action, space.low, space.high), space.dtype)
        return action


def _brief(value: Any) -> str:
    """A value of unknown kind, in a few characters."""
    kind = f"{value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
    text = repr(value).replace("\n", " ")
    return f"{kind} {text}" if len(text) <= 40 else f"{kind} {text[:39]}…"
