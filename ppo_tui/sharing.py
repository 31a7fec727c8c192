"""The commands that carry a run to where others are: reports. Heavy imports happen inside."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from .errors import PPOTuiError
from .scoring import AllowImportOption, CheckpointOption, DeviceOption, PlayedArgument, say_skipped


def report(
    runs: Annotated[list[str], typer.Argument(metavar="RUN…", help="Names or directories of runs, or `latest`.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE.html", help="Where it goes; by default NAME-report.html here."),
    ] = None,
    game: Annotated[
        bool, typer.Option("--game/--no-game", help="Let each run's best policy play a game for the pictures.")
    ] = True,
    device: DeviceOption = "auto",
    allow_import: AllowImportOption = False,
) -> None:
    """Write runs as one page of HTML that needs nothing else: curves, settings, changes, events, the game."""
    from .runs import find_run

    found = list({run.path.resolve(): run for run in map(find_run, runs)}.values())
    others = f"-and-{len(found) - 1}-more" if len(found) > 1 else ""
    path = output or Path(f"{found[0].path.name}{others}-report.html")
    from .reporting.page import Shown, check_report, colour, write_report

    check_report(path)
    from .reporting.games import film_run
    from .reporting.record import read_record

    shown = []
    for index, run in enumerate(found):
        record = read_record(run)
        film, reason = None, ""
        if game:
            print(f"{record.name}: filming a game", file=sys.stderr)
            try:
                film = film_run(run, device=device, allow_import=allow_import)
            except PPOTuiError as error:
                reason = error.message
        shown.append(Shown(record, colour(index), film, reason))
    size = write_report(path, shown)
    print(f"{path} ({size / 1e6:.1f} MB)")


def export(
    run: PlayedArgument,
    form: Annotated[
        str, typer.Option("--format", "-f", metavar="safetensors|torchscript|onnx", help="Of the file.")
    ] = "safetensors",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where it goes; by default NAME.* here.")
    ] = None,
    checkpoint: CheckpointOption = "latest",
    allow_import: AllowImportOption = False,
) -> None:
    """Write a trained policy for other programs, once the file has acted as the policy itself on real observations."""
    from .runs.chosen import find_checkpoint

    chosen = find_checkpoint(run, checkpoint)
    say_skipped(chosen.skipped)
    name = chosen.run.path.name if chosen.run else chosen.path.name
    from .exchange.formats import check_export, deploy, write_policy

    written = check_export(form, output)
    path = output or Path(name + written.suffix)
    from .exchange.deployed import describe
    from .exchange.experience import gather_experience

    experience = gather_experience(chosen.path, allow_import=allow_import)
    facts = describe(deploy(experience), experience, run=name)
    difference = write_policy(path, written, experience, facts)
    print(
        f"{path}: acts as the policy at step {experience.step:,} on {len(experience.actions)} observations of "
        f"{experience.config.env.id}, numbers within {difference:.1g}"
    )
    for direction, tensors in (("in", facts.inputs), ("out", facts.outputs)):
        for tensor in tensors:
            print(f"  {direction:<3}  {tensor.name:<12}  {tensor.dtype} {['batch', *tensor.shape]}".replace("'", ""))
