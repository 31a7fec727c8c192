"""The engine of each algorithm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..envs import EnvInfo
from ..workers import WorkerPool
from .checkpoint.files import Origin
from .engine import Engine
from .hub import RunContext
from .ppo_engine import PPOEngine


def make_engine(
    context: RunContext, info: EnvInfo, *, pool: WorkerPool | None, workers_log: Path | None, origin: Origin | None
) -> Engine[Any]:
    """Start the engine for the algorithm of the configuration.

    Args:
        pool: workers from `start_pool`, or None to start them; A3C starts its own.
        origin: that of the checkpoint to resume; its numbers of threads are kept.

    Raises:
        ConfigError: the device does not exist, or the networks do not fit.
        WorkerError: the workers could not start.
    """
    if context.config.run.algorithm == "a3c":
        from .a3c.engine import A3CEngine

        return A3CEngine(context, info, workers_log=workers_log)
    return PPOEngine(context, info, pool=pool, origin=origin)
