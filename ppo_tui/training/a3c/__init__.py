"""Asynchronous advantage actor-critic (A3C; Mnih et al., 2016, arXiv:1602.01783).

Every worker is an actor-learner: it steps an environment of its own, computes gradients from its own short rollouts
and applies them, without waiting, to weights and optimiser statistics that all workers share. The operating system
decides their order: two runs of one seed are alike and never equal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...lazy import lazy_exports

_EXPORTS = {"A3CEngine": ".engine"}

__all__ = ["A3CEngine"]

if TYPE_CHECKING:
    from .engine import A3CEngine

__getattr__ = lazy_exports(__name__, _EXPORTS)
