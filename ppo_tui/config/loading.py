"""From nested tables to a checked `Config`, and back to TOML. Every error names the dotted field and its value."""

from __future__ import annotations

import math
import re
import tomllib
import types
import typing
from collections.abc import Iterable, Iterator
from typing import Any, Literal, TypeVar

import msgspec

from ..errors import ConfigError, UsageError, did_you_mean, nearest
from .environment import AtariConfig, is_atari
from .schema import Config

S = TypeVar("S", bound=msgspec.Struct)

PRIVATE_SECTIONS = ("notify",)
"""Sections that nothing shows or sends elsewhere: they hold addresses, and those hold secrets."""

_PLAIN_TYPES = {
    "`int | str`": "a whole number or a name",
    "`bool | str`": "true, false or a name",
    "`float | null`": "a number",
    "`int`": "a whole number",
    "`float`": "a number",
    "`bool`": "true or false",
    "`str`": "a text",
    "`array`": "a list",
    "`object`": "a table",
}


def build_config(data: dict[str, Any]) -> Config:
    """The checked configuration for these nested tables.

    Raises:
        ConfigError: an unknown key, a wrong type, a value out of range or an impossible combination.
    """
    config = _build(Config, data, "")
    if is_atari(config.env.id) and config.env.atari is None:
        config = msgspec.structs.replace(config, env=msgspec.structs.replace(config.env, atari=AtariConfig()))
    check_config(config)
    return config


def _build(struct: type[S], data: Any, path: str) -> S:
    """Fill `struct` field by field, so that an error knows the dotted name of its field."""
    if not isinstance(data, dict):
        raise ConfigError(f"{path} = {_show(data)}: expected a table such as [{path}]")
    fields = {field.name: field for field in msgspec.structs.fields(struct)}
    for key in data:
        if key not in fields:
            raise _unknown_key(key, path, fields)
    values = {}
    for name, field in fields.items():
        dotted = f"{path}.{name}" if path else name
        if name in data:
            nested = _nested_struct(field.type)
            values[name] = (
                _build(nested, data[name], dotted) if nested else convert_field(dotted, data[name], field.type)
            )
        elif (nested := _nested_struct(field.type)) and field.required:
            values[name] = _build(nested, {}, dotted)
        elif field.required:
            raise ConfigError(f"{dotted} is missing", hint='every run needs one, such as id = "CartPole-v1" in [env]')
    return struct(**values)


def _nested_struct(field_type: Any) -> type[msgspec.Struct] | None:
    """The struct that a field holds, directly or as ``Struct | None``."""
    options = typing.get_args(field_type) if isinstance(field_type, types.UnionType) else (field_type,)
    for option in options:
        if isinstance(option, type) and issubclass(option, msgspec.Struct):
            return option
    return None


def _all_keys(struct: type[msgspec.Struct] = Config, path: str = "") -> list[str]:
    keys = []
    for field in msgspec.structs.fields(struct):
        dotted = f"{path}.{field.name}" if path else field.name
        nested = _nested_struct(field.type)
        keys += _all_keys(nested, dotted) if nested else [dotted]
    return keys


def _unknown_key(key: str, path: str, siblings: Iterable[str]) -> ConfigError:
    """Suggest a sibling of a similar name, or the same name in another section."""
    dotted = f"{path}.{key}" if path else key
    match = nearest(key, siblings)
    if match:
        suggestion = f"{path}.{match}" if path else match
    else:
        by_leaf = {full.rpartition(".")[2]: full for full in _all_keys()}
        leaf = nearest(key, by_leaf)
        suggestion = by_leaf[leaf] if leaf else None
    what = "section" if not path else "setting"
    known = f"known here: {', '.join(siblings)}"
    return ConfigError(
        f"unknown {what} {_show_key(dotted)}", hint=f"did you mean {suggestion!r}?" if suggestion else known
    )


def convert_field(dotted: str, value: Any, field_type: Any) -> Any:
    """`value` in the type of the field, checked against the field's range.

    Raises:
        ConfigError: it does not fit; the message names the field, the value and the rule.
    """
    options = _literal_options(field_type)
    allowed = " or ".join([*_plain_numbers(field_type), *map(_show, options)])
    if options and isinstance(value, str) and value not in options and not _accepts_text(field_type):
        raise ConfigError(
            f"{dotted} = {_show(value)}: expected {allowed}",
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
        if options and rule.startswith("invalid enum value"):
            rule = f"expected {allowed}"
        if "matching regex" in rule:
            rule = f"expected {_describe(field_type)}"
        raise ConfigError(f"{dotted} = {_show(value)}: {rule}") from None
    except RecursionError:
        raise ConfigError(f"{dotted}: nested too deeply") from None
    if any(isinstance(number, float) and not math.isfinite(number) for number in _numbers(converted)):
        raise ConfigError(f"{dotted} = {_show(value)}: expected a finite number")
    return converted


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


def _show(value: Any) -> str:
    """`value` as TOML would write it, short and without control characters."""
    text = {True: "true", False: "false"}[value] if isinstance(value, bool) else repr(value)
    return text if len(text) <= 80 else text[:77] + "…"


def _show_key(key: str) -> str:
    return repr(key) if len(key) <= 80 else repr(key[:77]) + "…"


def check_config(config: Config) -> None:
    """Refuse combinations that no run could have.

    Raises:
        ConfigError: with the fields that do not go together and values that would.
    """
    _check_workers(config)
    _check_whole_episodes(config)
    _check_batch(config)
    _check_env(config)
    _check_algorithm(config)
    _check_a3c(config)
    if config.run.torch_threads != "auto" and config.run.torch_threads < 1:
        raise ConfigError(f"run.torch_threads = {config.run.torch_threads}: expected at least 1, or auto")
    if any(width < 1 for width in config.policy.hidden):
        raise ConfigError(f"policy.hidden = {list(config.policy.hidden)}: every width must be at least 1")


def _check_workers(config: Config) -> None:
    count, num_envs = config.workers.count, config.rollout.num_envs
    if count == "auto":
        return
    if count < 1:
        raise ConfigError(
            f"workers.count = {count}: a run needs at least one worker",
            hint="leave it out, or set it to 'auto', to fit the machine",
        )
    if count > num_envs:
        raise ConfigError(
            f"workers.count = {count}: there are only {num_envs} environments to host (rollout.num_envs)",
            hint=f"use at most {num_envs} workers, or --envs {count}",
        )
    if config.workers.groups == 2 and count < 2:
        raise ConfigError(
            "workers.groups = 2: one worker cannot be split into two groups",
            hint="set workers.count to 2 or more, or workers.groups to 1",
        )


def _check_batch(config: Config) -> None:
    size, parts = config.batch_size, config.ppo.minibatches
    if size % parts:
        raise ConfigError(
            f"ppo.minibatches = {parts}: the {config.rollout.num_envs} × {config.rollout.steps} = {size} steps of a "
            f"rollout cannot be split into {parts} equal minibatches",
            hint=f"nearest that fit: {_nearest_divisors(size, parts)}",
        )
    num_envs = config.rollout.num_envs
    if config.policy.recurrent != "none" and num_envs % parts:
        raise ConfigError(
            f"ppo.minibatches = {parts}: the minibatches of a recurrent policy are of whole environments, and "
            f"{num_envs} of them (rollout.num_envs) cannot be split into {parts} equal parts",
            hint=f"nearest that fit: {_nearest_divisors(num_envs, parts)}; or --envs {-(-num_envs // parts) * parts}",
        )
    if config.minibatch_size < 2 and config.ppo.normalize_advantage:
        raise ConfigError(
            f"ppo.minibatches = {parts}: minibatches of one step cannot be normalised",
            hint="use fewer minibatches, or ppo.normalize_advantage = false",
        )


def _check_whole_episodes(config: Config) -> None:
    for key, value in (("rollout.num_envs", config.rollout.num_envs), ("ppo.minibatches", config.ppo.minibatches)):
        if config.rollout.whole_episodes and value != 1:
            raise ConfigError(
                f"rollout.whole_episodes = true: {key} = {value}; updates of whole episodes are made of one "
                "environment and of one minibatch, because episodes differ in length",
                hint=f"set {key} = 1, or leave rollout.whole_episodes out",
            )


def _nearest_divisors(size: int, wanted: int) -> str:
    """The three divisors of `size` that are nearest to `wanted`, in words."""
    divisors = [d for d in range(1, min(size, 4096) + 1) if size % d == 0]
    return ", ".join(map(str, sorted(sorted(divisors, key=lambda d: abs(d - wanted))[:3])))


def _check_algorithm(config: Config) -> None:
    ppo = config.ppo
    if ppo.dual_clip is not None and ppo.surrogate != "clip":
        raise ConfigError(
            f"ppo.dual_clip = {ppo.dual_clip}: the surrogate {_show(ppo.surrogate)} clips nothing",
            hint="set ppo.surrogate = 'clip', or leave ppo.dual_clip out",
        )
    if config.optim.learning_rate_schedule == "kl-adaptive" and config.optim.learning_rate == 0:
        raise ConfigError(
            "optim.learning_rate = 0: nothing can be adapted from there",
            hint="give 'kl-adaptive' a learning rate to start from, such as 3e-4",
        )


_A3C = {
    "ppo.surrogate": ("none",),
    "ppo.epochs": (1,),
    "ppo.minibatches": (1,),
    "ppo.normalize_advantage": (False,),
    "ppo.normalize_rewards": (False,),
    "ppo.clip_value_loss": (False,),
    "ppo.huber_delta": (None,),
    "ppo.target_kl": (None,),
    "policy.normalize_observations": (False,),
    "rollout.whole_episodes": (False,),
    "optim.learning_rate_schedule": ("constant", "linear"),
    "workers.groups": ("auto", 1),
    "run.device": ("auto", "cpu"),
    "run.overlap": (False,),
}
"""What A3C leaves no choice about: each of its gradients is a single step, on the CPU of its own worker."""


def _check_a3c(config: Config) -> None:
    if config.run.algorithm != "a3c":
        return
    allowed = _A3C | {"workers.count": ("auto", config.rollout.num_envs)}
    for key, values in allowed.items():
        value = get_value(config, key)
        if value not in values:
            wanted = "left out" if values[0] is None else _show(values[0])
            raise ConfigError(
                f"{key} = {_show(value)}: with run.algorithm = 'a3c' it must be {wanted}",
                hint="each worker learns from its own environment, one gradient a rollout; the preset a3c-cartpole is "
                "a starting point, and --envs sets the number of workers",
            )


def _check_env(config: Config) -> None:
    env = config.env
    if not is_atari(env.id):
        if env.atari is not None:
            raise ConfigError(
                f"env.atari: {_show_key(env.id)} is not an Atari game",
                hint="remove [env.atari], or choose an id such as 'ALE/Breakout-v5'",
            )
        return
    assert env.atari is not None, "build_config fills it in"
    if env.hide:
        raise ConfigError(
            f"env.hide = {list(env.hide)}: the observations of {env.id!r} are images",
            hint="leave it out; it hides numbers of a vector",
        )
    for key, setting in (
        ("frameskip", "env.atari.frame_skip"),
        ("repeat_action_probability", "env.atari.sticky_actions"),
        ("full_action_space", "env.atari.full_action_space"),
        ("max_num_frames_per_episode", "env.atari.max_frames"),
    ):
        if key in env.kwargs:
            extra = ""
            if key == "frameskip":
                extra = f": double frame skip, {env.kwargs[key]} × {env.atari.frame_skip} frames an action"
            raise ConfigError(f"env.kwargs.{key} = {_show(env.kwargs[key])}{extra}", hint=f"set {setting} instead")
    allowed = ("mode", "difficulty")
    for key in env.kwargs:
        if key not in allowed:
            raise ConfigError(
                f"env.kwargs.{key}: the Atari pipeline does not take it",
                hint=did_you_mean(key, allowed, otherwise=f"it takes {' and '.join(allowed)}"),
            )


_BARE_WORD = re.compile(r"[A-Za-z_/][\w./:-]*")


def apply_overrides(data: dict[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """A copy of `data` with each ``section.key=value`` set. Values are TOML; a bare word is a text.

    Raises:
        UsageError: an override is not of that form or its value is no TOML.
    """
    result = _copy_tables(data)
    for override in overrides:
        key, equals, text = override.partition("=")
        parts = [part.strip() for part in key.split(".")]
        if not equals or not all(parts):
            raise UsageError(f"--set {override!r}: expected section.key=value, such as optim.learning_rate=1e-4")
        table = result
        for part in parts[:-1]:
            table = table.setdefault(part, {})
            if not isinstance(table, dict):
                raise ConfigError(f"{key}: {part} is a setting and has no settings of its own")
        table[parts[-1]] = _parse_value(key, text.strip())
    return result


def _copy_tables(data: dict[str, Any]) -> dict[str, Any]:
    return {key: _copy_tables(value) if isinstance(value, dict) else value for key, value in data.items()}


def _parse_value(key: str, text: str) -> Any:
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (tomllib.TOMLDecodeError, RecursionError):
        parsed = {}
    if list(parsed) == ["value"]:
        return parsed["value"]
    if _BARE_WORD.fullmatch(text):
        return text
    raise UsageError(f"--set {key}={text}: {text!r} is not a TOML value", hint="texts with spaces or signs need quotes")


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


def to_toml(config: Config) -> str:
    """The whole configuration as TOML that `build_config` reads back to an equal one."""
    import tomli_w

    return tomli_w.dumps(to_tables(config))


def to_tables(config: Config) -> dict[str, Any]:
    """The whole configuration as nested tables that `build_config` reads back to an equal one."""
    return _without_none(msgspec.to_builtins(config))


def _without_none(value: Any) -> Any:
    """TOML has no null: a field that is None is left out, and None is its default."""
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return value


def flat_settings(tables: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted name and value of every setting in these tables; ``env.kwargs`` counts as one."""
    for key, value in tables.items():
        if isinstance(value, dict) and prefix + key != "env.kwargs":
            yield from flat_settings(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
