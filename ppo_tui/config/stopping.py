"""Settings of stop rules, and their short form ``--until``."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Annotated, Literal

from msgspec import Meta

from ..errors import ConfigError, UsageError
from .declaring import Live, Section, setting

SOLVED = "solved"
"""The goal at which the environment itself counts as solved."""

EVALUATED = "eval/"
"""Beginning of the metrics of evaluations."""

OF_EPISODES = ("rollout/", "env/")
"""Beginnings of the metrics that are means over episodes of the training."""

MOST_EPISODES = 100
"""Newest episodes that a run remembers."""


class StopConfig(Section, frozen=True, kw_only=True):
    """Rules to end a run before `run.total_steps`; the first one decides."""

    metric: Annotated[
        str,
        setting(
            "Key of the metric that the rules look at: of an update (`rollout/…`, `train/…`, `env/…`) or of an "
            "evaluation (`eval/…`).",
            on_resume="harmless",
            pattern=r"\A[A-Za-z0-9_]+/[^\x00-\x1f\x7f]+\Z",
            max_length=200,
        ),
    ] = "rollout/ep_rew_mean"
    at: Annotated[
        Annotated[float, Meta(ge=-1e12, le=1e12)] | Literal["solved"] | None,
        setting(
            "End the run once the metric has reached this; solved stands for the environment's own threshold, none for "
            "no such goal.",
            on_resume="harmless",
            live=Live(
                low=-1e12,
                high=1e12,
                step=1.0,
                optional=True,
                typed=True,
                unit="of the metric",
                aliases=("until", "stop_at"),
            ),
        ),
    ] = None
    better: Annotated[
        Literal["higher", "lower"],
        setting("Whether higher or lower values of the metric are better.", on_resume="harmless"),
    ] = "higher"
    window: Annotated[
        int,
        setting(
            "Episodes that must have ended before a metric of episodes counts; the mean return and length are taken "
            "over so many newest ones. Evaluations have eval.episodes.",
            on_resume="harmless",
            ge=1,
            le=MOST_EPISODES,
        ),
    ] = MOST_EPISODES
    held: Annotated[
        int,
        setting(
            "Checks in a row at which the goal must be reached: updates, or evaluations.",
            on_resume="harmless",
            ge=1,
            le=1_000_000,
        ),
    ] = 1
    plateau: Annotated[
        Annotated[int, Meta(ge=1, le=10**13)] | None,
        setting(
            "End the run once the metric has not become better by stop.gain in this many environment steps; none never "
            "does.",
            on_resume="harmless",
            live=Live(low=1, high=10**13, step=1, optional=True, typed=True, unit="steps", aliases=("stop_plateau",)),
        ),
    ] = None
    gain: Annotated[
        float,
        setting(
            "What must be added to the best value to end a plateau; 0 counts any better one.",
            on_resume="harmless",
            ge=0,
            le=1e12,
        ),
    ] = 0.0
    after: Annotated[
        Annotated[float, Meta(gt=0, le=10**9)] | None,
        setting(
            "End the run after this much training: seconds, or a time such as 90min, 2h or 1d12h. Counted over all "
            "resumes, without pauses, as in the header's `elapsed`; none for no limit.",
            on_resume="harmless",
            live=Live(low=1.0, high=1e9, step=1.0, optional=True, typed=True, unit="s", aliases=("stop_after",)),
            duration=True,
        ),
    ] = None


def is_rule(key: str) -> bool:
    """Whether a setting is a stop rule, read by no learner."""
    return key.startswith("stop.")


# ── Times ───────────────────────────────────────────────────────────────────────────────────────────────────

_UNITS = {"d": 86_400, "h": 3_600, "min": 60, "m": 60, "s": 1}
_PART = r"(?P<number{0}>\d+(?:\.\d+)?) ?(?P<unit{0}>d|h|min|m|s)"
_DURATION = re.compile(r" ?".join(f"(?:{_PART.format(place)})?" for place in range(4)))


def read_duration(text: str) -> float | None:
    """Seconds of a time such as 90min or 1d 12h; else None.

    Larger units come first, each once.
    """
    match = _DURATION.fullmatch(text.strip().lower())
    parts = [(match[f"number{place}"], match[f"unit{place}"]) for place in range(4)] if match else []
    found = [(float(number), _UNITS[unit]) for number, unit in parts if number]
    units = [unit for _, unit in found]
    if not found or units != sorted(set(units), reverse=True):
        return None
    return sum(number * unit for number, unit in found)


# ── --until ─────────────────────────────────────────────────────────────────────────────────────────────────

_OFF = ("stop.at=none", "stop.plateau=none", "stop.after=none")
_EXPECTED = "expected a return such as 475, KEY=VALUE, solved, a time such as 2h, or off"


def until_overrides(texts: Sequence[str] | None) -> list[str]:
    """The settings behind ``--until``, as ``--set`` takes them.

    Raises:
        UsageError: one cannot be read, or two contradict each other.
    """
    found: dict[str, str] = {}
    overrides: list[str] = []
    for text in texts or ():
        kind, settings = _read_until(text.strip())
        if other := found.get(kind) or (next(iter(found.values()), "") if "off" in (kind, *found) else ""):
            raise UsageError(f"--until {other} and --until {text}: they exclude each other", hint="leave one out")
        found[kind] = text
        overrides += settings
    return overrides


def _read_until(text: str) -> tuple[str, tuple[str, ...]]:
    """The kind of one ``--until`` (goal, time, off), and its settings."""
    if text.lower() in ("off", "none"):
        return "off", _OFF
    if text.lower() == SOLVED:
        return "goal", (f"stop.at={SOLVED}",)
    key, equals, value = (part.strip() for part in text.rpartition("="))
    if equals and "/" in key and _is_number(value):
        return "goal", (f"stop.metric={json.dumps(key, ensure_ascii=False)}", f"stop.at={float(value)!r}")
    if not equals and _is_number(text):
        return "goal", (f"stop.at={float(text)!r}",)
    if (seconds := read_duration(text)) is not None:
        return "time", (f"stop.after={seconds!r}",)
    shown = text if len(text) <= 80 else f"{text[:79]}…"
    raise UsageError(f"--until {shown!r}: {_EXPECTED}")


def _is_number(text: str) -> bool:
    """Whether this is a number, and a finite one."""
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def check_duration(dotted: str, text: str) -> float:
    """The seconds of a setting's text.

    Raises:
        ConfigError: it is no time.
    """
    seconds = read_duration(text)
    if seconds is None:
        shown = repr(text) if len(text) <= 80 else f"{text[:79]!r}…"
        raise ConfigError(f"{dotted} = {shown}: expected seconds, or a time such as 90min, 2h or 1d12h")
    return seconds
