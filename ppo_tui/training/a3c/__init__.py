"""Asynchronous advantage actor-critic (A3C; Mnih et al., 2016, arXiv:1602.01783).

Every worker is an actor-learner: it plays an environment of its own, computes gradients from its own short rollouts
and applies them, without waiting for anybody, to weights and optimiser statistics that all of them share. The order in
which they do so is the system's: two runs of one seed are alike and never equal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...lazy import lazy_exports

_EXPORTS = {"A3CTrainer": ".trainer"}

__all__ = ["A3CTrainer"]

if TYPE_CHECKING:
    from .trainer import A3CTrainer

__getattr__ = lazy_exports(__name__, _EXPORTS)
