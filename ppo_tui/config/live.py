"""Live settings, changeable while a run trains, and their editing."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from ..errors import ConfigError, nearest
from .declaring import Live
from .loading import convert_field
from .schema import all_settings, full_name, short_names

_OFF_WORDS = ("off", "none")


class LiveField(msgspec.Struct, frozen=True, kw_only=True):
    """A live setting with everything for its editor."""

    key: str
    type: Any
    live: Live
    description: str

    @property
    def integer(self) -> bool:
        return self.live.step == int(self.live.step) and isinstance(self.live.low, int)

    def nudged(self, value: float, direction: int) -> float:
        """`value` after one nudge up (`direction` +1) or down (−1), within range."""
        live = self.live
        moved = value * live.step**direction if live.scale == "log" else value + direction * live.step
        # Ten steps of 0.01 must read 0.1 and not 0.09999999999999999.
        rounded = float(f"{moved:.3g}") if live.scale == "log" else round(moved, 10)
        clamped = min(max(rounded, live.low), live.high)
        return int(clamped) if self.integer else clamped


class _LiveFields(Mapping[str, LiveField]):
    """Dotted name → `LiveField`, found in the schema on first use."""

    @functools.cached_property
    def _fields(self) -> dict[str, LiveField]:
        return {
            key: LiveField(key=key, type=found.type, live=found.live, description=found.description)
            for key, found in all_settings().items()
            if found.live
        }

    def __getitem__(self, key: str) -> LiveField:
        return self._fields[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)


LIVE_FIELDS: Mapping[str, LiveField] = _LiveFields()


def find_live_key(text: str) -> str:
    """Resolve a name, short name or unique part to a live setting.

    Raises:
        ConfigError: no name matches, or several do, or the setting is not live.
    """
    if key := full_name(text):
        if key not in LIVE_FIELDS:
            raise _not_live(key)
        return key
    wanted = "_".join(text.lower().replace("-", " ").replace("_", " ").split())
    found = [key for key in LIVE_FIELDS if wanted and wanted in key.rpartition(".")[2]]
    if len(found) == 1:
        return found[0]
    if found:
        raise ConfigError(f"{text!r} may mean {' or '.join(found)}", hint="type more of the name")
    raise _not_live(text)


def _not_live(text: str) -> ConfigError:
    """The error for a fixed setting, or for none at all."""
    if text in all_settings():
        return ConfigError(f"{text} cannot be changed while a run trains", hint=f"these can: {', '.join(LIVE_FIELDS)}")
    names = {name: key for name, key in short_names().items() if key in LIVE_FIELDS}
    key = nearest(text, LIVE_FIELDS) or names.get(nearest(text.rpartition(".")[2], names) or "")
    return ConfigError(
        f"no live setting is called {text!r}",
        hint=f"did you mean {key!r}?" if key else f"these are: {', '.join(LIVE_FIELDS)}",
    )


def parse_live_value(key: str, value: Any) -> Any:
    """Check `value` for a live setting; return it in its type.

    Raises:
        ConfigError: `key` is not live, or `value` is of a wrong type or out of range.
    """
    field = LIVE_FIELDS.get(key)
    if field is None:
        raise _not_live(key)
    converted = convert_field(key, value, field.type)
    if isinstance(converted, float) and not math.isfinite(converted):
        raise ConfigError(f"{key} = {value}: expected a finite number")
    return converted


def typed_value(text: str) -> Any:
    """A number for typed text, None for "off", else the text."""
    text = text.strip()
    if text.lower() in _OFF_WORDS:
        return None
    for convert in (int, float):
        try:
            return convert(text)
        except ValueError:
            continue
    return text
