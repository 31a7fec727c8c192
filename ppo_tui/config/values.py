"""Values by dotted names, and their form in messages."""

from __future__ import annotations

from typing import Any

import msgspec

from .learning import ScheduleConfig
from .schema import Config


def get_value(config: Config, dotted: str) -> Any:
    """The value of the setting with this dotted name."""
    value: Any = config
    for part in dotted.split("."):
        if isinstance(value, str):  # the name of a schedule, which stands for a table
            value = ScheduleConfig.of(value)
        value = getattr(value, part)
    return value


def replace_value(config: Config, dotted: str, value: Any) -> Config:
    """A copy of `config` with ``section.field`` set to a checked `value`."""
    section, field = dotted.split(".")
    return msgspec.structs.replace(
        config, **{section: msgspec.structs.replace(getattr(config, section), **{field: value})}
    )


def show(value: Any) -> str:
    """`value` as in TOML, short and without control characters."""
    text = {True: "true", False: "false"}[value] if isinstance(value, bool) else repr(value)
    return text if len(text) <= 80 else text[:77] + "…"


def show_key(key: str) -> str:
    """A name as the user wrote it, short and without control characters."""
    return repr(key) if len(key) <= 80 else repr(key[:77]) + "…"
