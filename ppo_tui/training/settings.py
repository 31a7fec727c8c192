"""The live hyper-parameters: their values now, under their schedules and edits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from ..config import LIVE_FIELDS, Config, get_value
from ..ppo import Hyperparameters, Schedule
from .checkpoint.state import SavedSchedule

_SCHEDULED = {
    "optim.learning_rate": "optim.learning_rate_schedule",
    "ppo.clip_range": "ppo.clip_range_schedule",
}
"""Live fields that may be annealed → the field that says how."""


def _kind(config: Config, key: str) -> Literal["constant", "linear"]:
    """How `key` is annealed; what follows the divergence is not: the learner starts from it, and adapts it."""
    return "linear" if key in _SCHEDULED and get_value(config, _SCHEDULED[key]) == "linear" else "constant"


class LiveSettings:
    """Current values of the live fields of a configuration.

    An edited value holds exactly from the edit on; where its schedule is linear, it is annealed from there to 0.
    """

    def __init__(self, config: Config) -> None:
        self._schedules = {
            key: Schedule(
                value=get_value(config, key),
                kind=_kind(config, key),
            )
            for key in LIVE_FIELDS
        }

    def current(self, key: str, progress: float) -> Any:
        """The value of `key` when a share `progress` (0..1) of the run is done."""
        return self._schedules[key].at(progress)

    def edit(self, key: str, value: Any, progress: float) -> Any:
        """Set `key` to `value` from `progress` on and return what it was until now."""
        old = self.current(key, progress)
        self._schedules[key] = self._schedules[key].edited(value, progress)
        return old

    def hyperparameters(self, progress: float) -> Hyperparameters:
        """All of them, as the learner wants them."""
        return Hyperparameters(**{key.partition(".")[2]: self.current(key, progress) for key in self._schedules})

    def save(self) -> dict[str, SavedSchedule]:
        """All of them with their schedules, for a checkpoint."""
        return {
            key: SavedSchedule(value=schedule.value, since=schedule.since) for key, schedule in self._schedules.items()
        }

    def restore(self, saved: Mapping[str, SavedSchedule], *, stretch: float = 1.0) -> None:
        """Stand where `save` was called. How a setting is annealed is up to the configuration now.

        Args:
            stretch: planned steps of the saved run over those of this one. An edit stays at the step at which it was
                made; the annealing, from there or from the start, ends with the run as it is planned now.
        """
        for key in self._schedules.keys() & saved.keys():
            since = min(saved[key].since * stretch, 1.0)
            self._schedules[key] = self._schedules[key].edited(saved[key].value, since)
