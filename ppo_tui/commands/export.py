"""`ppo-tui export`: a trained policy for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .completion import one_of
from .options import LATEST, AllowImportOption, CheckpointOption, OutputOption, PolicyArgument, chosen_checkpoint


def export(
    run: PolicyArgument = LATEST,
    form: Annotated[
        str,
        typer.Option(
            "--format",
            "-f",
            metavar="safetensors|torchscript|onnx",
            help="Format of the file.",
            autocompletion=one_of("safetensors", "torchscript", "onnx"),
        ),
    ] = "safetensors",
    output: OutputOption = None,
    checkpoint: CheckpointOption = "latest",
    allow_import: AllowImportOption = False,
) -> None:
    """Write a trained policy to a file for other programs.

    The file is kept only if it acts as the policy does, on real observations.
    """
    chosen = chosen_checkpoint(run, checkpoint)
    name = chosen.run_dir.path.name if chosen.run_dir else chosen.checkpoint.path.name
    from ..exchange.formats import check_export, deploy, write_policy

    written = check_export(form, output)
    path = output or Path(name + written.suffix)
    from ..exchange.deployed import describe
    from ..exchange.experience import gather_experience

    experience = gather_experience(chosen.checkpoint, allow_import=allow_import)
    facts = describe(deploy(experience), experience, run=name)
    difference = write_policy(path, written, experience, facts)
    print(
        f"{path}: acts as the policy at step {experience.step:,} on {len(experience.actions)} observations of "
        f"{experience.config.env.id}, numbers within {difference:.1g}"
    )
    for direction, tensors in (("in", facts.inputs), ("out", facts.outputs)):
        for tensor in tensors:
            print(f"  {direction:<3}  {tensor.name:<12}  {tensor.dtype} {['batch', *tensor.shape]}".replace("'", ""))
