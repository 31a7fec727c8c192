"""The commands that look after machines and many runs at once. Heavy imports happen inside them."""

from __future__ import annotations

import importlib.util
from typing import Annotated

import typer

from ..errors import RunFailedError, UsageError


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False) -> int:
    """Check this installation and this machine: packages, cores, GPU, games, terminal, memory, disk.

    Exit codes: 0 nothing failed, 3 something did.
    """
    from ..checkup import examine_machine
    from .findings_table import print_findings

    return 0 if print_findings(examine_machine(), as_json=as_json) else RunFailedError.exit_code


def sweep(
    preset: Annotated[str, typer.Option("--preset", "-p", help="A preset's name or a TOML file.")],
    trials: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Settings to try in all; 20, or 1 where nothing is searched.")
    ] = None,
    processes: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Runs at a time, each on a core; by default the cores.")
    ] = None,
    search: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=LOW..HIGH", help="A setting to search: LOW..HIGH, log:LOW..HIGH or A,B,…; may be repeated."
        ),
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(metavar="1,2,…", help="Each trial is a run for each of them; by default the preset's.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", "-s", metavar="KEY=VALUE", help="Set a setting of all runs.")
    ] = None,
    metric: Annotated[str, typer.Option(metavar="KEY", help="What is to be high at the end.")] = "rollout/ep_rew_mean",
    name: Annotated[str | None, typer.Option(help="The sweep's name; it lives in ./runs/NAME.")] = None,
    prune: Annotated[
        bool, typer.Option("--prune/--no-prune", help="Cut trials short whose score is below the median.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
    allow_import: Annotated[
        bool, typer.Option("--allow-import", help="Let the preset name code to import: module:Id, module:Class.")
    ] = False,
) -> int:
    """Search for good settings, or train several seeds: many runs of a preset, so many at a time.

    The same command goes on with a sweep that was stopped or killed. Exit codes: 0 done, 3 every trial failed.
    """
    if importlib.util.find_spec("optuna") is None:
        raise UsageError(
            "what a sweep tries is chosen by Optuna, which is not installed", hint="pip install 'ppo-tui[sweep]'"
        )
    from .sweep import run_sweep

    return run_sweep(
        preset,
        trials=trials,
        processes=processes,
        search=search or [],
        seeds=seeds,
        overrides=settings or [],
        metric=metric,
        name=name,
        prune=prune,
        as_json=as_json,
        allow_import=allow_import,
    )
