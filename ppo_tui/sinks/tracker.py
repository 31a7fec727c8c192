"""Experiment trackers: TensorBoard, Weights & Biases and MLflow, a module each."""

from __future__ import annotations

import math
import queue
import threading
from typing import Any, Protocol

from ..config import PRIVATE_SECTIONS, Config, flat_settings
from ..errors import ConfigError
from ..extras import install_command, is_installed
from ..protocol import Evaluated, Event, Rewound, RunFinished, RunResumed, RunStarted, SettingChanged, UpdateFinished
from ..runs import RunDirectory
from .wording import describe

PACKAGES = {"tensorboard": "tensorboard", "wandb": "wandb", "mlflow": "mlflow"}


END_SECONDS = 30.0
"""Time for a tracker to take what still waits at the end of a run."""

MOST_WAITING = 20_000
"""Events kept for a tracker that is slow or silent."""


class Tracker(Protocol):
    """One tracker, called on a thread of its own.

    An exception detaches it and never ends the run.
    """

    def begin(self, name: str, settings: dict[str, Any]) -> dict[str, str]:
        """Begin the run `name`, with its settings by dotted name.

        Their values are numbers, texts and booleans.

        Returns:
            Facts to be kept in ``run.json``.
        """
        ...

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


_Tracked = RunStarted | RunResumed | Rewound | UpdateFinished | Evaluated | SettingChanged | RunFinished


class TrackingSink:
    """Passes events on to a `Tracker`, by a thread.

    A server that is slow, or is down and retried for minutes, delays neither training nor signals nor the end of the
    process. Its class has the tracker's name, so that the alarm about a failure names it.

    Attributes:
        libraries: packages whose threads work for the tracker.
    """

    def __init__(self, tracker: Tracker, run_dir: RunDirectory) -> None:
        self._tracker, self._run_dir = tracker, run_dir
        name = type(tracker).__name__
        self.libraries = (PACKAGES[name.lower()],)
        self._events: queue.Queue[_Tracked | None] = queue.Queue(MOST_WAITING)
        self._thread = threading.Thread(target=self._pass_all_on, name=name, daemon=True)
        self._facts: dict[str, str] = {}
        self._failure: BaseException | None = None

    def emit(self, event: Event) -> None:
        """Take an event.

        Raises:
            TimeoutError: the tracker does not answer.
            BaseException: what the tracker has raised, whatever it is; it gets no event after that.
        """
        if not isinstance(event, _Tracked):
            return
        if isinstance(event, RunStarted):
            self._thread.start()
        self._check()
        try:
            self._events.put_nowait(event)
        except queue.Full:
            raise TimeoutError(f"no answer: {MOST_WAITING:,} events wait") from None
        if isinstance(event, RunFinished):
            self._events.put(None)
            self._thread.join(END_SECONDS)
            self._check()
            if self._thread.is_alive():
                raise TimeoutError(f"no answer within {END_SECONDS:g} s")

    def _check(self) -> None:
        """Keep new facts; raise the exception of the tracker.

        ``run.json`` belongs to the training thread.
        """
        if self._facts:
            facts, self._facts = self._facts, {}
            self._run_dir.update(**facts)
        if self._failure is not None:
            raise self._failure

    def _pass_all_on(self) -> None:
        try:
            while (event := self._events.get()) is not None:
                self._pass_on(event)
        except BaseException as error:
            self._failure = error

    def _pass_on(self, event: _Tracked) -> None:
        match event:
            case RunStarted():
                self._facts = self._tracker.begin(event.run, trackable_settings(event.config))
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
        if asked[name] and not is_installed(package):
            value = getattr(tracking, name)
            raise ConfigError(
                f"tracking.{name} = {str(value).lower() if value is True else repr(value)}: {package} is not installed",
                hint=install_command(name),
            )


def tracking_sinks(config: Config, run_dir: RunDirectory) -> list[TrackingSink]:
    """A sink for each tracker in `config`.

    No package is loaded before the run begins.
    """
    tracking = config.tracking
    trackers: list[Tracker] = []
    wanted = tracking.tensorboard
    if wanted is True or (wanted == "auto" and is_installed(PACKAGES["tensorboard"])):
        from .tensorboard import TensorBoard

        trackers.append(TensorBoard(run_dir))
    if tracking.wandb != "off":
        from .wandb import WandB

        trackers.append(WandB(run_dir, mode=tracking.wandb, project=tracking.project))
    if tracking.mlflow != "off":
        from .mlflow import MLflow

        trackers.append(MLflow(run_dir, uri=tracking.mlflow, experiment=tracking.project))
    return [_sink(tracker, run_dir) for tracker in trackers]


def trackable_settings(tables: dict[str, Any]) -> dict[str, Any]:
    """The settings by dotted name: lists as texts, and without private sections."""
    return {
        key: value if isinstance(value, bool | int | float | str) else str(value)
        for key, value in flat_settings(tables)
        if key.partition(".")[0] not in PRIVATE_SECTIONS
    }


def _sink(tracker: Tracker, run_dir: RunDirectory) -> TrackingSink:
    return type(type(tracker).__name__, (TrackingSink,), {})(tracker, run_dir)
