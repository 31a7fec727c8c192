"""Scheduled settings, their schedules, and the course of each."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec

from ..errors import ConfigError
from ..protocol import Course
from .learning import ScheduleConfig
from .schema import Config
from .values import get_value

SCHEDULED = (
    "optim.learning_rate",
    "ppo.clip_range",
    "ppo.clip_range_upper",
    "ppo.value_coef",
    "ppo.entropy_coef",
)
"""Live settings with a schedule, which is another setting."""

EFFECTIVE_METRICS = {f"train/{key.partition('.')[2]}": key for key in SCHEDULED}
"""Metric with the value in force → its setting."""


def schedule_key(key: str) -> str:
    """The setting with the schedule of `key`; both clip ranges have one."""
    return f"{key.removesuffix('_upper')}_schedule"


SCHEDULES = tuple(dict.fromkeys(map(schedule_key, SCHEDULED)))
"""The settings with the schedules of `SCHEDULED`."""


def schedule_of(config: Config, key: str) -> ScheduleConfig:
    """The schedule of a live setting; constant without one."""
    return ScheduleConfig.of(get_value(config, schedule_key(key)) if key in SCHEDULED else "constant")


def read_schedule(value: Any) -> ScheduleConfig:
    """The schedule of an unchecked value, perhaps of another version.

    Constant if it is none.
    """
    if isinstance(value, dict):
        with contextlib.suppress(msgspec.ValidationError):
            return msgspec.convert(value, ScheduleConfig)
    return ScheduleConfig.of(value if isinstance(value, str) else "constant")


def follows_the_run(config: Config, key: str) -> bool:
    """Whether the setting's schedule ends with the run."""
    schedule = schedule_of(config, key)
    return schedule.kind != "constant" and schedule.steps is None


def check_start(schedule: ScheduleConfig, key: str, value: Any) -> None:
    """Refuse to begin this schedule at `value` of a live setting.

    Raises:
        ConfigError: an exponential schedule would begin at 0.
    """
    if schedule.kind == "exponential" and value == 0:
        raise ConfigError(
            f"{key} = 0: an exponential schedule multiplies, and never leaves 0",
            hint=f"use a value above 0, or another {schedule_key(key)}",
        )


def course_of(schedule: ScheduleConfig, total_steps: int, step: int, *, edited: bool = False) -> Course | None:
    """The course of a setting with this schedule, from `step` on.

    None if it stays as it is.

    Args:
        total_steps: of the run.
        edited: whether the value was set at a step before, or at this one: an edit ends the warm-up.
    """
    end = schedule.steps or total_steps
    warm = schedule.warmup_steps if step < schedule.warmup_steps and not edited else 0
    kind = schedule.kind if max(step, warm) < end else "constant"
    if kind == "constant" and not warm:
        return None
    return Course(kind=kind, final=schedule.final, end=end, warmup_steps=warm)
