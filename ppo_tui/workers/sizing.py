"""Numbers of workers and worker groups, and the environments of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from ..machine import available_cores


def own_cores(processes: int) -> int:
    """This process's share of the cores among `processes`, at least one."""
    return max(1, available_cores() // processes)


def resolve_workers(
    count: int | Literal["auto"], groups: int | Literal["auto"], num_envs: int, cores: int | None = None
) -> tuple[int, int]:
    """Numbers of workers and worker groups for the settings ``workers.count`` and ``workers.groups``.

    A worker per core, never more than there are environments: more processes than cores only add switches between
    them. Two groups wherever there are two workers, so that one steps while the other's actions are computed.
    """
    if count == "auto":
        count = max(1, min(num_envs, cores or available_cores()))
    if groups == "auto":
        groups = 2 if count >= 2 else 1
    return count, groups


def env_slices(num_envs: int, num_workers: int) -> list[slice]:
    """The environments of each worker, contiguous and in order.

    Sizes differ by one at most.
    """
    base, extra = divmod(num_envs, num_workers)
    slices, start = [], 0
    for worker in range(num_workers):
        stop = start + base + (worker < extra)
        slices.append(slice(start, stop))
        start = stop
    return slices


def group_slices(slices: Sequence[slice], groups: int) -> list[slice]:
    """The workers of each worker group, contiguous and in order.

    Sizes differ by one at most.
    """
    return env_slices(len(slices), groups)
