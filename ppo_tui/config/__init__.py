"""The configuration of a run.

Settings (`schema`), valid combinations (`combinations`), changes while a run trains (`live`), sources (`loading`,
`presets`).
"""

from .collecting import AtariConfig, EnvConfig, RolloutConfig, WorkersConfig, is_atari
from .combinations import check_config, check_edit
from .declaring import OnResume
from .learning import OptimConfig, PolicyConfig, PPOConfig, ScheduleConfig
from .live import LIVE_FIELDS, Live, LiveField, find_live_key, parse_live_value
from .loading import (
    PRIVATE_SECTIONS,
    apply_overrides,
    build_config,
    complete_older,
    flat_settings,
    override_key,
    to_tables,
    to_toml,
)
from .presets import (
    list_presets,
    load_preset,
    names_outsiders,
    preset_label,
    preset_path,
    read_preset,
    read_preset_text,
    refuse_outsiders,
)
from .running import EvalConfig, NotifyConfig, RunConfig, TrackingConfig
from .schedules import (
    SCHEDULED,
    SCHEDULES,
    check_start,
    course_of,
    follows_the_run,
    read_schedule,
    schedule_key,
    schedule_of,
)
from .schema import Config, all_settings, full_name, short_names
from .stopping import StopConfig, is_rule, until_overrides
from .values import get_value, replace_value

__all__ = [
    "LIVE_FIELDS",
    "PRIVATE_SECTIONS",
    "SCHEDULED",
    "SCHEDULES",
    "AtariConfig",
    "Config",
    "EnvConfig",
    "EvalConfig",
    "Live",
    "LiveField",
    "NotifyConfig",
    "OnResume",
    "OptimConfig",
    "PPOConfig",
    "PolicyConfig",
    "RolloutConfig",
    "RunConfig",
    "ScheduleConfig",
    "StopConfig",
    "TrackingConfig",
    "WorkersConfig",
    "all_settings",
    "apply_overrides",
    "build_config",
    "check_config",
    "check_edit",
    "check_start",
    "complete_older",
    "course_of",
    "find_live_key",
    "flat_settings",
    "follows_the_run",
    "full_name",
    "get_value",
    "is_atari",
    "is_rule",
    "list_presets",
    "load_preset",
    "names_outsiders",
    "override_key",
    "parse_live_value",
    "preset_label",
    "preset_path",
    "read_preset",
    "read_preset_text",
    "read_schedule",
    "refuse_outsiders",
    "replace_value",
    "schedule_key",
    "schedule_of",
    "short_names",
    "to_tables",
    "to_toml",
    "until_overrides",
]
