"""Edit hyper-parameters while training: select, draft, ask, undo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..config.live import LIVE_FIELDS, LiveField, parse_live_value, typed_value
from ..config.schedules import schedule_key
from ..errors import ConfigError
from ..protocol import Cause, CommandRefused, Event, Rewound, SettingChanged, SetValue, UpdateFinished, WithdrawValue
from .history import History
from .session import HistoryRestarted
from .verdicts import missing
from .view import RunView

_DEFAULT = "optim.learning_rate"


@dataclass(frozen=True)
class Pending:
    """A requested value, not yet confirmed by the engine.

    It was requested during update `update`.
    """

    value: Any
    update: int
    cause: Cause = Cause.EDIT


class Editor:
    """The live settings of a run as a list with a cursor.

    A value can be *drafted* first, to see its effect, and is then asked for. A request stays *pending* until the engine
    confirms it, refuses it, or lets two updates pass without an answer, as it does when the value is in force already.
    """

    def __init__(self, view: RunView) -> None:
        self._view = view
        self._selected = _DEFAULT
        self.pending: dict[str, Pending] = {}
        self.drafts: dict[str, Any] = {}

    @property
    def keys(self) -> list[str]:
        """Dotted names in the order of the screen: the optimiser's first.

        Those that the run's algorithm does not use are left out.
        """
        known = (key for key in LIVE_FIELDS if key in self._view.settings and not missing(self._view, key))
        return sorted(known, key=lambda key: key[:5] != "optim")

    @property
    def position(self) -> int:
        """The cursor's index in `keys`; 0 before there are any."""
        keys = self.keys
        return keys.index(self._selected) if self._selected in keys else 0

    @property
    def selected(self) -> str | None:
        """The setting under the cursor; None before the run's start."""
        keys = self.keys
        return self._selected if self._selected in keys else next(iter(keys), None)

    @property
    def field(self) -> LiveField | None:
        """The definition of the selected setting; None before the run's start."""
        return LIVE_FIELDS[self.selected] if self.selected else None

    def value(self, key: str) -> Any:
        """The value asked for, or else the one in force."""
        return self.pending[key].value if key in self.pending else self._view.settings[key]

    def note(self, key: str) -> str:
        """A word on the schedule of this setting, or nothing."""
        if self.adapted(key):
            return "adapted"
        course = self._view.course(key)
        return "" if course is None else "warming up" if course.warmup_steps else "annealed"

    def adapted(self, key: str) -> bool:
        """Tell whether this setting follows the divergence."""
        return self._view.configured(schedule_key(key)) == "kl-adaptive"

    def select(self, direction: int) -> None:
        """Move the cursor by `direction`, around the ends."""
        if keys := self.keys:
            self._selected = keys[(self.position + direction) % len(keys)]

    def choose(self, key: str) -> None:
        """Move the cursor to this setting."""
        self._selected = key

    def nudge(self, direction: int) -> SetValue | None:
        """Ask for one step up (+1) or down (−1).

        Returns None where there is nothing to ask for.
        """
        field = self.field
        if field is None:
            return None
        old = self.value(field.key)
        new = _nudged(field, old, direction)
        return None if new == old else self.ask(field.key, new)

    # ── Drafts ──────────────────────────────────────────────────────────────────────────────────────────────

    def drafted(self, key: str) -> Any:
        """The value as it would be with the draft."""
        return self.drafts[key] if key in self.drafts else self.value(key)

    def draft_nudge(self, direction: int) -> None:
        """Draft one step up (+1) or down (−1) for the selected setting."""
        if field := self.field:
            self._draft(field.key, _nudged(field, self.drafted(field.key), direction))

    def draft(self, key: str, value: Any) -> None:
        """Draft a value of any setting, and put the cursor there.

        Raises:
            ConfigError: it is not a value for this setting.
        """
        checked = parse_live_value(key, value)
        self._selected = key
        self._draft(key, checked)

    def draft_typed(self, text: str) -> None:
        """Draft a value as it was typed: a number, or "off".

        Raises:
            ConfigError: it is not a value for the selected setting.
        """
        if self.selected is None:
            raise ConfigError("there is no setting to change yet", hint="wait until the run has started")
        self._draft(self.selected, parse_live_value(self.selected, typed_value(text)))

    def apply_drafts(self) -> list[SetValue]:
        """Ask for all drafts."""
        commands = [self.ask(key, value) for key, value in self.drafts.items()]
        self.drafts.clear()
        return commands

    def _draft(self, key: str, value: Any) -> None:
        self.drafts.pop(key, None)
        if value != self.value(key):
            self.drafts[key] = value

    # ── Undo and redo ───────────────────────────────────────────────────────────────────────────────────────

    def undo(self) -> SetValue | WithdrawValue | None:
        """Take the newest edit back.

        While it is pending it is withdrawn; afterwards its old value is asked for.
        """
        history = self._expected()
        if not history.undoable:
            return None
        edit = history.undoable[-1]
        asked = self.pending.get(edit.key)
        if asked and asked.cause is Cause.EDIT:
            del self.pending[edit.key]
            return WithdrawValue(key=edit.key)
        return self.ask(edit.key, edit.old, Cause.UNDO)

    def redo(self) -> SetValue | None:
        """Ask again for the edit undone last."""
        history = self._expected()
        if not history.redoable:
            return None
        edit = history.redoable[-1]
        return self.ask(edit.key, edit.new, Cause.REDO)

    def _expected(self) -> History:
        """The history as it will be with everything pending in force."""
        asked = [
            SettingChanged(
                key=key,
                old=self._view.settings[key],
                new=pending.value,
                by="",
                step=0,
                update=pending.update,
                cause=pending.cause,
            )
            for key, pending in self.pending.items()
        ]
        return History([*self._view.history.applied, *asked])

    def settle(self, event: Event) -> None:
        """Forget the request answered by `event`."""
        match event:
            case HistoryRestarted():  # no setting is known any more
                self.pending.clear()
                self.drafts.clear()
            case SettingChanged(key=key, new=new) if key in self.pending and self.pending[key].value == new:
                del self.pending[key]
            case CommandRefused(message=message):
                self.pending = {key: asked for key, asked in self.pending.items() if key not in message}
            case Rewound():
                self.pending.clear()
            case UpdateFinished(update=update):
                self.pending = {key: asked for key, asked in self.pending.items() if update < asked.update + 2}

    def ask(self, key: str, value: Any, cause: Cause = Cause.EDIT) -> SetValue:
        """Ask for `value`; it is pending from now on."""
        self.pending.pop(key, None)  # the newest request comes last
        self.pending[key] = Pending(value, self._view.update, cause)
        return SetValue(key=key, value=value, cause=cause)


def _nudged(field: LiveField, old: Any, direction: int) -> Any:
    """`old` after one step.

    An optional setting has "off" just below its lowest value; one to be typed stays as it is.
    """
    if field.live.typed:
        return old
    if old is None:
        return field.live.low if direction > 0 else None
    if field.live.optional and direction < 0 and old <= field.live.low:
        return None
    return field.nudged(old, direction)
