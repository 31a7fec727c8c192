"""ppo-tui: train PPO from a terminal.

The public names are loaded on first use, so that importing the package (as every worker process does) costs
nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_EXPORTS = {
    "Config": "ppo_tui.config",
    "Trainer": "ppo_tui.training",
    "WorkerPool": "ppo_tui.workers",
    "list_presets": "ppo_tui.config",
    "load_policy": "ppo_tui.training",
    "load_preset": "ppo_tui.config",
    "make_env": "ppo_tui.envs",
}

__all__ = [
    "Config",
    "Trainer",
    "WorkerPool",
    "__version__",
    "list_presets",
    "load_policy",
    "load_preset",
    "make_env",
]

if TYPE_CHECKING:
    from .config import Config, list_presets, load_preset
    from .envs import make_env
    from .training import Trainer, load_policy
    from .workers import WorkerPool


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_EXPORTS[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
