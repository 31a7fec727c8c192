"""A pool of worker processes, usable alone as a `gymnasium.vector.VectorEnv`."""

from .pool import WorkerPool
from .process import worker_context
from .roster import Replacement, StartFailure
from .sizing import available_cores, env_slices, own_cores, resolve_workers

__all__ = [
    "Replacement",
    "StartFailure",
    "WorkerPool",
    "available_cores",
    "env_slices",
    "own_cores",
    "resolve_workers",
    "worker_context",
]
