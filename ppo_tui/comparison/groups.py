"""Groups of runs for comparison."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..config import Config
from ..errors import DamagedRunError, PPOTuiError, UsageError, did_you_mean
from ..plotting.series import FloatArray, Series
from ..runs import RunDirectory
from ..runs.history import recorded_metrics
from ..runs.select import saved_config
from ..training.checkpoint.resume import changed_experiment

Grouping = Literal["preset", "name", "env"]

_TIME = re.compile(r"-\d{8}-\d{6}(-\d+)?$")
_NUMBER = re.compile(r"[-_.](s|seed)?[-_.]?\d+$")


@dataclass(frozen=True, eq=False)
class RunCurve:
    """One metric of one run.

    Attributes:
        preset: its name, as far as the run knows it.
        steps: environment steps, increasing, [n].
        values: finite, [n].
    """

    name: str
    preset: str
    config: Config
    steps: FloatArray
    values: FloatArray

    @property
    def env(self) -> str:
        return self.config.env.id


@dataclass(frozen=True, eq=False)
class Group:
    """Runs to be averaged.

    Attributes:
        strata: the runs by configuration; those of one stratum differ by chance alone.
    """

    label: str
    env: str
    strata: tuple[tuple[RunCurve, ...], ...]

    @property
    def runs(self) -> tuple[RunCurve, ...]:
        return tuple(run for stratum in self.strata for run in stratum)


def read_run(run_dir: RunDirectory, metric: str) -> RunCurve:
    """Read the curve of `metric`, without abandoned parts of rewinds.

    Raises:
        UsageError: the run has no such metric, or no value of it yet.
        DamagedRunError: its configuration or its metrics cannot be read.
    """
    try:
        config, curves = saved_config(run_dir), recorded_metrics(run_dir)
    except (OSError, PPOTuiError) as error:
        raise DamagedRunError(f"{run_dir.name} is damaged: {error}") from None
    if curves and metric not in curves:
        hint = did_you_mean(metric, curves, otherwise=f"it has {', '.join(sorted(curves))}")
        raise UsageError(f"--metric {metric!r}: {run_dir.path.name} has no such metric", hint=hint)
    series = curves.get(metric, Series())
    finite = np.isfinite(series.values)
    if not finite.any():
        raise UsageError(f"{run_dir.path.name} has no value of {metric} yet", hint="leave it out, or wait until it has")
    facts = run_dir.read()
    name = run_dir.name
    preset = str(facts.get("preset") or _TIME.sub("", name))
    return RunCurve(name, preset, config, series.steps[finite].copy(), series.values[finite].copy())


def group_runs(runs: Sequence[RunCurve], by: Grouping) -> list[Group]:
    """Group runs, in the order of their first runs.

    A group has one environment: scores of different environments differ in kind.

    Args:
        by: ``preset``: runs of one preset with the same settings; other settings are part of the label.
            ``name``: names that differ only in a number at the end. ``env``: all runs of an environment.
    """
    if by == "env":
        return _collect(runs, lambda run: run.env)
    if by == "name":
        return _collect(runs, lambda run: _NUMBER.sub("", _TIME.sub("", run.name)) or run.name)
    firsts: dict[tuple[str, str], RunCurve] = {}
    for run in runs:
        firsts.setdefault((run.preset, run.env), run)
    return _collect(runs, lambda run: run.preset + _differences(firsts[run.preset, run.env].config, run.config))


def _differences(first: Config, other: Config) -> str:
    """Describe in brackets the changes since the preset's first run."""
    changes = [f"{key}={new}" for key, (_, new) in changed_experiment(first, other).items()]
    return f" ({', '.join(changes)})" if changes else ""


def _collect(runs: Sequence[RunCurve], label: Callable[[RunCurve], str]) -> list[Group]:
    collected: dict[tuple[str, str], list[RunCurve]] = {}
    for run in runs:
        collected.setdefault((label(run), run.env), []).append(run)
    return [Group(name, env, _strata(members)) for (name, env), members in collected.items()]


def _strata(runs: Sequence[RunCurve]) -> tuple[tuple[RunCurve, ...], ...]:
    strata: list[list[RunCurve]] = []
    for run in runs:
        for stratum in strata:
            if not changed_experiment(stratum[0].config, run.config):
                stratum.append(run)
                break
        else:
            strata.append([run])
    return tuple(map(tuple, strata))
