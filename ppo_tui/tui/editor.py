"""Editing hyper-parameters while they are in use: what is selected, what is asked for, what is in force."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..config.live import LIVE_FIELDS, LiveField, parse_live_value, typed_value
from ..errors import ConfigError
from ..protocol import CommandRefused, Event, SettingChanged, SetValue, UpdateFinished
from .view import RunView

_DEFAULT = "optim.learning_rate"


@dataclass(frozen=True)
class Pending:
    """A value that the engine was asked for during update `update`, and has not confirmed yet."""

    value: Any
    update: int


class Editor:
    """The live settings of a run as a list with a cursor.

    A request stays *pending* until the engine confirms it, refuses it, or lets two updates pass without a word,
    as it does when the value asked for is the one in force.
    """

    def __init__(self, view: RunView) -> None:
        self._view = view
        self._selected = _DEFAULT
        self.pending: dict[str, Pending] = {}

    @property
    def keys(self) -> list[str]:
        """Dotted names in the order of the screen: the optimiser's first."""
        return sorted((key for key in LIVE_FIELDS if key in self._view.settings), key=lambda key: key[:5] != "optim")

    @property
    def selected(self) -> str | None:
        keys = self.keys
        return self._selected if self._selected in keys else next(iter(keys), None)

    @property
    def field(self) -> LiveField | None:
        """The definition of the selected setting, None before the run says its configuration."""
        return LIVE_FIELDS[self.selected] if self.selected else None

    def value(self, key: str) -> Any:
        """The value asked for, or else the one in force."""
        return self.pending[key].value if key in self.pending else self._view.settings[key]

    def annealed(self, key: str) -> bool:
        """Whether a schedule lowers this setting as the run goes on."""
        section, _, name = key.partition(".")
        config = self._view.started.config if self._view.started else {}
        return config.get(section, {}).get(f"{name}_schedule", "constant") != "constant"

    def select(self, direction: int) -> None:
        """Move the cursor by `direction`, around the ends."""
        if keys := self.keys:
            self._selected = keys[(keys.index(self.selected) + direction) % len(keys)]

    def nudge(self, direction: int) -> SetValue | None:
        """Ask for one step up (+1) or down (−1) from the shown value; None where there is nothing to ask for.

        An optional setting has "off" just below its lowest value.
        """
        field = self.field
        if field is None:
            return None
        old = self.value(field.key)
        if old is None:
            new = field.live.low if direction > 0 else None
        elif field.live.optional and direction < 0 and old <= field.live.low:
            new = None
        else:
            new = field.nudged(old, direction)
        return None if new == old else self._ask(field.key, new)

    def typed(self, text: str) -> SetValue:
        """Ask for a value as it was typed: a number, or "off".

        Raises:
            ConfigError: it is not a value for the selected setting.
        """
        if self.selected is None:
            raise ConfigError("there is no setting to change yet", hint="wait until the run has started")
        return self._ask(self.selected, parse_live_value(self.selected, typed_value(text)))

    def settle(self, event: Event) -> None:
        """Forget a request that `event` answers."""
        match event:
            case SettingChanged(key=key, new=new) if key in self.pending and self.pending[key].value == new:
                del self.pending[key]
            case CommandRefused(message=message):
                self.pending = {key: asked for key, asked in self.pending.items() if key not in message}
            case UpdateFinished(update=update):
                self.pending = {key: asked for key, asked in self.pending.items() if update < asked.update + 2}

    def _ask(self, key: str, value: Any) -> SetValue:
        self.pending[key] = Pending(value, self._view.update)
        return SetValue(key=key, value=value)
