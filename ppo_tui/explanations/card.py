"""`Explanation`: a thing on the screen in words, with its healthy range."""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from ..plotting import formats


class SettingsOfRun(Protocol):
    """The settings of a run."""

    def configured(self, key: str) -> Any:
        """A setting as the run began, by dotted name, or None."""
        ...

    def setting(self, key: str) -> Any:
        """The setting in force, or None."""
        ...


class Facts(SettingsOfRun, Protocol):
    """A run, as far as an explanation depends on it."""

    def first(self, key: str) -> float | None:
        """The first finite value of a metric, or None."""
        ...


class Grade(enum.Enum):
    """The place of a value beside its healthy range."""

    OK = "ok"
    LOW = "low"
    HIGH = "high"


@dataclass(frozen=True)
class Verdict:
    """A judgement of a value.

    Attributes:
        grave: the value is beyond the limit of an alarm.
    """

    grade: Grade
    grave: bool = False

    @property
    def word(self) -> str:
        """One or two words: ok, high, too high."""
        return f"too {self.grade.value}" if self.grave else self.grade.value


@dataclass(frozen=True, kw_only=True)
class Healthy:
    """A healthy range, and the limits of the alarms beyond it.

    Attributes:
        low, high: the ends of the range, None for an open one.
        least, most: an alarm's limits, None where there is no alarm.
        of_first: compare the value's share of the run's first value, not the value.
        percent: write the numbers as percent.
        remark: what else is to be known about it.
    """

    low: float | None = None
    high: float | None = None
    least: float | None = None
    most: float | None = None
    of_first: bool = False
    percent: bool = False
    remark: str = ""

    def judge(self, value: float, first: float | None = None) -> Verdict | None:
        """The verdict on `value`; None for NaN, or without a first value."""
        if self.of_first:
            if not first:
                return None
            value = value / first
        if math.isnan(value):
            return None
        if self.high is not None and value > self.high:
            return Verdict(Grade.HIGH, grave=self.most is not None and value > self.most)
        if self.low is not None and value < self.low:
            return Verdict(Grade.LOW, grave=self.least is not None and value < self.least)
        return Verdict(Grade.OK)

    @property
    def text(self) -> str:
        """The range in words: 0.001 to 0.02, up to 30 %."""
        if self.low is not None and self.high is not None:
            text = f"{self._write(self.low)} to {self._write(self.high)}"
        elif self.high is not None:
            text = f"up to {self._write(self.high)}" if self.high else "0"
        else:
            text = f"at least {self._write(self.low or 0.0)}"
        text += " of the first update's" if self.of_first else ""
        return f"{text}; {self.remark}" if self.remark else text

    def _write(self, value: float) -> str:
        return f"{100 * value:g} %" if self.percent or self.of_first else formats.setting(value)


def _always(facts: Facts) -> bool:
    return True


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """One card: a number, setting, sign or panel in words.

    Attributes:
        key: the metric, the dotted name of a setting, or a kind and a name, such as ``panel/workers``.
        name: as it stands on the screen.
        text: one sentence.
        formula: in plain characters, to be read in a terminal.
        healthy: the range to judge it by, None where none holds for all runs.
        usual: what to expect of it where `healthy` says nothing.
        advice: what to try when it is not well.
        link: the page of the documentation, and its section.
        judged: whether the range applies to a run now.
    """

    key: str
    name: str
    text: str
    formula: str = ""
    healthy: Healthy | None = None
    usual: str = ""
    advice: str = ""
    link: str
    judged: Callable[[Facts], bool] = _always

    @property
    def range(self) -> str:
        """The healthy range or the usual values in words, if any."""
        return self.healthy.text if self.healthy else self.usual

    def judge(self, value: float | None, facts: Facts) -> Verdict | None:
        """The verdict on `value` in a run; None without one."""
        if self.healthy is None or value is None or not self.judged(facts):
            return None
        return self.healthy.judge(value, facts.first(self.key) if self.healthy.of_first else None)
