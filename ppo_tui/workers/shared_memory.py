"""The shared memory of a pool: parent and workers exchange data there.

It is a `multiprocessing.RawArray`: an unlinked, memory-mapped file. It vanishes with the last process that maps it,
however that process ends, so nothing can leak.
"""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass
from multiprocessing.context import BaseContext
from typing import Any, Protocol

import numpy as np

from ..envs.numbers import NAME_BYTES

_ALIGNMENT = 64
"""Bytes of a cache line: arrays that different processes write must not share one."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Shapes and types of everything shared.

    A *slot* is one moment of all environments: each step names the slot to write, so that the observations of T steps
    lie in shared memory as the rollout itself, written once, by the worker.

    Attributes:
        slots: moments that the shared memory holds (S).
        num_envs: environments (N).
        num_workers: worker processes (W).
        num_masked: actions in each action mask (A); 0 without masks.
        num_numbers: columns for the numbers in infos (M); 0 without.
    """

    slots: int
    num_envs: int
    num_workers: int
    observation_shape: tuple[int, ...]
    observation_dtype: str
    action_shape: tuple[int, ...]
    action_dtype: str
    num_masked: int = 0
    num_numbers: int = 0

    def arrays(self) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
        """Name → shape and dtype, in the order of the shared memory."""
        moments = (self.slots, self.num_envs)
        return {
            "observations": ((*moments, *self.observation_shape), np.dtype(self.observation_dtype)),
            "rewards": (moments, np.dtype(np.float64)),
            "terminations": (moments, np.dtype(np.bool_)),
            "truncations": (moments, np.dtype(np.bool_)),
            "episode_returns": (moments, np.dtype(np.float64)),
            "episode_lengths": (moments, np.dtype(np.int64)),
            "final_observations": ((self.num_envs, *self.observation_shape), np.dtype(self.observation_dtype)),
            "action_masks": ((*moments, self.num_masked), np.dtype(np.bool_)),
            "numbers": ((*moments, self.num_numbers), np.dtype(np.float64)),
            "number_names": ((self.num_workers, self.num_numbers and self.num_numbers + 1), np.dtype(f"S{NAME_BYTES}")),
            "actions": ((self.num_envs, *self.action_shape), np.dtype(self.action_dtype)),
            "busy_seconds": ((self.num_workers,), np.dtype(np.float64)),
            "answered_at": ((self.num_workers,), np.dtype(np.float64)),
        }


@dataclass(frozen=True)
class SharedArrays:
    """Views on the shared memory, the same bytes in all processes.

    Attributes:
        observations: ``[S, N, *S_obs]``, of each environment at each slot.
        rewards, terminations, truncations: ``[S, N]``, of the step that led to the slot.
        episode_returns, episode_lengths: ``[S, N]``, of the episode (raw, over all lives) that the step ended; length 0
            where none did.
        final_observations: ``[N, *S_obs]``, the last observation of the episode that the newest step ended.
        action_masks: ``[S, N, A]``, which actions are possible in the state at the slot.
        numbers: ``[S, N, M]``, those in the info of the step that led to the slot; NaN where there was none.
        number_names: ``[W, M + 1]``, the columns of each worker's environments (see `NumberTable`).
        actions: ``[N, *A]``, written by the parent.
        busy_seconds: ``[W]``, seconds that each worker has spent on requests since the start of the pool.
        answered_at: ``[W]``, when each worker last finished a request, in seconds of `time.perf_counter`, a clock that
            all processes share.
    """

    observations: np.ndarray
    rewards: np.ndarray
    terminations: np.ndarray
    truncations: np.ndarray
    episode_returns: np.ndarray
    episode_lengths: np.ndarray
    final_observations: np.ndarray
    action_masks: np.ndarray
    numbers: np.ndarray
    number_names: np.ndarray
    actions: np.ndarray
    busy_seconds: np.ndarray
    answered_at: np.ndarray


class AnyLayout(Protocol):
    """Shapes and types of arrays, in the order of the shared memory."""

    def arrays(self) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
        """Name → shape and dtype."""
        ...


def allocate(layout: AnyLayout, context: BaseContext) -> Any:
    """A zeroed `RawArray` for `layout`, to start the workers with."""
    return context.RawArray(ctypes.c_byte, _total_size(layout))


def allocate_private(layout: AnyLayout) -> Any:
    """Memory for `layout` in this process alone."""
    return bytearray(_total_size(layout))


def map_arrays(layout: Layout, buffer: Any) -> SharedArrays:
    """Numpy views on the shared memory `buffer`, without copying."""
    return SharedArrays(**map_views(layout, buffer))


def map_views(layout: AnyLayout, buffer: Any) -> dict[str, np.ndarray]:
    """Numpy views by name, for any layout."""
    views, offset = {}, 0
    for name, (shape, dtype) in layout.arrays().items():
        views[name] = np.frombuffer(buffer, dtype=dtype, count=math.prod(shape), offset=offset).reshape(shape)
        offset += _aligned(_nbytes(shape, dtype))
    return views


def _total_size(layout: AnyLayout) -> int:
    return sum(_aligned(_nbytes(shape, dtype)) for shape, dtype in layout.arrays().values())


def _nbytes(shape: tuple[int, ...], dtype: np.dtype) -> int:
    return math.prod(shape) * dtype.itemsize


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT
