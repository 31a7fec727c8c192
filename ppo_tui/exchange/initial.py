"""Sources of first weights: runs, checkpoints, and zips of models."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from ..config import Config, override_key
from ..errors import ConfigError, PPOTuiError
from ..files import read_file
from ..runs import RunDirectory
from ..runs.entries import CHECKPOINTS, holds_run
from ..runs.registry import LATEST
from ..runs.select import ChosenCheckpoint, find_checkpoint
from ..training.checkpoint.source import Source, source_of

SETTING = "run.init_from"


class Begun(NamedTuple):
    """A configuration with its very source, if it has one.

    Attributes:
        notes: damaged checkpoints that were passed over.
    """

    config: Config
    source: Source | None = None
    notes: tuple[str, ...] = ()


def with_source(config: Config) -> Begun:
    """Find the source named by `config`, and pin it.

    ``best`` and ``latest`` become the step that they mean now.

    Raises:
        ConfigError: there is none, or it is damaged.
    """
    if config.run.init_from is None:
        return Begun(config)
    try:
        source, notes = _find(config.run.init_from)
    except PPOTuiError as error:
        raise ConfigError(f"{SETTING}: {error.message}", hint=error.hint) from None
    return Begun(source.pinned(config), source, tuple(f"skipped: {note}" for note in notes))


def find_source(text: str) -> Source:
    """Find weights to begin a run with, for `ppo_tui.Trainer`.

    Args:
        text: a run (its name, its directory, ``latest``), RUN@best, RUN@STEP, the directory of a checkpoint, or a
            model.zip of Stable-Baselines3.

    Raises:
        UsageError: there is nothing of the kind, or it is damaged.
        RunFailedError: no checkpoint of the run is whole.
    """
    return _find(text)[0]


def without_source(overrides: Iterable[str]) -> list[str]:
    """Overrides without a source, for a run begun already."""
    return [override for override in overrides if override_key(override.partition("=")[0]).strip() != SETTING]


def _find(text: str) -> tuple[Source, tuple[str, ...]]:
    if Path(text).suffix.lower() == ".zip" and not holds_run(Path(text)):
        return _of_model(Path(text)), ()
    chosen = find_checkpoint(text)
    return _of_checkpoint(chosen, text), chosen.skipped


def _of_checkpoint(chosen: ChosenCheckpoint, text: str) -> Source:
    path, step = chosen.checkpoint.path, chosen.checkpoint.state.step
    run_dir = chosen.run_dir
    if run_dir is not None:
        named = text.rpartition("@")[2] if "@" in text else LATEST
        named = named if named in (LATEST, "best") else ""
        return source_of(chosen.checkpoint, argument=f"{run_dir.argument}@{step}", name=run_dir.name, named=named)
    beside = path.parent.parent
    name = RunDirectory(beside).name if path.parent.name == CHECKPOINTS and holds_run(beside) else path.name
    return source_of(chosen.checkpoint, argument=str(path), name=name)


def _of_model(path: Path) -> Source:
    from safetensors.torch import save

    from .sb3 import MOST_BYTES, convert, read_model

    model = read_model(path)
    return Source(
        argument=str(path.absolute()),
        name=path.name,
        path=str(path.absolute()),
        step=model.steps,
        sha256=hashlib.sha256(read_file(path, MOST_BYTES)).hexdigest(),
        policy=save({name: tensor.clone() for name, tensor in convert(model).items()}),
        computing={"policy.activation": model.activation, "policy.normalize_images": model.normalize_images},
    )
