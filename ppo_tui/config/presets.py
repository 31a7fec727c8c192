"""Presets: TOML files, shipped with the package or a user's own."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any

from ..errors import ConfigError, UsageError, did_you_mean
from .loading import apply_overrides, build_config
from .schema import Config

MAX_PRESET_BYTES = 1_000_000
"""A preset is a page of text; a larger file is something else."""

_IMPORTING = (("env", "id"), ("policy", "network"))
"""Settings that import code where they contain a colon."""


def _presets_dir() -> Path:
    """Directory of presets: inside the package in a wheel, else beside it."""
    inside = Path(str(resources.files("ppo_tui"))) / "presets"
    return inside if inside.is_dir() else inside.parent.parent / "presets"


def list_presets() -> dict[str, str]:
    """The shipped presets: name → first line of the file, a description."""
    found = {}
    for path in sorted(_presets_dir().glob("*.toml"), key=lambda path: path.stem):
        first_line, _, _ = path.read_text("utf-8").partition("\n")
        found[path.stem] = first_line.lstrip("# ").strip()
    return found


def preset_path(name: str) -> Path:
    """The file of a shipped preset, or of a path to one.

    Raises:
        UsageError: there is neither.
    """
    shipped = {path.stem: path for path in _presets_dir().glob("*.toml")}
    if name in shipped:
        return shipped[name]
    path = Path(name).expanduser()
    try:
        exists = path.exists()
    except (OSError, ValueError):
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
    if path.is_dir():
        raise ConfigError(f"{path} is a directory", hint="name a .toml file inside it")
    if not path.is_file():
        raise ConfigError(f"{path} is not a regular file")
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_PRESET_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    if len(raw) > MAX_PRESET_BYTES:
        raise ConfigError(f"{path} is larger than {MAX_PRESET_BYTES:,} bytes, too large for a preset")
    return parse_preset(raw, path)


def parse_preset(raw: bytes, path: Path) -> dict[str, Any]:
    """The tables of the preset file `path`, from its content.

    Raises:
        ConfigError: it is empty, binary, not UTF-8 or not TOML.
    """
    if b"\0" in raw:
        raise ConfigError(f"{path} is a binary file", hint="a preset is a text file in TOML")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ConfigError(
            f"{path}, line {line}: byte 0x{raw[error.start]:02x} is not UTF-8", hint="save the file as UTF-8"
        ) from None
    if not text.strip():
        raise ConfigError(f"{path} is empty", hint='a preset needs at least [env] with id = "CartPole-v1"')
    try:
        return tomllib.loads(text.removeprefix("\ufeff"))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from None
    except (RecursionError, ValueError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}"[:300]) from None


def load_preset(name: str, *, overrides: Iterable[str] = (), allow_import: bool = False) -> Config:
    """Load the configuration of a shipped preset or a TOML file.

    Args:
        name: one of `list_presets`, or the path of a file.
        overrides: settings as on the command line, such as ``"optim.learning_rate=1e-4"``.
        allow_import: accept ``env.id = "module:Env-v0"`` and ``policy.network = "module:Class"`` in the file, which
            import that module.

    Raises:
        UsageError: no such preset, or a malformed override.
        ConfigError: the file or the combination of its settings is not valid.
    """
    path = preset_path(name)
    data = read_preset(path)
    if not allow_import:
        refuse_import(data, f"the preset {path.name}")
        refuse_command(data, f"the preset {path.name}")
    return build_config(apply_overrides(data, overrides))


def refuse_import(data: dict[str, Any], source: str) -> None:
    """Refuse tables with code to import: an environment or network ``module:name``.

    Args:
        source: the file that they come from, in words.

    Raises:
        ConfigError: naming the module.
    """
    for section, key in _IMPORTING:
        table = data.get(section)
        value = table.get(key) if isinstance(table, dict) else None
        if isinstance(value, str) and ":" in value:
            raise ConfigError(
                f"{section}.{key} = {value!r}: importing the module {value.partition(':')[0]!r} would run code "
                f"that {source} names",
                hint=f"if you trust it, add --allow-import, or name it yourself with --set {section}.{key}=…",
            )


def refuse_command(data: dict[str, Any], source: str) -> None:
    """Refuse tables with a command to run; arguments as for `refuse_import`.

    Raises:
        ConfigError: with the command.
    """
    notify = data.get("notify")
    if isinstance(notify, dict) and notify.get("command") is not None:
        raise ConfigError(
            f"notify.command = {notify['command']!r}: {source} names a command to run",
            hint="if you trust it, add --allow-import, or name it yourself with --set notify.command=…",
        )


def imports_code(config: Config) -> bool:
    """Whether `config` names code to import or a command to run."""
    return ":" in config.env.id or ":" in config.policy.network or config.notify.command is not None
