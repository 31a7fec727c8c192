"""The engine that trains by each algorithm."""

from __future__ import annotations

from ..config import Config
from .trainer import Trainer


def engine_class(config: Config) -> type[Trainer]:
    """The trainer for the algorithm of `config`; loads PyTorch."""
    if config.run.algorithm == "a3c":
        from .a3c import A3CTrainer

        return A3CTrainer
    return Trainer
