"""A run opened from Python: its record as arrays, events and policies.

Reading touches nothing, and a run that is being trained is none the wiser.
"""

from __future__ import annotations

import contextlib
import importlib
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, overload

import numpy as np
import numpy.typing as npt

from ..config import Config
from ..directories import opened
from ..errors import DamagedRunError, PPOTuiError, UsageError, did_you_mean
from ..plotting.series import FloatArray, Series
from ..protocol import EpisodeFinished, Event, Rewound
from ..training.checkpoint.files import list_checkpoints
from .directory import RUNS_DIR, RunDirectory
from .entries import CHECKPOINTS, METRICS_FILE
from .history import recorded_events, recorded_metrics
from .registry import LATEST, Place, RunSummary, find_run, summarise_at
from .select import find_checkpoint, saved_config

if TYPE_CHECKING:
    from ..ppo import ActorCritic

SomeEvent = TypeVar("SomeEvent", bound=Event)


def open_run(run: str | Path, *, runs_dir: str | Path = RUNS_DIR) -> Run:
    """Open a run for reading: live, ended or damaged.

    Args:
        run: its name below `runs_dir`, its directory, or ``latest``.

    Raises:
        UsageError: there is no such run; the message names the nearest.
    """
    return Run(find_run(run, runs_dir=Path(runs_dir)))


class Curve(NamedTuple):
    """A metric over environment steps.

    Attributes:
        steps: never decreasing, float64 `[n]`.
        values: NaN for gaps, float64 `[n]`.
    """

    steps: FloatArray
    values: FloatArray


class Metrics(Mapping[str, Curve]):
    """The metrics of a run by key, without abandoned parts of rewinds.

    Those of updates have a value for each update; those of evaluations, ``eval/…``, one for each evaluation.
    """

    def __init__(self, curves: Mapping[str, Series]) -> None:
        self._curves = {key: Curve(series.steps, series.values) for key, series in curves.items()}

    def __getitem__(self, key: str) -> Curve:
        if key not in self._curves:
            raise KeyError(f"{key!r}: {did_you_mean(key, self._curves, otherwise='the run has no such metric')}")
        return self._curves[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._curves)

    def __len__(self) -> int:
        return len(self._curves)

    def __contains__(self, key: object) -> bool:
        return key in self._curves

    def __repr__(self) -> str:
        return f"Metrics({', '.join(self._curves) or 'none yet'})"

    def to_pandas(self) -> Any:
        """A ``pandas.DataFrame``: a row for each step, a column for each key.

        NaN stands where a metric has no value at a step; of two values at one step the later one counts.

        Raises:
            UsageError: pandas is not installed.
        """
        try:
            pandas = importlib.import_module("pandas")
        except ImportError:
            raise UsageError("to_pandas: pandas is not installed", hint="pip install pandas") from None
        columns = {}
        for key, (steps, values) in self._curves.items():
            last = np.append(np.diff(steps) > 0, True) if len(steps) else np.zeros(0, bool)
            columns[key] = pandas.Series(values[last], index=steps[last].astype(np.int64))
        return pandas.DataFrame(columns).rename_axis("step")


class Episodes(NamedTuple):
    """Whole episodes of a training, in the order of their ends.

    Each array is `[n]`.

    Attributes:
        steps: environment steps of the run at the end.
        returns: raw, of the whole episode.
        lengths: agent steps.
        envs: number of the environment.
    """

    steps: npt.NDArray[np.int64]
    returns: FloatArray
    lengths: npt.NDArray[np.int64]
    envs: npt.NDArray[np.int64]


@dataclass(frozen=True)
class SavedCheckpoint:
    """A checkpoint of a run, by its manifest alone.

    Attributes:
        name: as `Run.policy` takes it.
        reason: for saving it, as in `ppo_tui.protocol.CheckpointSaved`.
        best: the run's best so far.
    """

    name: str
    path: Path
    step: int
    update: int
    reason: str
    best: bool


class Run:
    """A run on disk, read anew at each access.

    Args:
        directory: of the run.
    """

    def __init__(self, directory: RunDirectory) -> None:
        self._directory = directory
        self._metrics: tuple[object, Metrics] | None = None

    def __repr__(self) -> str:
        summary = self.summary
        return f"Run({summary.name!r}, {summary.state}, {summary.step:,} steps of {summary.env or 'an environment'})"

    @property
    def name(self) -> str:
        return self._directory.name

    @property
    def path(self) -> Path:
        """Its directory."""
        return self._directory.path

    @property
    def summary(self) -> RunSummary:
        """State, steps, returns and damage, as ``ppo-tui runs`` lists them.

        Raises:
            DamagedRunError: the run is gone.
        """
        if (summary := summarise_at(Place(self.path))) is None:
            raise DamagedRunError(f"{self.path} holds no run any more")
        return summary

    @property
    def facts(self) -> dict[str, Any]:
        """The content of ``run.json``, without damaged entries."""
        return self._directory.read()

    @property
    def config(self) -> Config:
        """The resolved configuration.

        Raises:
            DamagedRunError: neither ``config.toml`` nor a checkpoint has it.
        """
        try:
            return saved_config(self._directory)
        except (OSError, PPOTuiError) as error:
            raise self._damaged(error) from None

    @property
    def metrics(self) -> Metrics:
        """The metrics so far; of a live run, more at each access.

        Raises:
            DamagedRunError: they cannot be read.
        """
        try:
            with self._directory.reader() as directory:
                facts = directory.held.stat(METRICS_FILE)
                state = facts and (facts.st_ino, facts.st_size, facts.st_mtime_ns)
                if self._metrics is None or self._metrics[0] != state:
                    self._metrics = (state, Metrics(recorded_metrics(directory) if facts else {}))
        except (OSError, PPOTuiError) as error:
            raise self._damaged(error) from None
        return self._metrics[1]

    @overload
    def events(self) -> Iterator[Event]: ...
    @overload
    def events(self, *kinds: type[SomeEvent]) -> Iterator[SomeEvent]: ...
    def events(self, *kinds: type[Event]) -> Iterator[Event]:
        """The recorded events in order, of all `kinds` or of these alone.

        Damaged lines are left out.

        Raises:
            DamagedRunError: they cannot be read.
        """
        try:
            yield from (event for event in recorded_events(self._directory) if not kinds or isinstance(event, kinds))
        except (OSError, PPOTuiError) as error:
            raise self._damaged(error) from None

    @property
    def episodes(self) -> Episodes:
        """The episodes so far, without the abandoned ones of rewinds.

        Raises:
            DamagedRunError: they cannot be read.
        """
        found: list[tuple[int, float, int, int]] = []
        for event in self.events(EpisodeFinished, Rewound):
            if isinstance(event, Rewound):
                found = [episode for episode in found if episode[0] <= event.step]
            elif isinstance(event, EpisodeFinished):
                found.append((event.step, event.episode_return, event.length, event.env))
        steps, returns, lengths, envs = zip(*found, strict=True) if found else ((), (), (), ())
        return Episodes(
            np.array(steps, np.int64), np.array(returns, float), np.array(lengths, np.int64), np.array(envs, np.int64)
        )

    @property
    def checkpoints(self) -> tuple[SavedCheckpoint, ...]:
        """The checkpoints with a whole manifest, newest first."""
        best = None
        with contextlib.suppress(OSError), self._directory.opened() as directory:
            with contextlib.suppress(OSError, UsageError), opened(directory / CHECKPOINTS) as checkpoints:
                best = checkpoints.target("best")
            return tuple(
                SavedCheckpoint(path.name, path, manifest.step, manifest.update, manifest.reason, path.name == best)
                for path, manifest in list_checkpoints(directory / CHECKPOINTS)[0]
            )
        return ()

    def policy(self, checkpoint: str | int = LATEST, *, device: str = "cpu", allow_import: bool = False) -> ActorCritic:
        """Load the networks of a checkpoint; for use, see `ActorCritic.predict`.

        Args:
            checkpoint: ``latest`` for the newest whole one, ``best``, a step, or a name among `checkpoints`.
            device: of the networks, as in ``run.device``.
            allow_import: as for `load_policy`.

        Raises:
            UsageError: the run has no such checkpoint, or it is damaged.
            RunFailedError: no checkpoint of the run is whole.
            ConfigError: its environment is not installed here, or there is no such device.
        """
        from ..training.checkpoint.snapshot import policy_of

        chosen = find_checkpoint(str(self.path), str(checkpoint))
        for problem in chosen.skipped:
            warnings.warn(f"skipped: {problem}", stacklevel=2)
        return policy_of(chosen.checkpoint, device=device, allow_import=allow_import)

    def _damaged(self, error: Exception) -> DamagedRunError:
        return DamagedRunError(f"{self.path.name} is damaged: {error}")
