"""Arguments and options shared by commands, each declared once."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UsageError, did_you_mean
from ..extras import install_command, is_installed
from . import completion

if TYPE_CHECKING:
    from ..launch import TrainRequest
    from ..runs import RunDirectory
    from ..runs.registry import Wanted
    from ..runs.select import ChosenCheckpoint
    from ..sinks.console import LineOptions
    from ..tui.screen_options import ScreenOptions


def _print_version(value: bool) -> None:
    if value:
        from .. import __version__

        print(f"ppo-tui {__version__}")
        raise typer.Exit


DebugOption = Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")]
"""Declared for the help: `boundary` looks for it itself, as an error may come before options are read."""
VersionOption = Annotated[
    bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
]

# ── The run ─────────────────────────────────────────────────────────────────────────────────────────────────

LATEST = "latest"
"""What RUN is by default."""

RunArgument = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="Name of a run, its directory, or `latest`, the default.",
        show_default=False,
        autocompletion=completion.runs,
    ),
]
_RUNS = typer.Argument(
    metavar="RUN…",
    help="Names or directories of runs, or `latest`.",
    show_default=False,
    autocompletion=completion.runs,
)
RunsArgument = Annotated[list[str], _RUNS]
OptionalRunsArgument = Annotated[list[str] | None, _RUNS]
YesOption = Annotated[bool, typer.Option("--yes", help="Do it without asking.")]
DetachedOption = Annotated[
    bool, typer.Option("--detached", help="Train in the background; on a terminal, attach the screen to it.")
]
PolicyArgument = Annotated[
    str,
    typer.Argument(
        metavar="RUN|CHECKPOINT",
        help="Name of a run, its directory, or `latest`, the default; or the directory of a checkpoint.",
        show_default=False,
        autocompletion=completion.runs,
    ),
]
NameOption = Annotated[
    str | None, typer.Option("--name", metavar="NAME", help="Name of the run or sweep, stored in ./runs/NAME.")
]


def _directory(text: str) -> Path:
    """Read ``--run-dir``; an empty one would be the current directory."""
    if not text.strip():
        raise UsageError("--run-dir is empty", hint="name a directory; the current one is --run-dir .")
    return Path(text)


RunDirOption = Annotated[
    Path | None,
    typer.Option("--run-dir", metavar="DIR", help="Store the run in DIR itself.", parser=_directory),
]
ResumeModeOption = Annotated[
    str | None,
    typer.Option("--resume", metavar="auto", help="Continue the run of this --name or --run-dir if there is one."),
]
CheckpointOption = Annotated[
    str,
    typer.Option(
        "--checkpoint",
        metavar="latest|best|STEP",
        help="Checkpoint of the run.",
        autocompletion=completion.one_of("latest", "best"),
    ),
]

# ── Its settings ────────────────────────────────────────────────────────────────────────────────────────────
# The same option may be required in one command and have a default in another: then it has two types.

_PRESET = typer.Option(
    "--preset",
    "-p",
    metavar="NAME|FILE",
    help="Preset name (see `ppo-tui presets`) or TOML file.",
    autocompletion=completion.presets,
)
_SEED = typer.Option("--seed", min=0, max=2**31 - 1, metavar="N", help="Seed of all randomness.")
_DEVICE = typer.Option(
    "--device",
    metavar="auto|cpu|cuda|mps",
    help="Device of the networks.",
    autocompletion=completion.one_of("auto", "cpu", "cuda", "mps"),
)

PresetOption = Annotated[str, _PRESET]
OptionalPresetOption = Annotated[str | None, _PRESET]
PresetArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="PRESET",
        help="Short for --preset PRESET.",
        show_default=False,
        autocompletion=completion.presets,
    ),
]
SettingsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        "-s",
        metavar="KEY=VALUE",
        help="Change a setting, as in lr=1e-4 or ppo.gamma=0.99; may be repeated.",
        autocompletion=completion.overrides,
    ),
]
MaxStepsOption = Annotated[
    int | None,
    typer.Option(
        "--max-steps",
        min=1,
        max=10**9,
        metavar="N",
        help="Steps after which an episode ends (default: the run's eval.max_steps, 100,000).",
    ),
]
SeedOption = Annotated[int, _SEED]
SeedSettingOption = Annotated[str | None, _SEED]
"""Short for ``--set run.seed=N``: the configuration checks the value."""
DeviceOption = Annotated[str, _DEVICE]
DeviceSettingOption = Annotated[str | None, _DEVICE]
"""Short for ``--set run.device=…``."""
InitFromOption = Annotated[
    str | None,
    typer.Option(
        "--init-from",
        metavar="RUN|CHECKPOINT|ZIP",
        help="Begin with the weights and running statistics of another run (also RUN@best, RUN@STEP), of a "
        "checkpoint's directory, or of a model.zip of Stable-Baselines3.",
        autocompletion=completion.runs,
    ),
]
"""Short for ``--set run.init_from=…``."""
TotalStepsOption = Annotated[
    str | None,
    typer.Option(
        "--total-steps", metavar="N", help="Environment steps of the whole run; more of them extend a finished run."
    ),
]
UntilOption = Annotated[
    list[str] | None,
    typer.Option(
        "--until",
        metavar="GOAL",
        help="End early, as finished: once the mean return of 100 episodes reaches a number (475), or a metric one "
        "(eval/ep_rew_mean=475), or the environment is solved, or after a time of training (2h, over all resumes, "
        "without pauses); may be repeated, whichever comes first. off drops the rules of a preset or run.",
        autocompletion=completion.one_of("solved", "off"),
    ),
]
EnvsOption = Annotated[str | None, typer.Option("--envs", metavar="N", help="Environments stepped in parallel.")]
AllowImportOption = Annotated[
    bool,
    typer.Option(
        "--allow-import",
        help="Allow a preset, run or checkpoint to name code to import (module:Id, module:Class), a command to run, "
        "or an address to send or write to.",
    ),
]

# ── Playing ─────────────────────────────────────────────────────────────────────────────────────────────────

GreedyOption = Annotated[
    bool | None,
    typer.Option(
        "--greedy/--sampled",
        help="Take the most probable action, or sample as in training. By default sampled on Atari, as published "
        "scores are, and greedy elsewhere.",
        show_default=False,
    ),
]

# ── Output ──────────────────────────────────────────────────────────────────────────────────────────────────

HeadlessOption = Annotated[bool, typer.Option("--headless", help="Show no screen, but a progress bar or plain lines.")]
FpsOption = Annotated[
    float | None,
    typer.Option(
        "--fps", min=0, max=60, metavar="N", help="Frames a second of the live game (10, over ssh 4); 0 for none."
    ),
]
ThemeOption = Annotated[
    str | None,
    typer.Option(
        "--theme",
        metavar="dark|light|ansi",
        help="Colours of the screen.",
        autocompletion=completion.one_of("dark", "light", "ansi"),
    ),
]
PixelsOption = Annotated[
    str | None,
    typer.Option(
        "--pixels",
        metavar="auto|on|charts|off",
        help="Draw the game in pixels where the terminal can (kitty, sixel); auto: not over ssh nor in tmux; "
        "charts: the charts as well.",
        autocompletion=completion.one_of("auto", "on", "charts", "off"),
    ),
]
AsciiOption = Annotated[bool, typer.Option("--ascii", help="Draw with ASCII characters alone.")]
ReadonlyOption = Annotated[bool, typer.Option("--readonly", help="Watch only: no key changes the run.")]
LogFormatOption = Annotated[
    str,
    typer.Option(
        "--log-format",
        metavar="auto|plain|json",
        help="Output of a headless run: auto is a progress bar on a terminal and lines elsewhere, json is an event "
        "a line.",
        autocompletion=completion.one_of("auto", "plain", "json"),
    ),
]
QuietOption = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print warnings, errors and the end of a headless run only.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
OutputOption = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE", help="File to write; by default named after the run, here."),
]


def train_request(
    preset: str,
    overrides: Sequence[str],
    *,
    name: str | None,
    run_dir: Path | None,
    allow_import: bool,
    resume: bool,
    screen: bool,
) -> TrainRequest:
    """Load the preset and collect the options of the run.

    Raises:
        UsageError: the preset or a setting is not valid.
    """
    from ..config import load_preset, preset_label

    config = load_preset(preset, overrides=overrides, allow_import=allow_import)
    from ..launch import TrainRequest

    return TrainRequest(
        config=config,
        label=preset_label(preset, config),
        overrides=tuple(overrides),
        name=name,
        run_dir=run_dir,
        allow_import=allow_import,
        resume=resume,
        screen=screen,
    )


_KINDS: Mapping[str, str] = {
    "any": "latest run",
    "running": "latest run in progress",
    "saved": "latest run with a checkpoint",
    "resumable": "latest run to resume",
}


def chosen_run(text: str, wanted: Wanted = "any") -> RunDirectory:
    """The directory of the run named `text`; ``latest`` is named on stderr.

    Raises:
        UsageError: there is no such run.
    """
    from ..runs import find_run

    run = find_run(text, wanted=wanted)
    name_latest(text, run, wanted)
    return run


def chosen_runs(text: str) -> list[RunDirectory]:
    """The run, or the trials of the sweep, named `text`.

    The name of the latest one is printed on stderr.

    Raises:
        UsageError: there is neither.
    """
    from ..runs import find_runs

    found = find_runs(text)
    name_latest(text, found[0], "any")
    return found


def chosen_checkpoint(text: str, name: str) -> ChosenCheckpoint:
    """The checkpoint named `name` of the run or directory named `text`.

    The latest run, and whatever newer checkpoints are damaged, are named on stderr.

    Raises:
        UsageError: there is no such run, or no whole checkpoint.
    """
    from ..runs.select import find_checkpoint
    from .output import print_skipped

    chosen = find_checkpoint(text, name)
    name_latest(text, chosen.run_dir, "saved")
    print_skipped(chosen.skipped)
    return chosen


def name_latest(text: str, run: RunDirectory | None, wanted: Wanted) -> None:
    """Print on stderr the run meant by ``latest``."""
    if text == LATEST and run is not None:
        kind = "any" if wanted == "running" and run.holder is None else wanted
        print(f"{_KINDS[kind]}: {run.path.name}", file=sys.stderr)


def overrides_of(
    settings: Sequence[str] | None, shortcuts: Mapping[str, str | None], until: Sequence[str] | None = None
) -> list[str]:
    """Combine ``--set`` with shorter options such as ``--seed``; these win.

    Raises:
        UsageError: a goal of ``--until`` cannot be read.
    """
    from ..config import until_overrides

    short = (f"{key}={value}" for key, value in shortcuts.items() if value is not None)
    return [*(settings or []), *short, *until_overrides(until)]


def has_screen() -> bool:
    """Whether a terminal, or a browser of `serve`, can show the screen."""
    # A stream that the shell has closed is None.
    on_terminal = all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))
    return "TEXTUAL_DRIVER" in os.environ or on_terminal


def chosen_preset(word: str | None, option: str | None) -> str | None:
    """The preset, named as a word or by the option, if any.

    Raises:
        UsageError: both name one.
    """
    if word is not None and option is not None:
        raise UsageError(f"two presets: {option} and {word}", hint="name one of them")
    return option if word is None else word


def require_screen(command: str, hint: str) -> None:
    """Raise UsageError with this hint unless a screen can be seen."""
    if not has_screen():
        raise UsageError(f"{command} needs a terminal", hint=hint)


def screen_options(theme: str | None, ascii: bool, fps: float | None, pixels: str | None = None) -> ScreenOptions:
    """Check the screen's options and combine them with the user's keys.

    Raises:
        UsageError: there is no such theme or choice of pixels, the file of the keys is not valid, or the extra for
            pixels is not installed.
    """
    from ..tui.screen_options import choose_screen

    if fps is not None and math.isnan(fps):  # no bound of an option refuses it
        raise UsageError("--fps nan: expected a number from 0 to 60")
    options = choose_screen(theme, ascii, fps, pixels)
    if options.pixels in ("on", "charts") and not is_installed("textual_image"):
        raise UsageError(
            f"--pixels {options.pixels}: textual-image, which draws pixels, is not installed",
            hint=install_command("pixels"),
        )
    return options


def line_options(log_format: str, quiet: bool) -> LineOptions | None:
    """Check the options of a headless run's output; None for the defaults.

    Raises:
        UsageError: there is no such format.
    """
    if log_format == "auto" and not quiet:
        return None
    from ..sinks.console import LOG_FORMATS, LineOptions

    check_choice("--log-format", log_format, LOG_FORMATS)
    return LineOptions(log_format, quiet)


def check_choice(option: str, value: str, choices: Sequence[str]) -> None:
    """Raise UsageError unless the value of an option is one of `choices`."""
    if value not in choices:
        hint = did_you_mean(value, choices, otherwise=f"choose one of {', '.join(choices)}")
        raise UsageError(f"{option} {value!r} is not a valid choice", hint=hint)
