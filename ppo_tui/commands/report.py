"""The commands that bring runs to where others are, and models here. Heavy imports happen inside them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ..errors import PPOTuiError, UsageError
from .evaluate import AllowImportOption, CheckpointOption, DeviceOption, PlayedArgument, say_skipped
from .options import FpsOption, RunArgument, ThemeOption, screen_options


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
    from ..runs import find_run

    found = list({run.path.resolve(): run for run in map(find_run, runs)}.values())
    others = f"-and-{len(found) - 1}-more" if len(found) > 1 else ""
    path = output or Path(f"{found[0].path.name}{others}-report.html")
    from ..reporting.page import Shown, check_report, colour, write_report

    check_report(path)
    from ..reporting.games import film_run
    from ..reporting.record import read_record

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
    from ..runs.select import find_checkpoint

    chosen = find_checkpoint(run, checkpoint)
    say_skipped(chosen.skipped)
    name = chosen.run_dir.path.name if chosen.run_dir else chosen.path.name
    from ..exchange.formats import check_export, deploy, write_policy

    written = check_export(form, output)
    path = output or Path(name + written.suffix)
    from ..exchange.deployed import describe
    from ..exchange.experience import gather_experience

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


def import_sb3(
    model: Annotated[Path, typer.Argument(metavar="MODEL.zip", help="What Stable-Baselines3's `save` wrote.")],
    preset: Annotated[str, typer.Option("--preset", "-p", help="A preset of the environment that it plays.")],
    settings: Annotated[
        list[str] | None, typer.Option("--set", "-s", metavar="KEY=VALUE", help="Set a setting.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="The run's name; it lives in ./runs/NAME.")] = None,
    run_dir: Annotated[Path | None, typer.Option(help="The very directory of the run.")] = None,
    allow_import: AllowImportOption = False,
) -> None:
    """Make a run of a PPO model that Stable-Baselines3 has trained: to resume, score, watch and export."""
    from ..config import load_preset, preset_path

    config = load_preset(preset, overrides=settings or [], allow_import=allow_import)
    from ..exchange.importing import import_model
    from ..exchange.sb3 import read_model

    read = read_model(model)
    run, count = import_model(read, config, label=preset_path(preset).stem, name=name, run_dir=run_dir)
    print(
        f"{run.name}: acts as {model.name} on {count} observations of {config.env.id}; go on: ppo-tui resume {run.name}"
    )


def serve(
    run: RunArgument,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65_535, metavar="N", help="Where to listen.")] = 8000,
    url: Annotated[
        str | None, typer.Option(metavar="URL", help="The server as browsers see it, behind a proxy.")
    ] = None,
    readonly: Annotated[bool, typer.Option("--readonly", help="Only watch.")] = False,
    fps: FpsOption = None,
    theme: ThemeOption = None,
) -> None:
    """Show a run's screen in a browser; by default on this machine alone, to those who have the printed address."""
    import importlib.util

    if importlib.util.find_spec("textual_serve") is None:
        raise UsageError(
            "the screen is brought to browsers by textual-serve, which is not installed",
            hint="pip install 'ppo-tui[serve]'",
        )
    from ..runs import find_run

    found = find_run(run)
    screen_options(theme, False, fps)  # refuses what makes no sense before a browser does
    options = ["--readonly"] if readonly and found.holder is not None else []
    options += ["--fps", f"{fps:g}"] if fps is not None and found.holder is not None else []
    options += ["--theme", theme] if theme is not None else []
    from .browser import serve_run

    serve_run(found, host=host, port=port, url=url, arguments=options)
