"""Presets and runs for the start screen. Imports no Textual."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..config.presets import list_presets, preset_path, read_preset
from ..errors import PPOTuiError
from ..expectations import MEAN_RETURN, read_curve
from ..extras import install_command, is_installed
from ..plotting import formats
from ..plotting.series import STEP_KEY, FloatArray
from ..runs import RunDirectory
from ..runs.history import recorded_metrics
from ..runs.registry import RunSummary

_FEWEST_UPDATES = 3
"""Updates of a run before its pace says how long others will take."""

ELAPSED_KEY = "time/time_elapsed"

_EXTRAS = {
    "box2d": ("Box2D", ("BipedalWalker", "CarRacing", "LunarLander")),
    "mujoco": (
        "mujoco",
        ("Ant", "HalfCheetah", "Hopper", "Humanoid", "InvertedDoublePendulum", "InvertedPendulum", "Pusher", "Reacher",
         "Swimmer", "Walker2d"),
    ),
}  # fmt: skip
"""Extra → the module that it installs, and Gymnasium's environments that need it.

By name, as Gymnasium itself takes half a second to load."""


@dataclass(frozen=True)
class PresetFacts:
    """A preset of the start screen.

    Attributes:
        sentence: its description.
        env: id of its environment.
        steps: of the whole run; 0 if the preset has no such number.
        seconds: how long it took where it was measured; None where it never was.
        machine: the one of that measurement.
        install: the command for what is missing here; empty if nothing is.
    """

    name: str
    sentence: str
    env: str
    steps: int
    seconds: float | None = None
    machine: str = ""
    install: str = ""


@dataclass(frozen=True)
class RunCourse:
    """The course of a run, from its record.

    Attributes:
        preset: that it was started with.
        returns: mean return after each update.
        steps_per_second: over the whole run; NaN while unknown.
    """

    preset: str
    returns: FloatArray
    steps_per_second: float


NO_COURSE = RunCourse("", np.empty(0), math.nan)


def preset_facts() -> list[PresetFacts]:
    """The shipped presets, quickest first, those of unknown duration last."""
    found = [_facts_of(name, sentence) for name, sentence in list_presets().items()]
    return sorted(found, key=lambda each: (bool(each.install), each.seconds or math.inf, each.steps))


def _facts_of(name: str, sentence: str) -> PresetFacts:
    try:
        tables = read_preset(preset_path(name))
    except PPOTuiError:
        return PresetFacts(name, sentence, "", 0)
    env, steps = str(tables.get("env", {}).get("id", "")), tables.get("run", {}).get("total_steps", 0)
    seconds, machine = _measured(name, steps)
    return PresetFacts(name, sentence, env, steps, seconds, machine, missing_extra(env))


def _measured(name: str, steps: int) -> tuple[float | None, str]:
    """Seconds of the measured runs of a preset, and their machine.

    None without a measurement of the whole run.
    """
    try:
        curve = read_curve(name)
    except (OSError, PPOTuiError):
        return None, ""
    if curve is None or curve.steps[-1] < 0.9 * steps:
        return None, ""
    return curve.seconds[-1], curve.machine


def missing_extra(env: str) -> str:
    """The command to install an extra needed by an environment.

    Empty if nothing is missing.
    """
    bare = env.rpartition("/")[2].partition("-v")[0]
    for extra, (module, names) in _EXTRAS.items():
        if bare in names and not is_installed(module):
            return install_command(extra)
    return ""


def courses(runs: Sequence[RunSummary]) -> Iterator[tuple[str, RunCourse]]:
    """Path and course of each run, one after the other."""
    for run in runs:
        yield run.path, _course_of(run)


def _course_of(run: RunSummary) -> RunCourse:
    directory = RunDirectory(Path(run.path))
    preset = str(directory.read().get("preset") or "")
    try:
        metrics = recorded_metrics(directory)
    except (OSError, PPOTuiError):
        return RunCourse(preset, np.empty(0), math.nan)
    steps, seconds = metrics.get(STEP_KEY), metrics.get(ELAPSED_KEY)
    pace = math.nan
    if steps is not None and seconds is not None and len(steps) >= _FEWEST_UPDATES and seconds.last > 0:
        pace = steps.last / seconds.last
    returns = metrics[MEAN_RETURN].values if MEAN_RETURN in metrics else np.empty(0)
    return RunCourse(preset, returns, pace)


def duration(preset: PresetFacts, known: Mapping[str, RunCourse]) -> str:
    """The duration of a preset, by an earlier run or its measurement.

    Args:
        known: courses of the runs here by path, the newest run first.
    """
    for course in known.values():
        if course.preset == preset.name and course.steps_per_second > 0 and preset.steps:
            return f"about {formats.about(preset.steps / course.steps_per_second)} here"
    return f"about {formats.about(preset.seconds)}" if preset.seconds else ""
