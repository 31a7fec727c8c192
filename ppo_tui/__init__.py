"""ppo-tui: train PPO from a terminal.

The public names are loaded on first use, so that importing the package (as every worker process does) costs
nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .lazy import lazy_exports

__version__ = "0.1.0"

_EXPORTS = {
    "Config": ".config",
    "Trainer": ".training",
    "WorkerPool": ".workers",
    "list_presets": ".config",
    "load_policy": ".training",
    "load_preset": ".config",
    "make_env": ".envs",
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

__getattr__ = lazy_exports(__name__, _EXPORTS)


def __dir__() -> list[str]:
    return sorted(__all__)
