"""Values by the dotted names of their settings, and as messages show them."""

from __future__ import annotations

from typing import Any

import msgspec

from .schema import Config


def get_value(config: Config, dotted: str) -> Any:
    """The value of the field with this dotted name."""
    value: Any = config
    for part in dotted.split("."):
        value = getattr(value, part)
    return value


def replace_value(config: Config, dotted: str, value: Any) -> Config:
    """A copy of `config` in which ``section.field`` is `value`, which must have been checked."""
    section, field = dotted.split(".")
    return msgspec.structs.replace(
        config, **{section: msgspec.structs.replace(getattr(config, section), **{field: value})}
    )


def show(value: Any) -> str:
    """`value` as TOML would write it, short and without control characters."""
    text = {True: "true", False: "false"}[value] if isinstance(value, bool) else repr(value)
    return text if len(text) <= 80 else text[:77] + "…"


def show_key(key: str) -> str:
    """A name as the user wrote it, likewise."""
    return repr(key) if len(key) <= 80 else repr(key[:77]) + "…"
