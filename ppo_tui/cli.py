"""The command line. Heavy imports happen inside the commands, so that ``--help`` answers at once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from . import __version__
from .errors import PPOTuiError, UsageError

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
        print(f"ppo-tui: {_printable(str(error))}", file=sys.stderr)
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
    theme: Annotated[str | None, typer.Option(metavar="dark|light|ansi", help="Colours of the screen.")] = None,
    ascii: Annotated[bool, typer.Option("--ascii", help="Draw the screen with plain characters.")] = False,
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

    from .launch import prepare, run_headless, run_with_screen
    from .tui.keymap import load_keymap
    from .tui.look import choose_look

    look = choose_look(theme, ascii)
    screen = not headless and sys.stdout.isatty() and sys.stdin.isatty()
    keymap = load_keymap() if screen else {}
    prepared = prepare(config, label=preset_path(preset).stem, name=name, run_dir=run_dir, screen=screen)
    return run_with_screen(prepared, look, keymap) if screen else run_headless(prepared)


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
    updates: Annotated[int, typer.Option(min=1, help="Updates to measure for each layout of workers.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print the measurements as JSON.")] = False,
) -> None:
    """Measure training on this machine: steps/s, where the time goes, and which layout of workers is fastest."""
    from .config import load_preset
    from .training.start import examine

    config = load_preset(preset, overrides=settings or [])
    examine(config)

    from .sinks.bench_table import print_report, progress
    from .training.bench import bench as measure

    with progress() as on_measure:
        report = measure(config, updates=updates, on_measure=on_measure)
    print_report(report, as_json=as_json)
