"""`ppo-tui` without a command, to train, and `ppo-tui resume`."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UsageError
from .options import (
    LATEST,
    AllowImportOption,
    AsciiOption,
    CheckpointOption,
    DebugOption,
    DetachedOption,
    DeviceSettingOption,
    EnvsOption,
    FpsOption,
    HeadlessOption,
    InitFromOption,
    LogFormatOption,
    NameOption,
    OptionalPresetOption,
    PixelsOption,
    QuietOption,
    ResumeModeOption,
    RunArgument,
    RunDirOption,
    SeedSettingOption,
    SettingsOption,
    ThemeOption,
    TotalStepsOption,
    UntilOption,
    VersionOption,
    YesOption,
    chosen_run,
    has_screen,
    line_options,
    overrides_of,
    screen_options,
    train_request,
)

if TYPE_CHECKING:
    from ..distributed.torchrun import Place
    from ..launch import PreparedRun, TrainRequest
    from ..tui.screen_options import ScreenOptions


def train(
    context: typer.Context,
    preset: OptionalPresetOption = None,
    settings: SettingsOption = None,
    seed: SeedSettingOption = None,
    total_steps: TotalStepsOption = None,
    until: UntilOption = None,
    workers: Annotated[
        str | None, typer.Option(metavar="N", help="Worker processes; by default as many as suit the machine.")
    ] = None,
    envs: EnvsOption = None,
    device: DeviceSettingOption = None,
    init_from: InitFromOption = None,
    run_dir: RunDirOption = None,
    name: NameOption = None,
    headless: HeadlessOption = False,
    resume_mode: ResumeModeOption = None,
    log_format: LogFormatOption = "auto",
    quiet: QuietOption = False,
    detached: DetachedOption = False,
    fps: FpsOption = None,
    pixels: PixelsOption = None,
    theme: ThemeOption = None,
    ascii: AsciiOption = False,
    allow_import: AllowImportOption = False,
    debug: DebugOption = False,
    version: VersionOption = False,
) -> int | None:
    """Train PPO from a terminal, for example `ppo-tui cartpole`.

    On a terminal it opens the screen; elsewhere, or with --headless, it prints progress.
    """
    if context.invoked_subcommand is not None:
        return None
    if preset is None and has_screen() and not headless:
        from .start import choose_preset

        chosen = choose_preset(screen_options(theme, ascii, fps))
        if isinstance(chosen, int):
            return chosen
        preset = chosen
    if preset is None:
        raise UsageError("which preset? for example: ppo-tui cartpole", hint="ppo-tui presets lists them")
    if resume_mode not in (None, "auto"):
        raise UsageError(f"--resume {resume_mode!r}: expected auto", hint="to continue a run: ppo-tui resume RUN")
    from ..distributed.torchrun import Place

    place = Place.here()
    shortcuts = {
        "run.seed": seed,
        "run.total_steps": total_steps,
        "workers.count": workers,
        "rollout.num_envs": envs,
        "run.device": device,
        "run.init_from": None if init_from is None else json.dumps(init_from, ensure_ascii=False),  # any text, as TOML
    }
    request = train_request(
        preset,
        overrides_of(settings, shortcuts, until),
        name=name,
        run_dir=run_dir,
        allow_import=allow_import,
        resume=resume_mode is not None,
        screen=not headless and has_screen() and not place.by_torchrun,
    )
    options, lines = screen_options(theme, ascii, fps, pixels), line_options(log_format, quiet)
    if detached:
        return _train_detached(request, place, options)
    if place.by_torchrun:
        from .torchrun import prepare_for_job, train_together

        return train_together(place, lambda place: prepare_for_job(place, request), lines, config=request.config)
    from ..launch import prepare_or_resume, run_headless, run_with_screen

    prepared = prepare_or_resume(request)
    if prepared is None:
        print(f"{name or run_dir} is done already", file=sys.stderr)
        return 0
    return run_with_screen(prepared, options) if request.screen else run_headless(prepared, lines)


def _train_detached(request: TrainRequest, place: Place, options: ScreenOptions) -> int:
    """Start a run in the background, then attach or print its name."""
    if request.resume or place.by_torchrun:
        other = "--resume" if request.resume else "torchrun"
        raise UsageError(f"{other} and --detached exclude each other", hint="use --headless")
    from ..runs.background import start_detached

    run = start_detached(request.config, label=request.label, name=request.name, run_dir=request.run_dir)
    if request.screen and run.holder is not None:
        from .attach import show_run

        return show_run(run, options)
    print(run.name)
    return 0


def resume(
    run: RunArgument = LATEST,
    total_steps: TotalStepsOption = None,
    until: UntilOption = None,
    settings: SettingsOption = None,
    headless: HeadlessOption = False,
    log_format: LogFormatOption = "auto",
    quiet: QuietOption = False,
    checkpoint: CheckpointOption = LATEST,
    yes: YesOption = False,
    force: Annotated[
        bool, typer.Option("--force", help="Continue although the program or config.toml has changed since.")
    ] = False,
    detached: DetachedOption = False,
    allow_import: AllowImportOption = False,
    fps: FpsOption = None,
    pixels: PixelsOption = None,
    theme: ThemeOption = None,
    ascii: AsciiOption = False,
) -> int:
    """Continue a run exactly from its newest checkpoint.

    With --checkpoint it goes back to an earlier one first; what came after becomes an abandoned branch.
    """
    from ..distributed.torchrun import Place

    overrides = overrides_of(settings, {"run.total_steps": total_steps}, until)
    options, lines = screen_options(theme, ascii, fps, pixels), line_options(log_format, quiet)
    place = Place.here()
    screen = not headless and has_screen() and not place.by_torchrun
    if checkpoint != LATEST and not place.by_torchrun:
        from .going_back import agreed

        if not agreed(chosen_run(run, "resumable"), checkpoint, yes=yes):
            return 0
    if detached:
        if place.by_torchrun:
            raise UsageError("torchrun and --detached exclude each other", hint="use --headless")
        from ..runs.background import resume_detached

        arguments = [part for one in overrides for part in ("--set", one)]
        arguments += ["--force"] * force + ["--allow-import"] * allow_import + ["--checkpoint", checkpoint]
        run_dir = chosen_run(run, "resumable")
        print(resume_detached(run_dir, arguments))
        if screen and run_dir.holder is not None:
            from .attach import show_run

            return show_run(run_dir, options)
        return 0

    def prepare(place: Place) -> PreparedRun:
        from ..launch import prepare_resume

        return prepare_resume(
            chosen_run(run, "resumable"),
            # Ranks that torchrun starts again have gone back already.
            checkpoint=LATEST if place.restart else checkpoint,
            overrides=overrides,
            force=force,
            allow_import=allow_import,
            screen=screen,
        )

    if place.by_torchrun:
        from .torchrun import train_together

        return train_together(place, prepare, lines)
    from ..launch import run_headless, run_with_screen

    prepared = prepare(place)
    return run_with_screen(prepared, options) if screen else run_headless(prepared, lines)
