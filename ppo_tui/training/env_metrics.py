"""Metrics ``env/…`` of the numbers in environments' infos.

Each number is averaged over the steps of a rollout, and over the ends of the newest episodes.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence

import msgspec
import numpy as np

from ..envs.numbers import MOST_NUMBERS, read_names
from ..workers.shared_memory import SharedArrays
from ..workers.sizing import env_slices
from .checkpoint.files import SavedEnvMetrics

EPISODE_WINDOW = 100
"""Episodes in the means of returns, lengths and numbers at their ends, as in Stable-Baselines3."""

SUCCESS = "is_success"
"""The number that Stable-Baselines3 averages as ``rollout/success_rate``."""


class StepSum(msgspec.Struct, frozen=True, array_like=True):
    """A number over steps.

    Attributes:
        inside: some of the steps were not the last one of an episode.
    """

    total: float
    count: int
    inside: bool

    def __add__(self, other: StepSum) -> StepSum:
        return StepSum(self.total + other.total, self.count + other.count, self.inside or other.inside)


class RolloutNumbers(msgspec.Struct, frozen=True):
    """The numbers of a rollout.

    Attributes:
        sums: by name.
        left_out: a name that found no column, or nothing.
    """

    sums: dict[str, StepSum]
    left_out: str


def merged(parts: Iterable[RolloutNumbers]) -> RolloutNumbers:
    """The numbers of several workers' or ranks' rollouts together."""
    sums: dict[str, StepSum] = {}
    left_out = ""
    for part in parts:
        left_out = left_out or part.left_out
        for name, of_part in part.sums.items():
            sums[name] = sums[name] + of_part if name in sums else of_part
    return RolloutNumbers(sums, left_out)


def sum_up(shared: SharedArrays, rows: slice) -> RolloutNumbers:
    """Sum up the numbers in these rows of the shared memory.

    The sums are equal to the last bit however the environments are split among workers.
    """
    parts: dict[str, list[float]] = {}
    counts: dict[str, int] = {}
    inside: dict[str, bool] = {}
    left_out = ""
    workers = len(shared.number_names)
    for names, envs in zip(shared.number_names, env_slices(shared.numbers.shape[1], workers), strict=True):
        left_out = left_out or names[-1].decode(errors="replace")
        columns = read_names(names)
        if not columns:
            continue
        # [n, k, T]: each environment's steps in a row, whose sum depends on them alone
        values = np.ascontiguousarray(shared.numbers[rows, envs, : len(columns)].transpose(1, 2, 0))
        finite = np.isfinite(values)
        sums = np.where(finite, values, 0.0).sum(axis=-1)
        within = finite & (shared.episode_lengths[rows, envs].T == 0)[:, None, :]
        of_columns = finite.sum(axis=(0, 2)).tolist(), within.any(axis=(0, 2)).tolist()
        for column, (name, count, some_inside) in enumerate(zip(columns, *of_columns, strict=True)):
            if count:
                parts.setdefault(name, []).extend(sums[:, column].tolist())
                counts[name] = counts.get(name, 0) + count
                inside[name] = inside.get(name, False) or some_inside
    totals = {name: _exact_sum(numbers) for name, numbers in parts.items()}
    return RolloutNumbers(
        {name: StepSum(total, counts[name], inside[name]) for name, total in totals.items()}, left_out
    )


def _exact_sum(numbers: Sequence[float]) -> float:
    """The sum, whatever the order; infinite beyond all floats."""
    try:
        return math.fsum(numbers)
    except (OverflowError, ValueError):
        return sum(numbers)


def numbers_at(shared: SharedArrays, row: int, env: int) -> dict[str, float]:
    """The finite numbers of an environment in a row."""
    slices = env_slices(shared.numbers.shape[1], len(shared.number_names))
    worker = next(index for index, envs in enumerate(slices) if envs.start <= env < envs.stop)
    values = shared.numbers[row, env].tolist()
    names = read_names(shared.number_names[worker])
    return {name: value for name, value in zip(names, values, strict=False) if math.isfinite(value)}


class EnvMetrics:
    """The metrics of the environments' numbers, rollout after rollout.

    The first `MOST_NUMBERS` names of the run become metrics; of those that come in one rollout the first in the
    alphabet. A name that comes in the last steps of episodes alone has no mean over steps.
    """

    def __init__(self) -> None:
        self._names: dict[str, bool] = {}  # → whether it came in a step inside an episode
        self._means: dict[str, float] = {}
        self._ends: dict[str, deque[float]] = {}
        self._reported = False

    @property
    def names(self) -> list[str]:
        """The names of the metrics, in the order of their coming."""
        return list(self._names)

    def add(self, rollout: RolloutNumbers, episodes: Iterable[Mapping[str, float]]) -> str:
        """Take in a rollout.

        Args:
            episodes: the last numbers of each episode that ended in it.

        Returns:
            A message if names have been left out for the first time, or nothing.
        """
        left_out = rollout.left_out
        for name in sorted(rollout.sums):
            if name not in self._names and len(self._names) >= MOST_NUMBERS:
                left_out = left_out or name
            else:
                self._names[name] = self._names.get(name, False) or rollout.sums[name].inside
        self._means = {
            name: mean
            for name in self._names
            if self._names[name]
            and (of_steps := rollout.sums.get(name))
            and math.isfinite(mean := of_steps.total / of_steps.count)
        }
        for numbers in episodes:
            for name in numbers.keys() & self._names.keys():
                self._ends.setdefault(name, deque(maxlen=EPISODE_WINDOW)).append(numbers[name])
        if not left_out or self._reported:
            return ""
        self._reported = True
        return (
            f"the environments' infos have more than {MOST_NUMBERS} numbers: the first {MOST_NUMBERS} are metrics "
            f"(env/…), {left_out!r} and others are not"
        )

    def metrics(self) -> dict[str, float]:
        """The metrics of the newest rollout and of the newest episodes."""
        found: dict[str, float] = {}
        for name in self._names:
            if name in self._means:
                found[f"env/{name}"] = self._means[name]
            if name in self._ends and math.isfinite(mean := _mean(self._ends[name])):
                found[f"env/end/{name}"] = mean
                if name == SUCCESS:
                    found["rollout/success_rate"] = mean
        return found

    def save(self) -> SavedEnvMetrics:
        return SavedEnvMetrics(
            names=dict(self._names),
            means=dict(self._means),
            ends={name: tuple(values) for name, values in self._ends.items()},
            reported=self._reported,
        )

    def restore(self, saved: SavedEnvMetrics | None) -> None:
        """Restore a state from `save`, or no names from None."""
        saved = saved or SavedEnvMetrics(names={}, means={}, ends={}, reported=False)
        self._names, self._means, self._reported = dict(saved.names), dict(saved.means), saved.reported
        self._ends = {name: deque(values, maxlen=EPISODE_WINDOW) for name, values in saved.ends.items()}


def _mean(values: Sequence[float] | deque[float]) -> float:
    return sum(values) / len(values)
