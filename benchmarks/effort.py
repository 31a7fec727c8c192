"""The amount of work of a measurement."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Effort:
    """The length of a measurement, after the warm-up.

    Attributes:
        seconds: of sampling.
        updates: of training.
        memory_updates: of training, for the growth of memory.
    """

    seconds: float = 8.0
    updates: int = 8
    memory_updates: int = 60


QUICK = Effort(seconds=1.0, updates=1, memory_updates=4)
"""Enough to see that everything runs; the figures are not worth quoting."""
