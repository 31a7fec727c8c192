"""`ppo-tui sweep`: many runs, with settings from Optuna or seeds."""

from __future__ import annotations

import contextlib
import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import RunFailedError, UsageError
from ..extras import install_command, is_installed
from .options import (
    AllowImportOption,
    EnvsOption,
    JsonOption,
    NameOption,
    OptionalPresetOption,
    PresetArgument,
    SettingsOption,
    TotalStepsOption,
    UntilOption,
    chosen_preset,
    overrides_of,
)

if TYPE_CHECKING:
    from ..directories import Directory
    from ..sweeps.sweep import Sweep
    from ..sweeps.trials import Result

STUDY_FILE = "study.db"

DEFAULT_TRIALS = 20

_COMPARED = 3
"""Number of best trials in the printed `compare` command."""


def sweep(
    word: PresetArgument = None,
    option: OptionalPresetOption = None,
    trials: Annotated[
        int | None,
        typer.Option(
            min=1, max=100_000, metavar="N", help="Number of trials (default 20, or 1 without a search space)."
        ),
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option(min=1, max=1024, metavar="N", help="Runs at a time, one core each (default: all cores)."),
    ] = None,
    search: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=LOW..HIGH", help="Setting to search: LOW..HIGH, log:LOW..HIGH or A,B,…; may be repeated."
        ),
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(metavar="1,2,…", help="Seeds of each trial, one run each (default: the preset's).")
    ] = None,
    settings: SettingsOption = None,
    total_steps: TotalStepsOption = None,
    until: UntilOption = None,
    envs: EnvsOption = None,
    metric: Annotated[
        str, typer.Option(metavar="KEY", help="Metric whose last value scores a trial; higher is better.")
    ] = "rollout/ep_rew_mean",
    name: NameOption = None,
    prune: Annotated[
        bool, typer.Option("--prune/--no-prune", help="Stop trials early that score below the median.")
    ] = True,
    as_json: JsonOption = False,
    allow_import: AllowImportOption = False,
) -> int:
    """Search for good settings, or train several seeds.

    It trains many runs of a preset, several at a time. The same command continues a sweep that was stopped or killed.

    Exit codes: 0 done, 3 every trial failed.
    """
    if not is_installed("optuna"):
        raise UsageError("Optuna, which searches, is not installed", hint=install_command("sweep"))
    from ..config import load_preset, preset_label
    from ..runs import RUNS_DIR
    from ..runs.entries import check_name
    from ..sweeps import Definition, read_search, read_seeds
    from ..sweeps.space import default_search

    overrides, specs = (
        overrides_of(settings, {"run.total_steps": total_steps, "rollout.num_envs": envs}, until),
        tuple(search or ()),
    )
    if (preset := chosen_preset(word, option)) is None:
        raise UsageError("which preset? for example: ppo-tui sweep cartpole", hint="ppo-tui presets lists them")
    config = load_preset(preset, overrides=overrides, allow_import=allow_import)
    if not specs and (trials or 0) != 1 and not (seeds and trials is None):
        specs = default_search(config)
    space = read_search(preset, overrides, specs, allow_import=allow_import)
    definition = Definition(
        preset=preset,
        overrides=tuple(overrides),
        search=specs,
        seeds=read_seeds(seeds) or (config.run.seed,),
        metric=metric,
    )
    check_name(name)
    directory = (RUNS_DIR / (name or f"{preset_label(preset, config)}-sweep")).absolute()
    from ..machine import available_cores
    from ..sweeps.sweep import Sweep

    with _locked(directory) as held:
        definition.settle(held)
        sweep = Sweep(
            directory,
            definition,
            space,
            trials=trials or (DEFAULT_TRIALS if specs else 1),
            processes=processes or available_cores(),
            prune=prune,
            allow_import=allow_import,
            log=lambda line: print(line, file=sys.stderr, flush=True),
        )
        if stopped_by := _run(sweep):
            print("stopped and saved; the same command continues the sweep", file=sys.stderr)
            return 128 + stopped_by
        results = sweep.results()
    print_results(results, metric=metric, as_json=as_json)
    return 0 if any(result.state == "complete" for result in results) else RunFailedError.exit_code


class _Terminated(Exception):
    """SIGTERM as an exception, to save the runs on the way out."""


def _run(sweep: Sweep) -> int:
    """Run the sweep.

    Returns:
        The number of the signal that stopped it, or 0.
    """

    def terminate(*_: object) -> None:
        raise _Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        sweep.run()
    except KeyboardInterrupt:
        return signal.SIGINT
    except _Terminated:
        return signal.SIGTERM
    finally:
        signal.signal(signal.SIGTERM, before)
    return 0


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[Directory]:
    """Make the sweep's directory, hold it and lock it against other processes.

    Raises:
        UsageError: another process sweeps there, something else is stored there, or the directory cannot be written.
    """
    from ..directories import Directory
    from ..runs.entries import SWEEP_FILE, SWEEP_LOCK_FILE, holds_run
    from ..runs.lock import DirectoryLock

    lock = DirectoryLock(SWEEP_LOCK_FILE)
    with contextlib.ExitStack() as stack:
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            directory = stack.enter_context(Directory.open(path))
            if holds_run(path):
                raise UsageError(f"{path} holds a run", hint="choose another --name")
            if directory.stat(SWEEP_FILE) is None and set(directory.names()) - {SWEEP_LOCK_FILE}:
                raise UsageError(f"{path} is not empty, and holds no sweep", hint="choose another --name")
            directory.refuse_strangers(files=(SWEEP_FILE, SWEEP_LOCK_FILE, STUDY_FILE))
            stack.callback(lock.release)
            lock.acquire(directory)
        except BlockingIOError:
            raise UsageError(f"{path} is in use", hint="another process runs this sweep already") from None
        except OSError as error:
            raise UsageError(f"{path} cannot be written: {error.strerror}", hint="choose another --name") from None
        yield directory


def print_results(results: Sequence[Result], *, metric: str, as_json: bool) -> None:
    """Print trials on stdout, best first, as a table or as JSON."""
    from .output import cell, print_json, table_console

    if as_json:
        print_json(results)
        return
    from rich import box
    from rich.table import Table

    from ..plotting.formats import NOTHING, score, setting

    console = table_console()
    keys = list(dict.fromkeys(key for result in results for key in result.settings))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("", "trial", metric, *keys, "state"):
        table.add_column(cell(heading), justify="left" if heading == "state" else "right", overflow="fold")
    for rank, result in enumerate(results, start=1):
        values = [setting(result.settings[key]) if key in result.settings else NOTHING for key in keys]
        cells = (str(rank), str(result.trial), score(result.score), *values, result.state)
        table.add_row(*map(cell, cells), style="bold" if rank == 1 else "")
    console.print(table)
    best = [_run_name(run) for result in results[:_COMPARED] if result.state == "complete" for run in result.runs]
    if len(best) > 1:
        console.print(
            f"their curves: ppo-tui compare {shlex.join(best)}", markup=False, highlight=False, soft_wrap=True
        )


def _run_name(path: str) -> str:
    """Shorten the path of a run to its name in ./runs."""
    from ..runs import RUNS_DIR

    run, here = Path(path), RUNS_DIR.absolute()
    return str(run.relative_to(here)) if run.is_relative_to(here) else path
