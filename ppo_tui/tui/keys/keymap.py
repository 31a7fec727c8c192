"""The user's own keys, from a file."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import ConfigError, did_you_mean
from ...files import RefusedFileError, parse_toml, read_text
from .table import APP, INTERRUPT, KEYS, LIST, PANELS, REPLAY, RUNS, TRAIN, VISIT, WATCH, Key

_MOST_BYTES = 100_000
"""Limit of the user's file of keys."""

_MODIFIERS = ("ctrl+", "shift+", "alt+", "super+")


def keymap_path(environment: Mapping[str, str] = os.environ) -> Path:
    """The path of the user's keymap.

    ``$XDG_CONFIG_HOME/ppo-tui/keys.toml``, below ``~/.config`` where that is not set.
    """
    home = environment.get("XDG_CONFIG_HOME") or Path(environment.get("HOME") or os.path.expanduser("~"), ".config")
    return Path(home) / "ppo-tui" / "keys.toml"


def load_keymap(path: Path | None = None) -> dict[str, str]:
    """Load the user's keys: id → Textual's names, separated by commas.

    A file that is not there chooses none.

    Raises:
        ConfigError: the file cannot be read, or an entry is no action or no key, or two actions share a key.
    """
    path = path or keymap_path()
    try:
        content = parse_toml(read_text(path, _MOST_BYTES), path)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    except RefusedFileError as error:
        raise ConfigError(error.message, hint='it looks like [keys] and then pause = "f5"') from None
    for name in content:
        if name != "keys":
            raise ConfigError(f"{path}: unknown section {name!r}", hint="there is only [keys]")
    if not isinstance(entries := content.get("keys", {}), dict):
        raise ConfigError(f"{path}: keys is {entries!r}", hint='expected a section: [keys] and then pause = "f5"')
    keymap = {name: _checked(path, name, value) for name, value in entries.items()}
    refuse_collisions(path, keymap)
    return keymap


def _checked(path: Path, name: str, value: Any) -> str:
    """The keys of one entry, in Textual's spelling."""
    ids = [key.id for key in KEYS]
    if name not in ids:
        hint = did_you_mean(name, ids, otherwise=f"actions are: {', '.join(ids)}")
        raise ConfigError(f"{path}: keys.{name} is not an action", hint=hint)
    wanted = [value] if isinstance(value, str) else value
    if not isinstance(wanted, list) or not wanted or not all(isinstance(key, str) for key in wanted):
        raise ConfigError(
            f"{path}: keys.{name} = {value!r}", hint='expected a key such as "f5", or a list such as ["f5", "ctrl+s"]'
        )
    return ",".join(_spelled(path, name, key) for key in wanted)


def _spelled(path: Path, name: str, key: str) -> str:
    """Textual's name of a key."""
    from textual.keys import Keys

    rest = key
    while modifier := next((each for each in _MODIFIERS if rest.startswith(each) and rest != each), None):
        rest = rest.removeprefix(modifier)
    modifiers = key.removesuffix(rest)
    if len(rest) == 1 and rest.isprintable():
        return modifiers + key_name(rest)
    names = {each.value for each in Keys} | {key_name(chr(code)) for code in range(33, 127)}
    if key in names or rest in names:
        return key
    raise ConfigError(
        f"{path}: keys.{name} = {key!r} is not a key",
        hint=did_you_mean(key, names, otherwise='keys are called "x", "X", "?", "f5", "ctrl+s", "pageup", "space"'),
    )


def key_name(character: str) -> str:
    """Textual's name of a printable character's key: plus, question_mark, x."""
    from textual.keys import KEY_NAME_REPLACEMENTS

    if character.isalnum():
        return character
    name = unicodedata.name(character, character).lower().replace("-", "_").replace(" ", "_")
    return KEY_NAME_REPLACEMENTS.get(name, name)


def refuse_collisions(path: Path, keymap: Mapping[str, str]) -> None:
    """Raise ConfigError for a key with two meanings in one place."""
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
    """Tell whether both are bound in some place.

    The keys of the app are bound everywhere.
    """
    for own in (REPLAY, VISIT, WATCH):  # their keys come before all others
        if (own,) in (one.contexts, other.contexts):
            return own in one.contexts and own in other.contexts
    if (RUNS,) in (one.contexts, other.contexts):  # so do those of the list of runs, before the app's
        return one.action != other.action and bool(_places(one) & _places(other))
    return APP in one.contexts + other.contexts or bool(_places(one) & _places(other))


def _places(key: Key) -> set[str]:
    """The places of a key.

    The screen of all runs is a list too, and the main screen has panels.
    """
    return {*key.contexts, *((LIST,) if RUNS in key.contexts else ()), *(PANELS if TRAIN in key.contexts else ())}
