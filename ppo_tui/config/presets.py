"""Presets: TOML files, shipped with the package or a user's own."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Collection, Iterable
from importlib import resources
from pathlib import Path
from typing import Any

from ..errors import ConfigError, UsageError, did_you_mean
from ..files import RefusedFileError, parse_toml, read_text
from .declaring import Outside
from .loading import apply_overrides, as_override, build_config
from .schema import Config, all_settings
from .values import get_value

MAX_PRESET_BYTES = 1_000_000
"""A preset is a page of text; a larger file is something else."""

_PARTIES = {
    "code": "code to import",
    "command": "a command to run",
    "address": "an address to send or write to",
}


def presets_dir() -> Path:
    """Directory of presets: inside the package in a wheel, else beside it."""
    inside = Path(str(resources.files("ppo_tui"))) / "presets"
    return inside if inside.is_dir() else inside.parent.parent / "presets"


def list_presets() -> dict[str, str]:
    """The shipped presets: name → first line of the file, a description."""
    found = {}
    for path in sorted(presets_dir().glob("*.toml"), key=lambda path: path.stem):
        first_line, _, _ = path.read_text("utf-8").partition("\n")
        found[path.stem] = first_line.lstrip("# ").strip()
    return found


def preset_path(name: str) -> Path:
    """The file of a shipped preset, or of a path to one.

    Raises:
        UsageError: there is neither.
    """
    shipped = {path.stem: path for path in presets_dir().glob("*.toml")}
    if name in shipped:
        return shipped[name]
    path = Path(name)
    try:
        path = path.expanduser()
        exists = name != "" and path.exists()  # the path of nothing would be this directory
    except PermissionError:  # whoever reads it says so
        exists = True
    except (OSError, ValueError, RuntimeError):  # no path at all, or ~ of nobody
        exists = False
    if exists:
        return path
    names, shown = sorted(shipped), repr(name if len(name) <= 100 else f"{name[:99]}…")
    if os.sep in name or name.endswith(".toml"):
        raise UsageError(f"there is no preset file {shown}", hint=f"shipped presets: {', '.join(names)}")
    raise UsageError(
        f"unknown preset {shown}", hint=did_you_mean(name, names, otherwise=f"presets: {', '.join(names)}")
    )


def read_preset(path: Path) -> dict[str, Any]:
    """The tables of a preset file.

    Raises:
        ConfigError: the file cannot be read, or is empty, binary, not UTF-8 or not TOML.
    """
    return parse_preset(read_preset_text(path), path)


def parse_preset(text: str, path: Path) -> dict[str, Any]:
    """The tables of the preset file `path`, from its text.

    Raises:
        ConfigError: it is empty or no TOML.
    """
    if not text.strip():
        raise ConfigError(f"{path} is empty", hint='a preset needs at least [env] with id = "CartPole-v1"')
    try:
        return parse_toml(text, path)
    except RefusedFileError as error:
        raise ConfigError(error.message, hint=error.hint) from None


def read_preset_text(path: Path) -> str:
    """The text of a preset file.

    Raises:
        ConfigError: the file cannot be read, is no regular file, too large, binary or not UTF-8.
    """
    try:
        return read_text(path, MAX_PRESET_BYTES)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    except RefusedFileError as error:
        hint = "name a .toml file inside it" if error.message.endswith("a directory") else error.hint
        raise ConfigError(error.message, hint=hint) from None


def load_preset(name: str, *, overrides: Iterable[str] = (), allow_import: bool = False) -> Config:
    """Load the configuration of a shipped preset or a TOML file.

    Args:
        name: one of `list_presets`, or the path of a file.
        overrides: settings as on the command line, such as ``"optim.learning_rate=1e-4"``; one, or several in a list.
        allow_import: accept outside parties named in the file: code to import (``env.id = "module:Env-v0"``,
            ``policy.network = "module:Class"``), a command to run, an address to send or write to.

    Raises:
        UsageError: no such preset, or a malformed override.
        ConfigError: the file or the combination of its settings is not valid, or it names an outside party.
    """
    path = preset_path(name)
    data = read_preset(path)
    overrides = (overrides,) if isinstance(overrides, str) else tuple(overrides)
    if not allow_import:
        refuse_outsiders(data, f"the preset {path.name}", overrides=overrides)
    return build_config(apply_overrides(data, overrides))


def preset_label(preset: str, config: Config) -> str:
    """A name for runs of a preset, before their number.

    It is the preset's, or the environment's if `config` has another environment than the preset.
    """
    path = preset_path(preset)
    if _look_up(read_preset(path), "env.id") == config.env.id:
        return path.stem
    return re.sub(r"-v\d+$", "", re.split("[/:]", config.env.id)[-1]).lower()


def refuse_outsiders(
    tables: dict[str, Any],
    source: str,
    *,
    overrides: Iterable[str] = (),
    parties: Collection[str] = tuple(_PARTIES),
) -> None:
    """Refuse tables of a file with outside parties: code, commands, addresses.

    Settings declare themselves as such (`Outside`). Those of `overrides` are the user's own words.

    Args:
        tables: as in the file, without `overrides`.
        source: the file, in words.
        overrides: of the command line.
        parties: the kinds that matter for the purpose.

    Raises:
        ConfigError: naming each such setting, its value and what to type.
    """
    own = apply_overrides({}, overrides := tuple(overrides))
    tables = apply_overrides(tables, overrides)
    found = {
        key: (declared.outside, value)
        for key, declared in all_settings().items()
        if declared.outside
        and declared.outside.party in parties
        and declared.outside.names(value := _look_up(tables, key))
        and _look_up(own, key) is None
    }
    if not found:
        return
    named = [f"{_PARTIES[outside.party]}: {_named(key, outside, value)}" for key, (outside, value) in found.items()]
    own_words = " ".join(f"--set {shlex.quote(as_override(key, value))}" for key, (_, value) in found.items())
    hint = f"if you trust it, add --allow-import, or name it yourself: {own_words}"
    if all(outside.leave_out for outside, _ in found.values()):
        leave_out = dict.fromkeys(f"--set {outside.leave_out}" for outside, _ in found.values())
        hint += f"\n  to go without: {' '.join(leave_out)}"
    raise ConfigError(f"{source} names {'; '.join(named)}", hint=hint)


def names_outsiders(config: Config) -> bool:
    """Whether a setting of `config` names code, a command or an address."""
    settings = all_settings().values()
    return any(one.outside and one.outside.names(get_value(config, one.key)) for one in settings)


def _named(key: str, outside: Outside, value: str) -> str:
    text = f"{key} = {value!r}"
    module = value.partition(":")[0]
    return f"{text} (importing the module {module!r} would run code)" if outside.party == "code" else text


def _look_up(tables: Any, key: str) -> Any:
    """The value at a dotted name of unchecked tables, or None."""
    for part in key.split("."):
        tables = tables.get(part) if isinstance(tables, dict) else None
    return tables
