"""What is searched: settings with the values that they may have."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..config import Config, get_value, load_preset
from ..errors import UsageError

if TYPE_CHECKING:
    import optuna

_RANGE = re.compile(r"(?P<log>log:)?(?P<low>[^.,]*(?:\.\d[^.,]*)?)\.\.(?P<high>[^,]+)")
_HINT = "such as optim.learning_rate=log:1e-4..1e-2, ppo.epochs=3..20, or policy.activation=tanh,relu"


@dataclass(frozen=True)
class Span:
    """All numbers from `low` to `high`, both included; whole ones where `whole`, evenly on a log scale where `log`."""

    key: str
    low: float
    high: float
    log: bool = False
    whole: bool = False

    def suggest(self, trial: optuna.Trial) -> str:
        """The value that `trial` tries, as ``--set`` takes it."""
        if self.whole:
            return str(trial.suggest_int(self.key, int(self.low), int(self.high), log=self.log))
        return f"{trial.suggest_float(self.key, self.low, self.high, log=self.log):.6g}"

    @property
    def examples(self) -> tuple[str, ...]:
        """Values that must be valid for all of them to be."""
        ends = (int(self.low), int(self.high)) if self.whole else (self.low, self.high)
        return tuple(map(str, ends))


@dataclass(frozen=True)
class Choice:
    """One of these values."""

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
    """The search that ``--search`` describes, each end and each choice of which is a valid setting of `preset`.

    Raises:
        UsageError: a spec is none, a setting is searched twice, or one of its values is not valid.
    """
    config = load_preset(preset, overrides=overrides, allow_import=allow_import)
    found: dict[str, Span | Choice] = {}
    for spec in specs:
        one = _read(spec, config)
        if one.key in found:
            raise UsageError(f"--search {spec!r}: {one.key} is searched already")
        for value in one.examples:
            load_preset(preset, overrides=[*overrides, f"{one.key}={value}"], allow_import=allow_import)
        found[one.key] = one
    return tuple(found.values())


def default_search(config: Config) -> tuple[str, ...]:
    """What is searched where nobody says: the learning rate around the preset's, and the entropy bonus."""
    rate = config.optim.learning_rate or 2.5e-4
    return (f"optim.learning_rate=log:{rate / 10:g}..{min(rate * 10, 1.0):g}", "ppo.entropy_coef=0.0..0.02")


def _read(spec: str, config: Config) -> Span | Choice:
    key, equals, text = (part.strip() for part in spec.partition("="))
    if not (equals and text and "." in key):
        raise UsageError(f"--search {spec!r}: expected KEY=LOW..HIGH, KEY=log:LOW..HIGH or KEY=A,B,…", hint=_HINT)
    try:
        now = get_value(config, key)
    except AttributeError:
        now = None  # the check of its values says what is wrong with the name
    if not (found := _RANGE.fullmatch(text)):
        values = tuple(value.strip() for value in text.split(","))
        if len(set(values)) < 2 or not all(values):
            raise UsageError(f"--search {spec!r}: a choice needs two different values and more", hint=_HINT)
        return Choice(key, values)
    try:
        low, high = float(found["low"]), float(found["high"])
    except ValueError:
        raise UsageError(f"--search {spec!r}: the ends of a range are numbers", hint=_HINT) from None
    log = found["log"] is not None
    if not low < high < float("inf") or (log and low <= 0):
        raise UsageError(
            f"--search {spec!r}: from {low:g} to {high:g} is no range{' on a log scale' * log}", hint=_HINT
        )
    whole = not isinstance(now, float) and low == int(low) and high == int(high)
    return Span(key, low, high, log=log, whole=whole)
