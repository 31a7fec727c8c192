"""The command line. Heavy imports happen inside the commands, so that ``--help`` answers at once."""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import __version__
from .commands import doctor as upkeep
from .commands import evaluate as scoring
from .commands import report as sharing
from .commands.options import (
    AsciiOption,
    FpsOption,
    LogFormatOption,
    QuietOption,
    ResumeModeOption,
    RunArgument,
    ThemeOption,
    has_screen,
    line_options,
    screen_options,
)
from .errors import PPOTuiError, UsageError

if TYPE_CHECKING:
    from .config import Config
    from .launch import PreparedRun
    from .tui.screen_options import ScreenOptions

app = typer.Typer(
    name="ppo-tui",
    help="Train PPO from a terminal, on a live screen or headless.",
    no_args_is_help=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_debug = False


def run() -> int:
    """Run the command line and return the exit code; what a user did wrong becomes a message on stderr."""
    try:
        # Without standalone mode click returns the code of `typer.Exit`, and commands return theirs.
        return app(standalone_mode=False) or 0
    except PPOTuiError as error:
        if _debug:
            raise
        print(f"ppo-tui: {_rank()}{_printable(str(error))}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except typer.Abort:
        return 130
    except Exception as error:
        if type(error).__module__.startswith(("click", "typer")) and hasattr(error, "exit_code"):
            error.show()
            return error.exit_code
        raise


def _rank() -> str:
    """Which of torchrun's processes this is, where it is not the one that prints everything else."""
    rank = os.environ.get("RANK", "0") if "TORCHELASTIC_RUN_ID" in os.environ else "0"
    return "" if rank == "0" else f"rank {rank}: "


def _printable(text: str) -> str:
    """Without control characters, which names from files and environments may hold."""
    return "".join(character if character.isprintable() or character == "\n" else "?" for character in text)


def _print_version(value: bool) -> None:
    if value:
        print(f"ppo-tui {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def train(
    context: typer.Context,
    preset: Annotated[
        str | None, typer.Option("--preset", "-p", help="A preset's name (see `ppo-tui presets`) or a TOML file.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", "-s", metavar="KEY=VALUE", help="Set a setting, e.g. optim.learning_rate=1e-4."),
    ] = None,
    seed: Annotated[str | None, typer.Option(metavar="N", help="Seed of everything that is random.")] = None,
    total_steps: Annotated[str | None, typer.Option(metavar="N", help="Environment steps of the run.")] = None,
    workers: Annotated[
        str | None, typer.Option(metavar="N", help="Worker processes; fitted to the machine by default.")
    ] = None,
    envs: Annotated[str | None, typer.Option(metavar="N", help="Environments stepped side by side.")] = None,
    device: Annotated[str | None, typer.Option(metavar="auto|cpu|cuda", help="Where the networks live.")] = None,
    run_dir: Annotated[Path | None, typer.Option(help="The very directory of the run.")] = None,
    name: Annotated[str | None, typer.Option(help="The run's name; it lives in ./runs/NAME.")] = None,
    headless: Annotated[bool, typer.Option("--headless", help="No screen: a progress bar, or plain lines.")] = False,
    resume_mode: ResumeModeOption = None,
    log_format: LogFormatOption = "auto",
    quiet: QuietOption = False,
    detached: Annotated[
        bool, typer.Option("--detached", help="Train in the background, and attach the screen where there is one.")
    ] = False,
    fps: FpsOption = None,
    theme: ThemeOption = None,
    ascii: AsciiOption = False,
    allow_import: Annotated[
        bool,
        typer.Option("--allow-import", help="Let a preset file name an environment as module:Id, which runs code."),
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> int | None:
    """Train PPO from a terminal: `ppo-tui --preset breakout`.

    With a terminal on stdout it opens the screen; otherwise, or with --headless, it prints progress.
    """
    global _debug
    _debug = debug
    if context.invoked_subcommand is not None:
        return None
    if preset is None:
        raise UsageError("which preset? for example: ppo-tui --preset breakout", hint="ppo-tui presets lists them")
    from .config import load_preset, preset_path
    from .distributed.torchrun import Place

    if resume_mode not in (None, "auto"):
        raise UsageError(f"--resume {resume_mode!r}: expected auto", hint="ppo-tui resume RUN goes on with a run")
    overrides = list(settings or [])
    for key, value in (
        ("run.seed", seed),
        ("run.total_steps", total_steps),
        ("workers.count", workers),
        ("rollout.num_envs", envs),
        ("run.device", device),
    ):
        if value is not None:
            overrides.append(f"{key}={value}")
    config = load_preset(preset, overrides=overrides, allow_import=allow_import)

    screen = not headless and has_screen()
    label = preset_path(preset).stem
    options = screen_options(theme, ascii, fps)
    lines = line_options(log_format, quiet)
    if detached:
        if resume_mode is not None or Place.here().by_torchrun:
            what = "torchrun" if resume_mode is None else "--resume"
            raise UsageError(f"{what} and --detached exclude each other", hint="use --headless")
        return _train_detached(config, options if screen else None, label=label, name=name, run_dir=run_dir)
    if (place := Place.here()).by_torchrun:
        from .commands.torchrun import prepare_for_job, train_together

        prepare_run = functools.partial(
            prepare_for_job,
            config=config,
            overrides=overrides,
            label=label,
            name=name,
            run_dir=run_dir,
            allow_import=allow_import,
            resume=resume_mode is not None,
        )
        return train_together(place, prepare_run, lines, config=config)
    from .launch import prepare, run_headless, run_with_screen

    if resume_mode is None:
        prepared = prepare(config, label=label, name=name, run_dir=run_dir, screen=screen)
    else:
        from .launch import prepare_or_resume

        prepared = prepare_or_resume(
            config,
            overrides=overrides,
            label=label,
            name=name,
            run_dir=run_dir,
            allow_import=allow_import,
            screen=screen,
        )
        if prepared is None:
            print(f"{name or run_dir} is done already", file=sys.stderr)
            return 0
    return run_with_screen(prepared, options) if screen else run_headless(prepared, lines)


def _train_detached(
    config: Config, options: ScreenOptions | None, *, label: str, name: str | None, run_dir: Path | None
) -> int:
    """Start a run in the background, then show it if there are `options` for the screen, or print what it is called."""
    from .runs.background import start_detached

    run = start_detached(config, label=label, name=name, run_dir=run_dir)
    if options is not None and run.holder is not None:
        from .launch import attach as show

        return show(run, options)
    print(run.name)
    return 0


@app.command()
def resume(
    run: RunArgument,
    total_steps: Annotated[
        str | None, typer.Option(metavar="N", help="Environment steps of the whole run; extends a finished one.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", "-s", metavar="KEY=VALUE", help="Change a setting from here on.")
    ] = None,
    headless: Annotated[bool, typer.Option("--headless", help="No screen: a progress bar, or plain lines.")] = False,
    log_format: LogFormatOption = "auto",
    quiet: QuietOption = False,
    force: Annotated[
        bool, typer.Option("--force", help="Go on although the program or config.toml has changed since.")
    ] = False,
    allow_import: Annotated[
        bool, typer.Option("--allow-import", help="Let the run's environment be one named as module:Id.")
    ] = False,
    fps: FpsOption = None,
    theme: ThemeOption = None,
    ascii: AsciiOption = False,
) -> int:
    """Go on with a run exactly where its newest checkpoint stands."""
    from .distributed.torchrun import Place
    from .runs import find_run

    overrides = [*(settings or []), *([f"run.total_steps={total_steps}"] if total_steps is not None else [])]
    options, lines = screen_options(theme, ascii, fps), line_options(log_format, quiet)
    place = Place.here()
    screen = not headless and has_screen() and not place.by_torchrun

    def prepare() -> PreparedRun:
        from .launch import prepare_resume

        return prepare_resume(find_run(run), overrides=overrides, force=force, allow_import=allow_import, screen=screen)

    if place.by_torchrun:
        from .commands.torchrun import train_together

        return train_together(place, lambda _: prepare(), lines)
    prepared = prepare()
    from .launch import run_headless, run_with_screen

    return run_with_screen(prepared, options) if screen else run_headless(prepared, lines)


@app.command()
def presets(
    name: Annotated[str | None, typer.Argument(help="Print this preset's file.")] = None,
) -> None:
    """List the presets, or print one as a starting point for your own."""
    from .config import list_presets, preset_path

    if name is not None:
        print(preset_path(name).read_text("utf-8"), end="")
        return
    found = list_presets()
    width = max(map(len, found))
    for preset, description in found.items():
        print(f"{preset:<{width}}  {description}")


@app.command()
def bench(
    preset: Annotated[str, typer.Option("--preset", "-p", help="What to measure.")] = "breakout",
    settings: Annotated[
        list[str] | None, typer.Option("--set", "-s", metavar="KEY=VALUE", help="Set a setting.")
    ] = None,
    updates: Annotated[int, typer.Option(min=1, help="Updates to measure for each variant.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print the measurements as JSON.")] = False,
) -> None:
    """Measure training on this machine: steps/s, where the time goes, and which settings would be faster."""
    from .config import load_preset
    from .training.start import examine

    config = load_preset(preset, overrides=settings or [])
    examine(config)

    from .commands.bench import print_report, progress
    from .training.bench import bench as measure

    with progress() as on_measure:
        report = measure(config, updates=updates, on_measure=on_measure)
    print_report(report, as_json=as_json)


@app.command()
def runs(as_json: Annotated[bool, typer.Option("--json", help="Print them as JSON.")] = False) -> None:
    """List the runs below ./runs, the newest first."""
    from .commands.runs import print_runs
    from .runs import list_runs

    print_runs(list_runs(), as_json=as_json)


@app.command()
def attach(
    run: RunArgument,
    readonly: Annotated[bool, typer.Option("--readonly", help="Only watch.")] = False,
    take_control: Annotated[
        bool, typer.Option("--take-control", help="Steer the run even if another screen does.")
    ] = False,
    fps: FpsOption = None,
    theme: ThemeOption = None,
    ascii: AsciiOption = False,
) -> int:
    """Show a running run on the screen, with its whole history; d leaves it to itself again."""
    from .runs import find_run

    if readonly and take_control:
        raise UsageError("--readonly and --take-control exclude each other")
    _require_terminal("attach", "ppo-tui ctl RUN status tells how far a run is")
    from .launch import attach as show

    options = screen_options(theme, ascii, fps)
    return show(find_run(run), options, readonly=readonly, take_control=take_control)


@app.command()
def replay(
    run: RunArgument,
    speed: Annotated[
        float | None, typer.Option(min=0.01, help="How many times as fast as it was; by default it takes a minute.")
    ] = None,
    theme: ThemeOption = None,
    ascii: AsciiOption = False,
) -> int:
    """Play a run's record on the same screen."""
    from .runs import find_run

    _require_terminal("replay", "events.jsonl in the run's directory is the record")
    from .launch import replay as play

    return play(find_run(run), screen_options(theme, ascii, 0.0), speed=speed)


@app.command()
def ctl(
    run: RunArgument,
    action: Annotated[
        str, typer.Argument(metavar="ACTION", help="pause, resume, step, save, stop, set, rewind or status.")
    ],
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[N | KEY VALUE | PATH]", help="What step, set and rewind need.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the status as JSON.")] = False,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Return when the command is accepted, not when it has taken effect.")
    ] = False,
) -> None:
    """Steer a running run from a script, for example `ppo-tui ctl latest set optim.learning_rate 1e-4`.

    Exit codes: 0 done, 2 refused or not running, 3 the run ended first.
    """
    from .runs import find_run
    from .runs.client import command_from, status, steer

    found = find_run(run)
    if action == "status":
        if arguments:
            raise UsageError(f"status takes no arguments, got {' '.join(arguments)}")
        from .commands.runs import print_run

        print_run(status(found), as_json=as_json)
    else:
        print(steer(found, command_from(action, arguments or []), wait=not no_wait))


def _require_terminal(command: str, hint: str) -> None:
    if not has_screen():
        raise UsageError(f"{command} needs a terminal", hint=hint)


app.command("eval")(scoring.evaluate)
app.command("watch")(scoring.watch)
app.command("compare")(scoring.compare)
app.command("report")(sharing.report)
app.command("export")(sharing.export)
app.command("import")(sharing.import_sb3)
app.command("serve")(sharing.serve)
app.command("doctor")(upkeep.doctor)
app.command("sweep")(upkeep.sweep)
