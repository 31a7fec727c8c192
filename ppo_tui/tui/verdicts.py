"""Values of a run beside their explanations: readings, verdicts and their signs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from ..explanations import Grade, Verdict, absence, explain
from ..plotting import formats
from .view import RunView

UNKNOWN = "not known yet"

_ABSENCES: WeakKeyDictionary[RunView, tuple[int, dict[str, str]]] = WeakKeyDictionary()
"""Reasons by key, for the settings of that time: they are asked for several times a second."""

_SIGNS = {Grade.OK: "✓", Grade.HIGH: "▲", Grade.LOW: "▼"}


def sign(verdict: Verdict) -> tuple[str, str]:
    """The sign of a verdict, clear without colour, and its style."""
    style = "$success" if verdict.grade is Grade.OK else "bold $error" if verdict.grave else "bold $warning"
    return _SIGNS[verdict.grade], style


@dataclass(frozen=True)
class FactsOfView:
    """A run as explanations see it."""

    view: RunView

    def configured(self, key: str) -> Any:
        return self.view.configured(key)

    def setting(self, key: str) -> Any:
        return self.view.settings.get(key, self.view.configured(key))

    def first(self, key: str) -> float | None:
        if key not in self.view.series:
            return None
        values = self.view.series[key].values
        finite = values[np.isfinite(values)][:1]
        return float(finite[0]) if len(finite) else None


def newest(view: RunView, key: str) -> float | None:
    """The newest value of a metric; None before the first."""
    if key not in view.series or not len(view.series[key]):
        return None
    value = view.series[key].last
    return None if np.isnan(value) else value


def judge(view: RunView, key: str) -> Verdict | None:
    """The verdict on the newest value of a metric; None without one."""
    return explain(key).judge(newest(view, key), FactsOfView(view))


def missing(view: RunView, key: str) -> str:
    """The reason for the absence of a metric or setting, or nothing."""
    settled, known = _ABSENCES.get(view, (-1, {}))
    if settled != view.settled:
        known: dict[str, str] = {}
        _ABSENCES[view] = view.settled, known
    if key not in known:
        known[key] = absence(key, FactsOfView(view))
    return known[key]


def reading(view: RunView, key: str) -> str:
    """The value of a metric or setting, or the reason for none.

    A number that is the negative of what people speak of has the sign of its chart.
    """
    if reason := missing(view, key):
        return reason
    if "/" not in key:
        value = view.settings.get(key, view.configured(key))
        known = key in view.settings or view.started is not None
        return _written(value) if known else UNKNOWN
    value = newest(view, key)
    return UNKNOWN if value is None else formats.number(-value if key == "train/entropy_loss" else value)


def _written(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return ", ".join(f"{name} {_written(part)}" for name, part in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(_written, value)) or "none"
    return formats.setting(value)
