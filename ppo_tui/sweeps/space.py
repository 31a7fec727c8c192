"""The search space: settings with their possible values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..config import Config, get_value, load_preset, override_key
from ..errors import UsageError

if TYPE_CHECKING:
    import optuna

_RANGE = re.compile(r"(?P<log>log:)?(?P<low>[^.,]*(?:\.\d[^.,]*)?)\.\.(?P<high>[^,]+)")
_HINT = "such as optim.learning_rate=log:1e-4..1e-2, ppo.epochs=3..20, or policy.activation=tanh,relu"


@dataclass(frozen=True)
class Span:
    """A range of numbers with both its ends.

    Attributes:
        log: search evenly on a log scale.
        whole: search whole numbers alone.
    """

    key: str
    low: float
    high: float
    log: bool = False
    whole: bool = False

    def suggest(self, trial: optuna.Trial) -> str:
        """Choose the value for `trial`, as ``--set`` takes it."""
        if self.whole:
            return str(trial.suggest_int(self.key, int(self.low), int(self.high), log=self.log))
        return f"{trial.suggest_float(self.key, self.low, self.high, log=self.log):.6g}"

    @property
    def examples(self) -> tuple[str, ...]:
        """Values to check: if these are valid, all are."""
        ends = (int(self.low), int(self.high)) if self.whole else (self.low, self.high)
        return tuple(map(str, ends))


@dataclass(frozen=True)
class Choice:
    """A choice of values."""

    key: str
    values: tuple[str, ...]

    def suggest(self, trial: optuna.Trial) -> str:
        return trial.suggest_categorical(self.key, self.values)

    @property
    def examples(self) -> tuple[str, ...]:
        return self.values


def read_search(
    preset: str, overrides: Sequence[str], specs: Sequence[str], *, allow_import: bool = False
) -> tuple[Span | Choice, ...]:
    """Read ``--search``; every value has to be valid for `preset`.

    Raises:
        UsageError: a spec cannot be read, a setting is searched twice, or a value is not valid.
    """
    config = load_preset(preset, overrides=overrides, allow_import=allow_import)
    found: dict[str, Span | Choice] = {}
    for spec in specs:
        one = _read(spec, config)
        if one.key in found:
            raise UsageError(f"--search {spec!r}: {one.key} is searched already")
        if part := next((key for key in found if key.startswith(f"{one.key}.")), None):
            raise UsageError(
                f"--search {spec!r}: it would replace {part}, which is searched too", hint=f"search in {one.key}.kind"
            )
        for value in one.examples:
            load_preset(preset, overrides=[*overrides, f"{one.key}={value}"], allow_import=allow_import)
        found[one.key] = one
    return tuple(found.values())


def default_search(config: Config) -> tuple[str, ...]:
    """The default search space: learning rate and entropy bonus."""
    rate = config.optim.learning_rate or 2.5e-4
    return (f"optim.learning_rate=log:{rate / 10:g}..{min(rate * 10, 1.0):g}", "ppo.entropy_coef=0.0..0.02")


def _read(spec: str, config: Config) -> Span | Choice:
    key, equals, text = (part.strip() for part in spec.partition("="))
    if not (equals and text and key):
        raise UsageError(f"--search {spec!r}: expected KEY=LOW..HIGH, KEY=log:LOW..HIGH or KEY=A,B,…", hint=_HINT)
    key = override_key(key)
    try:
        now = get_value(config, key)
    except AttributeError:
        now = None  # `read_search` checks the name with the values
    if not (found := _RANGE.fullmatch(text)):
        values = tuple(value.strip() for value in text.split(","))
        if len(set(values)) < 2 or not all(values):
            raise UsageError(f"--search {spec!r}: a choice needs at least two different values", hint=_HINT)
        return Choice(key, values)
    try:
        low, high = float(found["low"]), float(found["high"])
    except ValueError:
        raise UsageError(f"--search {spec!r}: the ends of a range have to be numbers", hint=_HINT) from None
    log = found["log"] is not None
    if not low < high < float("inf") or (log and low <= 0):
        raise UsageError(
            f"--search {spec!r}: from {low:g} to {high:g} is not a range{' on a log scale' * log}", hint=_HINT
        )
    whole = not isinstance(now, float) and low == int(low) and high == int(high)
    return Span(key, low, high, log=log, whole=whole)
