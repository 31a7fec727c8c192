"""Rates, with the start left out of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

WARM_UP_SECONDS = 0.5
"""Of sampling before the clock starts: first pages touched, caches filled, episodes out of step with each other."""


def steps_per_second(step: Callable[[], int], seconds: float) -> float:
    """The rate of `step` in agent steps a second.

    Measured over `seconds` or a little more.

    Args:
        step: returns the number of agent steps it has done; first called for `WARM_UP_SECONDS` without counting.
    """
    _count_for(step, WARM_UP_SECONDS)
    return _count_for(step, seconds)


def _count_for(step: Callable[[], int], seconds: float) -> float:
    began = time.perf_counter()
    steps, spent = 0, 0.0
    while spent < seconds:
        steps += step()
        spent = time.perf_counter() - began
    return steps / spent


def update_rate(boundaries: Sequence[float], batch_size: int) -> float:
    """Steps a second over the updates after the first.

    The first warms up threads, caches and allocators.

    Args:
        boundaries: the end of each update, in seconds of any clock.
        batch_size: agent steps in an update.
    """
    return batch_size * (len(boundaries) - 1) / (boundaries[-1] - boundaries[0])
