"""The user's own keys: ``keys.toml`` in the configuration directory, checked before a run starts.

::

    [keys]
    pause = "f5"
    undo = ["ctrl+z", "u"]
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import ConfigError, did_you_mean
from .keys import APP, INTERRUPT, KEYS, LIST, REPLAY, RUNS, Key

_MODIFIERS = ("ctrl+", "shift+", "alt+", "super+")


def keymap_path(environment: Mapping[str, str] = os.environ) -> Path:
    """``$XDG_CONFIG_HOME/ppo-tui/keys.toml``, below ``~/.config`` where that is not set."""
    home = environment.get("XDG_CONFIG_HOME") or Path(environment.get("HOME", "~")).expanduser() / ".config"
    return Path(home) / "ppo-tui" / "keys.toml"


def load_keymap(path: Path | None = None) -> dict[str, str]:
    """The keys that the user has chosen: id → Textual's names of the keys, separated by commas.

    A file that is not there chooses none.

    Raises:
        ConfigError: the file cannot be read, or an entry is no action or no key, or two actions share a key.
    """
    path = path or keymap_path()
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path} is no TOML: {error}", hint='it looks like [keys] and then pause = "f5"') from None
    for name in content:
        if name != "keys":
            raise ConfigError(f"{path}: unknown section {name!r}", hint="there is only [keys]")
    if not isinstance(entries := content.get("keys", {}), dict):
        raise ConfigError(f"{path}: keys is {entries!r}", hint='expected a section: [keys] and then pause = "f5"')
    keymap = {name: _checked(path, name, value) for name, value in entries.items()}
    _refuse_collisions(path, keymap)
    return keymap


def _checked(path: Path, name: str, value: Any) -> str:
    """The keys of one entry, in Textual's spelling."""
    ids = [key.id for key in KEYS]
    if name not in ids:
        hint = did_you_mean(name, ids, otherwise=f"actions are: {', '.join(ids)}")
        raise ConfigError(f"{path}: keys.{name} is no action", hint=hint)
    wanted = [value] if isinstance(value, str) else value
    if not isinstance(wanted, list) or not wanted or not all(isinstance(key, str) for key in wanted):
        raise ConfigError(
            f"{path}: keys.{name} = {value!r}", hint='expected a key such as "f5", or a list such as ["f5", "ctrl+s"]'
        )
    return ",".join(_spelled(path, name, key) for key in wanted)


def _spelled(path: Path, name: str, key: str) -> str:
    """Textual's name of a key."""
    from textual.keys import Keys, _character_to_key

    rest = key
    while modifier := next((each for each in _MODIFIERS if rest.startswith(each) and rest != each), None):
        rest = rest.removeprefix(modifier)
    modifiers = key.removesuffix(rest)
    if len(rest) == 1 and rest.isprintable():
        return modifiers + _character_to_key(rest)
    names = {each.value for each in Keys} | {_character_to_key(chr(code)) for code in range(33, 127)}
    if key in names or rest in names:
        return key
    raise ConfigError(
        f"{path}: keys.{name} = {key!r} is no key",
        hint=did_you_mean(key, names, otherwise='keys are called "x", "X", "?", "f5", "ctrl+s", "pageup", "space"'),
    )


def _refuse_collisions(path: Path, keymap: Mapping[str, str]) -> None:
    """Raises ConfigError where one key would mean two things in the same place."""
    taken: list[tuple[str, Key]] = []
    for key in KEYS:
        for name in keymap.get(key.id, key.keys).split(","):
            other = next((each for used, each in taken if used == name and _meet(each, key)), None)
            if other or name == INTERRUPT:
                raise ConfigError(
                    f"{path}: the key {name!r} would mean both {other.id if other else 'leaving'} and {key.id}",
                    hint=f'give one of them another key, for example {key.id} = "f5"',
                )
            taken.append((name, key))


def _meet(one: Key, other: Key) -> bool:
    """Whether both are bound in some place; what the app binds is bound everywhere."""
    if REPLAY in one.contexts + other.contexts:  # its keys come before all others
        return one.contexts == other.contexts
    return APP in one.contexts + other.contexts or bool(_places(one) & _places(other))


def _places(key: Key) -> set[str]:
    """Where it is bound; the screen of all runs is a list too."""
    return {*key.contexts, *((LIST,) if RUNS in key.contexts else ())}
