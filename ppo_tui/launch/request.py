"""A run as the command line asks for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..config import Config


@dataclass(frozen=True)
class TrainRequest:
    """A run as the command line asks for it.

    Attributes:
        config: the preset with the overrides.
        label: name of the preset, after which a run without a name is called.
        overrides: settings of the command line alone, which a resumed run takes too.
        allow_import: a resumed run may name outside parties: code, a command, an address.
        resume: continue the run of this name or in this directory, if there is one.
        screen: load the screen too, while the workers' server loads what they need.
    """

    config: Config
    label: str
    overrides: tuple[str, ...] = ()
    name: str | None = None
    run_dir: Path | None = None
    allow_import: bool = False
    resume: bool = False
    screen: bool = False
