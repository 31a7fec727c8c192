"""`ppo-tui import`: a run of a model from Stable-Baselines3."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from .options import AllowImportOption, NameOption, PresetOption, RunDirOption, SettingsOption, overrides_of


def import_sb3(
    model: Annotated[Path, typer.Argument(metavar="MODEL.zip", help="File that Stable-Baselines3's `save` wrote.")],
    preset: PresetOption,
    settings: SettingsOption = None,
    name: NameOption = None,
    run_dir: RunDirOption = None,
    allow_import: AllowImportOption = False,
) -> None:
    """Make a run of a PPO model trained by Stable-Baselines3.

    The run can be resumed, scored, watched and exported. The preset has to be one for the model's environment.
    """
    from ..config import load_preset, preset_label

    config = load_preset(preset, overrides=overrides_of(settings, {}), allow_import=allow_import)
    from ..exchange.importing import import_model
    from ..exchange.sb3 import read_model

    read = read_model(model)
    run, count = import_model(read, config, label=preset_label(preset, config), name=name, run_dir=run_dir)
    print(
        f"{run.name}: acts as {model.name} on {count} observations of {config.env.id}; "
        f"continue it: ppo-tui resume {shlex.quote(run.name)}"
    )
