"""From nested tables to a checked `Config`, and back to TOML.

Every error names the dotted setting and its value.
"""

from __future__ import annotations

import json
import math
import re
import types
import typing
from collections.abc import Iterable, Iterator
from typing import Any, Literal, TypeVar

import msgspec

from ..errors import ConfigError, UsageError, did_you_mean, nearest
from ..files import MOST_KEYS, RefusedFileError, parse_toml
from .collecting import AtariConfig, is_atari
from .combinations import check_config
from .learning import ScheduleConfig
from .schedules import SCHEDULES, read_schedule
from .schema import Config, all_settings, full_name, nested_section, section_fields, short_names
from .stopping import check_duration, read_duration
from .values import show, show_key

S = TypeVar("S", bound=msgspec.Struct)

PRIVATE_SECTIONS = ("notify",)
"""Sections that are never shown or sent elsewhere: their addresses may hold secrets."""

_RENAMED = {"run.doctor": "run.diagnostics"}
"""Former name → name of settings. Presets, checkpoints and the ``config.toml`` of runs may have either."""

_NONE_WORDS = ("none", "off")
"""Texts for None, which TOML has not, where a setting may have it and takes no other text."""

_FLOAT = re.compile(r"-?\d+\.\d+")
"""A bound in a message of msgspec's."""

_PLAIN_TYPES = {
    "`int | str`": "a whole number or a name",
    "`bool | str`": "true, false or a name",
    "`int | null`": "a whole number",
    "`float | null`": "a number",
    "`float | str | null`": "a number or a name",
    "`str | null`": "a text",
    "`int`": "a whole number",
    "`float`": "a number",
    "`bool`": "true or false",
    "`str`": "a text",
    "`str | object`": "a name or a table",
    "`array`": "a list",
    "`object`": "a table",
}


def build_config(data: dict[str, Any]) -> Config:
    """Build and check the configuration of these nested tables.

    Raises:
        ConfigError: an unknown key, a wrong type, a value out of range or an impossible combination.
    """
    config = _build(Config, _with_current_names(data), "")
    if is_atari(config.env.id) and config.env.atari is None:
        config = msgspec.structs.replace(config, env=msgspec.structs.replace(config.env, atari=AtariConfig()))
    check_config(config)
    return config


def _with_current_names(data: dict[str, Any]) -> dict[str, Any]:
    """A copy of `data` with the present names of settings.

    Raises:
        ConfigError: a setting has both its names.
    """
    result = dict(data)
    for former, key in _RENAMED.items():
        (section, former_name), (_, name) = former.split("."), key.split(".")
        table = result.get(section)
        if isinstance(table, dict) and former_name in table:
            if name in table:
                raise ConfigError(f"{former} is called {key} now, and both are set", hint=f"remove {former}")
            result[section] = {name if old == former_name else old: value for old, value in table.items()}
    return result


def _build(struct: type[S], data: Any, path: str) -> S:
    """Build a section field by field, for errors with dotted names."""
    if not isinstance(data, dict):
        raise ConfigError(f"{path} = {show(data)}: expected a table such as [{path}]")
    fields = section_fields(struct)
    for key in data:
        if key not in fields:
            raise _unknown_key(key, path, fields)
    values = {}
    for name, field in fields.items():
        dotted = f"{path}.{name}" if path else name
        if name in data:
            if nested := nested_section(field.type):
                values[name] = _build(nested, data[name], dotted)
            elif isinstance(data[name], dict) and ScheduleConfig in _flat_args(field.type):
                values[name] = _build_schedule(data[name], dotted, field)
            else:
                values[name] = convert_field(dotted, data[name], field.type)
        elif (nested := nested_section(field.type)) and field.required:
            values[name] = _build(nested, {}, dotted)
        elif field.required:
            raise ConfigError(f"{dotted} is missing", hint='every run needs one, such as id = "CartPole-v1" in [env]')
    return struct(**values)


def _build_schedule(table: dict[str, Any], dotted: str, field: msgspec.structs.FieldInfo) -> str | ScheduleConfig:
    """The schedule of a table, or the name of a plain one."""
    if list(table) == ["kind"]:
        return convert_field(f"{dotted}.kind", table["kind"], field.type)
    schedule = _build(ScheduleConfig, {"kind": field.default, **table}, dotted)
    return schedule.kind if schedule == ScheduleConfig(kind=schedule.kind) else schedule


def _unknown_key(key: str, path: str, siblings: Iterable[str]) -> ConfigError:
    """The error for an unknown key, hinting at a similar one."""
    dotted = f"{path}.{key}" if path else key
    match = nearest(key, siblings)
    if key in short_names():
        suggestion = short_names()[key]
    elif match:
        suggestion = f"{path}.{match}" if path else match
    else:
        suggestion = short_names().get(nearest(key, short_names()) or "")
    what = "section" if not path else "setting"
    known = f"known here: {', '.join(siblings)}"
    return ConfigError(
        f"unknown {what} {show_key(dotted)}", hint=f"did you mean {suggestion!r}?" if suggestion else known
    )


def convert_field(dotted: str, value: Any, field_type: Any) -> Any:
    """Convert `value` to the type of a field, and check its range.

    Raises:
        ConfigError: it does not fit; with the field, the value and the rule.
    """
    if isinstance(value, str) and not _accepts_text(field_type):
        if value in _NONE_WORDS and type(None) in _flat_args(field_type):
            return None
        if _is_duration(field_type):
            value = check_duration(dotted, value)
    options = _literal_options(field_type)
    allowed = " or ".join([*_plain_numbers(field_type), *map(show, options)])
    if options and isinstance(value, str) and value not in options and not _accepts_text(field_type):
        raise ConfigError(
            f"{dotted} = {show(value)}: expected {allowed}",
            hint=did_you_mean(value, [option for option in options if isinstance(option, str)]),
        )
    try:
        converted = msgspec.convert(value, type=field_type)
    except msgspec.ValidationError as error:
        rule = str(error).split(" - at ")[0]
        for pattern, plain in _PLAIN_TYPES.items():
            rule = rule.replace(pattern, plain)
        rule = rule[0].lower() + rule[1:]
        for sign, plain in ((">=", "of at least"), ("<=", "of at most"), (">", "above"), ("<", "below")):
            rule = rule.replace(f"number {sign} ", f"number {plain} ")
        rule = _FLOAT.sub(lambda bound: f"{float(bound[0]):g}".replace("e+", "e").replace("e0", "e"), rule)
        if isinstance(value, float) and not math.isfinite(value) and "expected a number" in rule:
            rule = "expected a finite number"
        if options and rule.startswith("invalid enum value"):
            rule = f"expected {allowed}"
        if "matching regex" in rule:
            rule = f"expected {_describe(field_type)}"
        raise ConfigError(f"{dotted} = {show(value)}: {rule}") from None
    except RecursionError:
        raise ConfigError(f"{dotted}: nested too deeply") from None
    except UnicodeEncodeError:
        raise ConfigError(f"{dotted} = {show(value)}: expected text that is Unicode") from None
    if any(isinstance(number, float) and not math.isfinite(number) for number in _numbers(converted)):
        raise ConfigError(f"{dotted} = {show(value)}: expected a finite number")
    return converted


def _is_duration(field_type: Any) -> bool:
    return any((meta.extra or {}).get("duration") for meta in getattr(field_type, "__metadata__", ()))


def _numbers(value: Any) -> Iterable[Any]:
    return value if isinstance(value, tuple) else (value,)


def _flat_args(field_type: Any) -> Iterable[Any]:
    if hasattr(field_type, "__metadata__"):
        field_type = field_type.__origin__
    if isinstance(field_type, types.UnionType) or typing.get_origin(field_type) is typing.Union:
        for option in typing.get_args(field_type):
            yield from _flat_args(option)
    else:
        yield field_type


def _literal_options(field_type: Any) -> list[Any]:
    return [
        option
        for part in _flat_args(field_type)
        if typing.get_origin(part) is Literal
        for option in typing.get_args(part)
    ]


def _plain_numbers(field_type: Any) -> list[str]:
    names = {int: "a whole number", float: "a number", bool: "true or false"}
    return [names[part] for part in _flat_args(field_type) if part in names]


def _describe(field_type: Any) -> str:
    text = next(meta.description for meta in field_type.__metadata__ if meta.description)
    return text[0].lower() + text[1:].rstrip(".")


def _accepts_text(field_type: Any) -> bool:
    return str in _flat_args(field_type)


_BARE_WORD = re.compile(r"[A-Za-z_/][\w./:@-]*")


def apply_overrides(data: dict[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """A copy of `data` with each ``section.key=value`` set.

    Values are TOML; a bare word is a text, and so is a time such as 2h. A short name such as ``lr`` stands for a
    setting. A part of a schedule, such as ``optim.learning_rate_schedule.final``, is added to the schedule's name.

    Raises:
        UsageError: an override has another form or its value is not TOML.
    """
    result = _copy_tables(_with_current_names(data))
    for override in overrides:
        if not _is_utf8(override):
            raise UsageError(f"--set {show(override)}: it contains bytes that are not UTF-8")
        key, equals, text = override.partition("=")
        key = override_key(_RENAMED.get(key.strip(), key))
        parts = [part.strip() for part in key.split(".")]
        if not equals or not all(parts):
            raise UsageError(f"--set {override!r}: expected KEY=VALUE, such as optim.learning_rate=1e-4")
        if len(parts) > MOST_KEYS:
            raise UsageError(f"--set {show_key(key)}: a key has more than {MOST_KEYS} parts")
        table = result
        for depth, part in enumerate(parts[:-1], start=1):
            if isinstance(table.get(part), str) and ".".join(parts[:depth]) in SCHEDULES:
                table[part] = {"kind": table[part]}
            table = table.setdefault(part, {})
            if not isinstance(table, dict):
                raise ConfigError(f"{key}: {part} is a setting, not a section")
        table[parts[-1]] = _parse_value(key, text.strip())
    return result


def _is_utf8(text: str) -> bool:
    """Whether a text can be written into a file."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def override_key(text: str) -> str:
    """The dotted key of an override.

    Raises:
        ConfigError: a single word is neither a section nor a setting.
    """
    first, dot, part = text.strip().partition(".")
    sections = section_fields(Config)
    if first in sections or not first:
        return text
    key = full_name(first)
    if key is not None:
        return f"{key}{dot}{part}"
    if dot:
        return text  # `build_config` says what is wrong with it
    raise _unknown_setting(first, sections)


def _unknown_setting(word: str, sections: Iterable[str]) -> ConfigError:
    """The error for an unknown single word."""
    near = nearest(word, short_names())
    suggestion = short_names()[near] if near else nearest(word, sections)
    hint = f"did you mean {suggestion!r}?" if suggestion else f"they are in the sections {', '.join(sections)}"
    return ConfigError(f"unknown setting {show_key(word)}", hint=hint)


def _copy_tables(data: dict[str, Any]) -> dict[str, Any]:
    return {key: _copy_tables(value) if isinstance(value, dict) else value for key, value in data.items()}


def _parse_value(key: str, text: str) -> Any:
    try:
        parsed = parse_toml(f"value = {text}", key)
    except RefusedFileError:
        parsed = {}
    if list(parsed) == ["value"]:
        return parsed["value"]
    if _BARE_WORD.fullmatch(text) or read_duration(text) is not None:
        return text
    given = f"{key}={text}"
    raise UsageError(
        f"--set {given if len(given) <= 80 else f'{given[:79]}…'}: {show(text)} is not a TOML value",
        hint="texts with spaces or signs need quotes",
    )


def as_override(key: str, text: str) -> str:
    """An override for `apply_overrides` to set this very text."""
    return f"{key}={text if _BARE_WORD.fullmatch(text) else json.dumps(text, ensure_ascii=False)}"


def to_toml(config: Config) -> str:
    """The configuration as TOML.

    `build_config` makes an equal one of it.
    """
    import tomli_w

    return tomli_w.dumps(to_tables(config))


def to_tables(config: Config) -> dict[str, Any]:
    """The configuration as nested tables.

    `build_config` makes an equal one of them.
    """
    return _without_none(msgspec.to_builtins(config))


def is_sound(key: str, value: Any) -> bool:
    """Whether `value` is of the type and range of the setting `key`."""
    if (setting := all_settings().get(key)) is None:
        return False
    try:
        convert_field(key, value, setting.type)
    except ConfigError:
        return False
    return True


def sound_tables(tables: dict[str, Any]) -> dict[str, Any]:
    """The sound settings among those of a record of any origin."""
    sound: dict[str, Any] = {}
    for key in all_settings():
        value: Any = tables
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if value is not None and is_sound(key, value):
            *sections, name = key.split(".")
            table = sound
            for section in sections:
                table = table.setdefault(section, {})
            table[name] = value
    return sound


def complete_older(tables: dict[str, Any]) -> dict[str, Any]:
    """Add settings to the tables of a run of an older version.

    They keep its numbers: it divided all uint8 by 255, and took a mask within the observations for a feature.
    """
    policy, env = tables.get("policy"), tables.get("env")
    if not isinstance(policy, dict) or not isinstance(env, dict) or "normalize_images" in policy:
        return tables
    masks = env.get("action_masks", "auto")
    return {
        **tables,
        "policy": {**policy, "normalize_images": True},
        "env": {**env, "action_masks": "info" if masks == "auto" else masks},
    }


def _without_none(value: Any) -> Any:
    """Remove None, the default of such settings: TOML has no null."""
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return value


def flat_settings(tables: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted name and value of every setting; a schedule's table in words."""
    for key, value in tables.items():
        if isinstance(value, dict) and prefix + key in SCHEDULES:
            yield prefix + key, read_schedule(value).text
        elif isinstance(value, dict) and prefix + key != "env.kwargs":
            yield from flat_settings(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
