"""The configuration of a run.

Settings (`schema`), valid combinations (`combinations`), changes while a run trains (`live`), sources (`loading`,
`presets`).
"""

from .combinations import check_config, check_edit
from .live import LIVE_FIELDS, Live, LiveField, find_live_key, parse_live_value
from .loading import (
    PRIVATE_SECTIONS,
    apply_overrides,
    build_config,
    complete_older,
    flat_settings,
    to_tables,
    to_toml,
)
from .presets import (
    list_presets,
    load_preset,
    names_outsiders,
    preset_path,
    read_preset,
    read_preset_text,
    refuse_outsiders,
)
from .schema import (
    AtariConfig,
    Config,
    EnvConfig,
    EvalConfig,
    NotifyConfig,
    OnResume,
    OptimConfig,
    PolicyConfig,
    PPOConfig,
    RolloutConfig,
    RunConfig,
    TrackingConfig,
    WorkersConfig,
    all_settings,
    is_atari,
)
from .values import get_value, replace_value

__all__ = [
    "LIVE_FIELDS",
    "PRIVATE_SECTIONS",
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
    "TrackingConfig",
    "WorkersConfig",
    "all_settings",
    "apply_overrides",
    "build_config",
    "check_config",
    "check_edit",
    "complete_older",
    "find_live_key",
    "flat_settings",
    "get_value",
    "is_atari",
    "list_presets",
    "load_preset",
    "names_outsiders",
    "parse_live_value",
    "preset_path",
    "read_preset",
    "read_preset_text",
    "refuse_outsiders",
    "replace_value",
    "to_tables",
    "to_toml",
]
