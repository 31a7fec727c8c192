"""Experiment trackers: TensorBoard, Weights & Biases and MLflow, a module each."""

from __future__ import annotations

import importlib.util
import math
from typing import Any, Protocol

from ..config import PRIVATE_SECTIONS, Config, flat_settings
from ..errors import ConfigError
from ..protocol import Evaluated, Event, Rewound, RunFinished, RunResumed, RunStarted, SettingChanged, UpdateFinished
from ..runs import RunDirectory
from .wording import describe

PACKAGES = {"tensorboard": "tensorboard", "wandb": "wandb", "mlflow": "mlflow"}


class Tracker(Protocol):
    """One tracker. An exception detaches it and never ends the run."""

    def begin(self, name: str, settings: dict[str, Any]) -> None:
        """Begin the run `name`, with its settings by dotted name.

        Their values are numbers, texts and booleans.
        """

    def continue_from(self, step: int) -> None:
        """Continue after `step`; points of later steps are abandoned."""

    def log(self, metrics: dict[str, float], step: int, time: float) -> None:
        """Log the finite metrics of an update or an evaluation.

        `time` is in seconds since the Unix epoch.
        """

    def log_setting(self, text: str, step: int, time: float) -> None:
        """Log a change of a setting, in words."""

    def end(self, exit_code: int) -> None:
        """End the run."""


class TrackingSink:
    """Passes events on to a `Tracker`.

    Its class has the tracker's name, so that the alarm about a failure names it.
    """

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker

    def emit(self, event: Event) -> None:
        match event:
            case RunStarted():
                self._tracker.begin(event.run, trackable_settings(event.config))
            case RunResumed() | Rewound():
                self._tracker.continue_from(event.step)
            case UpdateFinished() | Evaluated():
                values = {
                    key: value for key, value in event.metrics.items() if value is not None and math.isfinite(value)
                }
                self._tracker.log(values, event.step, event.time)
            case SettingChanged():
                self._tracker.log_setting(describe(event) or "", event.step, event.time)
            case RunFinished():
                self._tracker.end(event.exit_code)


def check_tracking(config: Config) -> None:
    """Refuse trackers without their package.

    Raises:
        ConfigError: a package is not installed; the message names it.
    """
    tracking = config.tracking
    asked = {
        "tensorboard": tracking.tensorboard is True,
        "wandb": tracking.wandb != "off",
        "mlflow": tracking.mlflow != "off",
    }
    for name, package in PACKAGES.items():
        if asked[name] and importlib.util.find_spec(package) is None:
            value = getattr(tracking, name)
            raise ConfigError(
                f"tracking.{name} = {str(value).lower() if value is True else repr(value)}: {package} is not installed",
                hint=f"pip install 'ppo-tui[{name}]'",
            )


def tracking_sinks(config: Config, run_dir: RunDirectory) -> list[TrackingSink]:
    """A sink for each tracker in `config`.

    No package is loaded before the run begins.
    """
    tracking = config.tracking
    trackers: list[Tracker] = []
    wanted = tracking.tensorboard
    if wanted is True or (wanted == "auto" and importlib.util.find_spec(PACKAGES["tensorboard"]) is not None):
        from .tensorboard import TensorBoard

        trackers.append(TensorBoard(run_dir))
    if tracking.wandb != "off":
        from .wandb import WandB

        trackers.append(WandB(run_dir, mode=tracking.wandb, project=tracking.project))
    if tracking.mlflow != "off":
        from .mlflow import MLflow

        trackers.append(MLflow(run_dir, uri=tracking.mlflow, experiment=tracking.project))
    return [_sink(tracker) for tracker in trackers]


def trackable_settings(tables: dict[str, Any]) -> dict[str, Any]:
    """The settings by dotted name: lists as texts, and without private sections."""
    return {
        key: value if isinstance(value, bool | int | float | str) else str(value)
        for key, value in flat_settings(tables)
        if key.partition(".")[0] not in PRIVATE_SECTIONS
    }


def _sink(tracker: Tracker) -> TrackingSink:
    return type(type(tracker).__name__, (TrackingSink,), {})(tracker)
