"""The workers of a run, started while PyTorch is not yet loaded."""

from __future__ import annotations

import os

from ..config import Config
from ..distributed.torchrun import Place
from ..envs import EnvInfo
from ..runs import RunDirectory
from ..training import boot_workers, share_of_config, start_pool
from ..workers import WorkerPool

SPIN_COUNT = "10000"
"""Spins of PyTorch's threads (GNU OpenMP) before they sleep. By default they spin for milliseconds, which costs a fifth
of the training speed as soon as another process wants the core; this few cost nothing."""


def own_share(config: Config) -> Config:
    """Reduce `config` to the environments of this process among torchrun's."""
    place = Place.here()
    return share_of_config(config, place.size, place.local_size)


def boot(config: Config, screen: bool) -> None:
    """Start the workers' fork server.

    It loads what they need while this process continues.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)  # read once, when PyTorch is loaded
    boot_workers(config)
    if screen:
        from ..tui import terminal  # noqa: F401


def start(config: Config, env_info: EnvInfo, directory: RunDirectory) -> WorkerPool | None:
    if config.run.algorithm == "a3c":
        return None
    return start_pool(config, info=env_info, log_path=directory.workers_log, luck=[0])
