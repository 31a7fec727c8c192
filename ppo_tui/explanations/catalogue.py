"""All explanations by key, in groups, and the search among them."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

from ..plotting import formats
from .alarms import ALARMS, AlarmText
from .card import Explanation
from .collecting import COLLECTING
from .environment import ENVIRONMENT, of_environment
from .learning import LEARNING
from .panels import EVENTS, GAME, HEADER, MARKS, MICROSCOPE, PANELS, WORKERS
from .settings import setting_explanations

METRICS: Mapping[str, Explanation] = {
    each.key: each for each in (*COLLECTING[:3], *ENVIRONMENT, *LEARNING, *COLLECTING[3:])
}
"""Key of a metric → its explanation."""


def _of_alarm(text: AlarmText) -> Explanation:
    updates = f", {text.patience} updates in a row" if text.patience > 1 else ""
    return Explanation(
        key=text.key,
        name=text.title,
        text=f"Raised {'above' if text.above else 'below'} {_written(text.limit, text)}{updates}: {text.measured}.",
        usual=f"{'up to' if text.above else 'at least'} {_written(text.well, text)}",
        advice=f"{text.remedy}.",
        link=f"diagnostics.md#{text.name}",
    )


def _written(value: float, text: AlarmText) -> str:
    return f"{100 * value:g} %" if text.percent else formats.setting(value)


@functools.cache
def groups() -> Mapping[str, Sequence[Explanation]]:
    """Name of a group → its explanations, in the screen's order."""
    return {
        "header": HEADER,
        "metrics": tuple(METRICS.values()),
        "panels": PANELS,
        "workers": WORKERS,
        "settings": tuple(setting_explanations().values()),
        "events": EVENTS,
        "alarms": tuple(map(_of_alarm, ALARMS.values())),
        "marks": MARKS,
        "game": GAME,
        "microscope": MICROSCOPE,
    }


@functools.cache
def _by_key() -> Mapping[str, Explanation]:
    return {each.key: each for group in groups().values() for each in group}


def explain(key: str) -> Explanation:
    """The explanation of a key; of an unknown one it says so."""
    known = _by_key().get(key) or of_environment(key)
    return known or Explanation(
        key=key, name=key, text="A number of this run without a description.", link="metrics.md"
    )


def is_metric(key: str) -> bool:
    """Whether a metric of runs has this key."""
    return key in METRICS or of_environment(key) is not None


def group_of(key: str) -> Sequence[Explanation]:
    """The explanations of the group with `key`."""
    return next((group for group in groups().values() if any(each.key == key for each in group)), (explain(key),))


def find(words: str) -> list[Explanation]:
    """The explanations with all of these words, names first."""
    wanted = words.lower().split()
    found = [
        each
        for each in _by_key().values()
        if all(word in f"{each.key} {each.name} {each.text}".lower() for word in wanted)
    ]
    return sorted(found, key=lambda each: not any(word in f"{each.name} {each.key}".lower() for word in wanted))
