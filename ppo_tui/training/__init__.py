"""The training loop, its settings, metrics and checkpoints. Names load on first use: `start_pool` needs no torch."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_EXPORTS = {
    "RunResult": ".trainer",
    "Trainer": ".trainer",
    "examine": ".start",
    "load_policy": ".checkpoint",
    "start_pool": ".start",
}

__all__ = ["RunResult", "Trainer", "examine", "load_policy", "start_pool"]

if TYPE_CHECKING:
    from .checkpoint import load_policy
    from .start import examine, start_pool
    from .trainer import RunResult, Trainer


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_EXPORTS[name], __name__), name)
