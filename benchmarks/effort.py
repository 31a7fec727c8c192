"""How much work a measurement does."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How long to measure, after the warm-up.

    Attributes:
        seconds: of sampling.
        updates: of training.
        memory_updates: over which the growth of memory is observed.
    """

    seconds: float = 8.0
    updates: int = 8
    memory_updates: int = 60


QUICK = Effort(seconds=1.0, updates=1, memory_updates=4)
"""Enough to see that everything runs, and no more: its figures are not worth quoting."""
