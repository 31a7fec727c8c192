"""Write the measured curve of a preset from finished runs.

    PYTHONPATH=. python docs/write_curve.py cartpole runs/cartpole-1 runs/cartpole-2 runs/cartpole-3 \\
        --milestones=100,200,400,475

writes ``presets/curves/cartpole.csv``: the mean return over the runs, which differ in nothing but the seed, and how
long they took. The program shows it behind the return of other runs of the preset.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import numpy as np
import typer

from ppo_tui.comparison.curves import group_curve
from ppo_tui.comparison.groups import Group, read_run
from ppo_tui.config import load_preset
from ppo_tui.errors import PPOTuiError, UsageError
from ppo_tui.expectations import MEAN_RETURN, Reference, curve_path, format_curve, read_curve
from ppo_tui.expectations.reference import MOST_ROWS
from ppo_tui.machine import available_cores
from ppo_tui.plotting.formats import date
from ppo_tui.runs import RunDirectory, find_run
from ppo_tui.system.processor import cpu_model
from ppo_tui.training.checkpoint.resume import changed_experiment

_TIME = "time/time_elapsed"


def measured(preset: str, runs: Sequence[RunDirectory], milestones: Sequence[float], machine: str) -> Reference:
    """The curve of `preset` over `runs`.

    It ends at the last step of the shortest.

    Raises:
        UsageError: a run has other settings than the shipped preset, or two have the same seed.
        DamagedRunError: a run cannot be read.
        ValueError: the numbers make no curve.
    """
    shipped = load_preset(preset, allow_import=True)
    courses = [read_run(run, MEAN_RETURN) for run in runs]
    for course in courses:
        if changed := changed_experiment(shipped, course.config):
            raise UsageError(f"{course.name} is no run of {preset}: it changes {', '.join(changed)}")
    seeds = sorted(course.config.run.seed for course in courses)
    if len(set(seeds)) < len(seeds):
        raise UsageError(f"the seeds are {', '.join(map(str, seeds))}", hint="each run needs a seed of its own")
    curve = group_curve(Group(preset, courses[0].env, (tuple(courses),)), points=MOST_ROWS)
    steps = np.unique(np.round(curve.steps))
    values = np.array([np.interp(steps, curve.steps, each) for each in curve.values])
    clocks = [read_run(run, _TIME) for run in runs]
    seconds = np.mean([np.interp(steps, clock.steps, clock.values) for clock in clocks], axis=0)
    facts = [run.read() for run in runs]
    versions = sorted({str(each.get("versions", {}).get("ppo-tui")) for each in facts})
    commits = sorted({str(each.get("git") or "")[:7] for each in facts})
    return Reference(
        preset=preset,
        seeds=len(runs),
        machine=machine,
        date=date(max(run.started for run in runs), "%Y-%m-%d"),
        version=" ".join([*versions, *filter(None, commits)]),
        command=f"ppo-tui --preset {preset} --headless, with --seed {', '.join(map(str, seeds))}",
        milestones=tuple(milestones),
        steps=_short(steps),
        mean=_short(values.mean(axis=0)),
        low=_short(values.min(axis=0)),
        high=_short(values.max(axis=0)),
        seconds=_short(seconds),
    )


def _short(values: np.ndarray) -> tuple[float, ...]:
    """To six significant digits, steps to the last."""
    return tuple(value if value.is_integer() else float(f"{value:.6g}") for value in values.tolist())


def main(
    preset: str,
    runs: Annotated[list[str], typer.Argument(metavar="RUN…")],
    milestones: Annotated[str, typer.Option(help="Mean returns, such as=-10,0,18; by default those of before.")] = "",
    machine: Annotated[str, typer.Option(help="In words; by default the cores and the processor of this one.")] = "",
) -> None:
    """Write the measured curve of a preset from finished runs."""
    try:
        before = None if milestones else read_curve(preset)
        if not milestones and before is None:
            raise UsageError(f"{preset} has no milestones yet", hint="--milestones=10,30,100")
        numbers = before.milestones if before else tuple(float(number) for number in milestones.split(","))
        cores = available_cores()
        here = f"{cores} {'core' if cores == 1 else 'cores'} of {cpu_model()}"
        reference = measured(preset, [find_run(run) for run in runs], numbers, machine or here)
    except (PPOTuiError, ValueError) as error:
        print(error, file=sys.stderr)
        raise typer.Exit(2) from None
    path = curve_path(preset)
    path.parent.mkdir(exist_ok=True)
    path.write_text(format_curve(reference), "utf-8")
    print(path)


if __name__ == "__main__":
    typer.run(main)
