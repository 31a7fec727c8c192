"""Live settings, under their schedules and edits. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..config import LIVE_FIELDS, Config, check_start, course_of, get_value, is_rule, schedule_of
from ..ppo.schedules import Schedule
from ..protocol import Course
from .checkpoint.files import SavedSchedule

if TYPE_CHECKING:
    from ..ppo import Hyperparameters


class LiveSettings:
    """Current values of the live settings, under their schedules and edits.

    An edited value holds exactly from the edit on; its schedule brings it from there to the final value.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._schedules = {key: _make_schedule(config, key) for key in LIVE_FIELDS}

    def current(self, key: str, step: int) -> Any:
        """The value of `key` at this step of the run."""
        return self._schedules[key].at(step)

    def edit(self, key: str, value: Any, step: int) -> Any:
        """Set `key` to `value` from `step` on and return its old value.

        Raises:
            ConfigError: its schedule cannot begin at `value`.
        """
        check_start(schedule_of(self._config, key), key, value)
        old = self.current(key, step)
        self._schedules[key] = self._schedules[key].edited(value, step)
        return old

    def course(self, key: str, step: int) -> Course | None:
        """The course of `key` after an edit at `step`, if any."""
        return course_of(schedule_of(self._config, key), self._config.planned_steps, step, edited=step > 0)

    def hyperparameters(self, step: int) -> Hyperparameters:
        """The live settings of the learner."""
        from ..ppo import Hyperparameters

        keys = (key for key in self._schedules if not is_rule(key))
        return Hyperparameters(**{key.partition(".")[2]: self.current(key, step) for key in keys})

    def save(self) -> dict[str, SavedSchedule]:
        """All live settings with their schedules, for a checkpoint."""
        planned = self._config.planned_steps
        return {
            key: SavedSchedule(value=schedule.value, since=schedule.since / planned)
            for key, schedule in self._schedules.items()
        }

    def restore(self, saved: Mapping[str, SavedSchedule], *, planned_steps: int) -> None:
        """Restore settings from `save`.

        The schedules are those of the present configuration. An edit stays at the step at which it was made.

        Args:
            planned_steps: of the saved run.
        """
        for key in self._schedules.keys() & saved.keys():
            since = round(saved[key].since * planned_steps)
            self._schedules[key] = self._schedules[key].edited(saved[key].value, since)


def _make_schedule(config: Config, key: str) -> Schedule:
    schedule = schedule_of(config, key)
    return Schedule(
        value=get_value(config, key),
        kind=schedule.kind,
        final=schedule.final,
        warmup_steps=schedule.warmup_steps,
        steps=schedule.steps or config.planned_steps,
    )
