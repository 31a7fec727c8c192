"""The training loop, its metrics and checkpoints, evaluation and diagnostics.

Names load on first use: `start_pool` needs no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import lazy_exports

_EXPORTS = {
    "RunResult": ".hub",
    "Trainer": ".trainer",
    "boot_workers": ".start",
    "examine": ".start",
    "load_policy": ".checkpoint.snapshot",
    "share_of_config": ".start",
    "start_pool": ".start",
}

__all__ = [
    "RunResult",
    "Trainer",
    "boot_workers",
    "examine",
    "load_policy",
    "share_of_config",
    "start_pool",
]

if TYPE_CHECKING:
    from .checkpoint.snapshot import load_policy
    from .hub import RunResult
    from .start import boot_workers, examine, share_of_config, start_pool
    from .trainer import Trainer

__getattr__ = lazy_exports(__name__, _EXPORTS)
