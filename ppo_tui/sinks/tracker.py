"""What programs that keep track of runs are told. Each has a module of its own, and its own library."""

from __future__ import annotations

import importlib.util
import math
from typing import Any, Protocol

from ..config import PRIVATE_SECTIONS, Config, flat_settings
from ..errors import ConfigError
from ..protocol import Event, Rewound, RunFinished, RunResumed, RunStarted, SettingChanged, UpdateFinished
from ..runs import RunDirectory

PACKAGES = {"tensorboard": "tensorboard", "wandb": "wandb", "mlflow": "mlflow"}


class Tracker(Protocol):
    """One such program; whatever its methods raise ends its part in the run, and never the run."""

    def begin(self, run: str, settings: dict[str, Any]) -> None:
        """The run begins, with these settings by dotted name: numbers, texts and truths."""

    def stand_at(self, step: int) -> None:
        """What comes next follows `step`; what was told of later ones is void."""

    def log(self, metrics: dict[str, float], step: int, time: float) -> None:
        """The finite metrics of an update, at `time` in seconds since the Unix epoch."""

    def note(self, text: str, step: int, time: float) -> None:
        """A change of settings, in words."""

    def end(self, exit_code: int) -> None:
        """The run is over."""


class TrackingSink:
    """Folds the events into what a `Tracker` wants to know.

    Its class has the tracker's name, so that the alarm about one that fails names it.
    """

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker

    def emit(self, event: Event) -> None:
        match event:
            case RunStarted():
                self._tracker.begin(event.run, trackable_settings(event.config))
            case RunResumed() | Rewound():
                self._tracker.stand_at(event.step)
            case UpdateFinished():
                values = {key: value for key, value in event.metrics.items() if _is_finite(value)}
                self._tracker.log(values, event.step, event.time)
            case SettingChanged():
                self._tracker.note(f"{event.key}: {event.old} → {event.new}, by {event.by}", event.step, event.time)
            case RunFinished():
                self._tracker.end(event.exit_code)


def check_tracking(config: Config) -> None:
    """Refuse a run that asks for a program which is not installed.

    Raises:
        ConfigError: naming it.
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


def tracking_sinks(config: Config, run: RunDirectory) -> list[TrackingSink]:
    """A sink for each program that `config` asks for; nothing is loaded before the run begins."""
    tracking, sinks = config.tracking, []
    wanted = tracking.tensorboard
    if wanted is True or (wanted == "auto" and importlib.util.find_spec(PACKAGES["tensorboard"]) is not None):
        from .tensorboard import TensorBoard

        sinks.append(TensorBoard(run))
    if tracking.wandb != "off":
        from .wandb import WandB

        sinks.append(WandB(run, mode=tracking.wandb, project=tracking.project))
    if tracking.mlflow != "off":
        from .mlflow import MLflow

        sinks.append(MLflow(run, uri=tracking.mlflow, experiment=tracking.project))
    return [_sink(tracker) for tracker in sinks]


def trackable_settings(tables: dict[str, Any]) -> dict[str, Any]:
    """The settings by dotted name: lists as texts, and no addresses."""
    return {
        key: value if isinstance(value, bool | int | float | str) else str(value)
        for key, value in flat_settings(tables)
        if key.partition(".")[0] not in PRIVATE_SECTIONS
    }


def _sink(tracker: Tracker) -> TrackingSink:
    return type(type(tracker).__name__, (TrackingSink,), {})(tracker)


def _is_finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
