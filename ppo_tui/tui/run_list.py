"""The list of runs: sorted, filtered, with sweeps as trees. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np
from textual.content import Content

from ..plotting import formats
from ..plotting.series import bucket_means
from ..protocol import RunState
from ..runs import RunSummary
from ..runs.progress import Point
from ..runs.registry import CRASHED, DAMAGED, PAUSED, PRUNED
from ..text import counted, one_line
from .cells import longest, padded
from .metrics import sparkline
from .widgets.filter_line import matches
from .widgets.header import STATES

_STATES: Mapping[str, tuple[str, str]] = {
    **{str(state): look for state, look in STATES.items()},
    "running": STATES[RunState.TRAINING],
    PAUSED: STATES[RunState.PAUSED],
    PRUNED: STATES[RunState.STOPPED],
    CRASHED: STATES[RunState.FAILED],
    DAMAGED: STATES[RunState.LOST],
}

_STATE_ORDER = ("starting", "running", PAUSED, "failed", CRASHED, DAMAGED, "stopped", PRUNED, "finished")

REFRESH_SECONDS = 5.0
"""How often a list of runs is read again."""


def state_look(state: str) -> tuple[str, str]:
    """Sign and colour of a run's state, beside its word."""
    return _STATES.get(state, ("•", "$quiet"))


@dataclass(frozen=True)
class Sweep:
    """A sweep in the list: a node above its trials.

    Attributes:
        folded: whether the trials are hidden.
    """

    name: str
    trials: tuple[RunSummary, ...]
    folded: bool

    @property
    def best(self) -> RunSummary:
        """The trial with the highest score, else with the highest return."""
        return max(self.trials, key=lambda trial: _or_lowest(score_of(trial)))


Item = RunSummary | Sweep


def is_run(item: Item | None) -> TypeGuard[RunSummary]:
    return isinstance(item, RunSummary)


def key_of(item: Item) -> str:
    """The name of an item while the list changes."""
    return item.path if is_run(item) else f"sweep {item.name}"


def score_of(run: RunSummary) -> float | None:
    """The score of a trial, or the return of any other run."""
    return run.last_return if run.objective is None else run.objective


# ── Order ───────────────────────────────────────────────────────────────────────────────────────────────────

Sorting = tuple[str, Callable[[RunSummary], Any], bool]

SORTINGS: tuple[Sorting, ...] = (
    ("newest first", lambda run: run.started, True),
    ("by name", lambda run: run.name, False),
    ("by return", lambda run: _or_lowest(score_of(run)), True),
    ("by steps", lambda run: run.step, True),
    ("by state", lambda run: _STATE_ORDER.index(run.state) if run.state in _STATE_ORDER else -1, False),
)
"""Ways to sort: in words, by which value, and whether the highest comes first."""


def _or_lowest(value: float | None) -> float:
    return float("-inf") if value is None else value


def arrange(runs: Sequence[RunSummary], sorting: Sorting, wanted: str, unfolded: Collection[str]) -> list[Item]:
    """The items of the list in order, trials below their sweeps.

    Args:
        wanted: words of the filter; trials that match are shown in folded sweeps too.
        unfolded: names of the sweeps whose trials are shown.
    """
    _, value, descending = sorting
    found = [run for run in runs if matches(wanted, words_of(run))]
    sweeps = dict.fromkeys(run.sweep for run in found if run.sweep)
    groups: list[tuple[Any, list[Item]]] = [(value(run), [run]) for run in found if not run.sweep]
    for name in sweeps:
        trials = [run for run in found if run.sweep == name]
        ordered = sorted(trials, key=lambda run: run.name)
        if sorting is not SORTINGS[0]:
            ordered.sort(key=value, reverse=descending)
        folded = name not in unfolded and not wanted
        first = name if sorting is SORTINGS[1] else max(map(value, trials)) if descending else min(map(value, trials))
        groups.append((first, [Sweep(name, tuple(ordered), folded), *([] if folded else ordered)]))
    groups.sort(key=lambda group: group[0], reverse=descending)
    return [item for _, items in groups for item in items]


def words_of(run: RunSummary) -> str:
    """The words searched by the filter."""
    return f"{run.name} {run.preset} {run.env} {run.state}"


# ── Rows ────────────────────────────────────────────────────────────────────────────────────────────────────

_SIGNS = 3
_FIXED = (("state", -11), ("steps", 7), ("return", 7), ("best", 7))
_AGE, _ENV = 7, 17
_LONGEST_NAME, _SHORTEST_NAME = 40, 16
_LONGEST_CURVE = 40


@dataclass(frozen=True)
class Columns:
    """Widths of the columns; 0 for one without room."""

    name: int
    curve: int
    age: int
    env: int

    @classmethod
    def of(cls, width: int, names: Iterable[str]) -> Columns:
        """Share out `width` cells."""
        left = width - _SIGNS - sum(abs(size) + 1 for _, size in _FIXED)
        name = min(max(_SHORTEST_NAME, longest(names)), _LONGEST_NAME, max(_SHORTEST_NAME, left - 20))
        left -= name
        age = _AGE if left >= _AGE + 10 else 0
        left -= age + bool(age)
        env = _ENV if left >= _ENV + 16 else 0
        left -= env + bool(env)
        return cls(name, max(0, min(_LONGEST_CURVE, left - 1)), age, env)

    def heading(self) -> str:
        words = [f"{'name':<{self.name}}", *(f"{word:{'>' if size > 0 else '<'}{abs(size)}}" for word, size in _FIXED)]
        words += [f"{'course':<{self.curve}}"] if self.curve else []
        words += [f"{'environment':<{_ENV}}"] if self.env else []
        words += [f"{'age':>{_AGE}}"] if self.age else []
        return " " * _SIGNS + " ".join(words)


def run_row(run: RunSummary, columns: Columns, sign: Content, curve: Sequence[Point]) -> Content:
    """The row of a run.

    Args:
        sign: its letter in the charts, and the dot of this screen's run.
        curve: its return so far.
    """
    own = one_line(run.name)
    name = f"  {padded(own.rpartition('/')[2], columns.name - 2)}" if run.sweep else padded(own, columns.name)
    numbers = f"{formats.count(run.step):>7} {formats.number(score_of(run)):>7} {formats.number(run.best_return):>7}"
    return Content.assemble(
        sign.pad_right(_SIGNS - sign.cell_length), f"{name} ", _state(run.state), f" {numbers}",
        *_tail(columns, curve, run.env, run.age_seconds if run.started else None),
    )  # fmt: skip


def sweep_row(sweep: Sweep, columns: Columns, curve: Sequence[Point]) -> Content:
    """The row of a sweep, with numbers and curve of its best."""
    best = sweep.best
    name = f"{'▸' if sweep.folded else '▾'} {one_line(sweep.name)}"
    numbers = f"{formats.number(score_of(best)):>7} {formats.number(best.best_return):>7}"
    youngest = min((trial.age_seconds for trial in sweep.trials if trial.started), default=None)
    title = (f"{padded(name, columns.name)} ", "bold")
    trials = f"{counted(len(sweep.trials), 'trial'):<11} {'':>7} {numbers}"
    return Content.assemble(" " * _SIGNS, title, trials, *_tail(columns, curve, best.env, youngest))


def _tail(columns: Columns, curve: Sequence[Point], env: str, age: float | None) -> list[Content | tuple[str, str]]:
    parts: list[Content | tuple[str, str]] = []
    if columns.curve:
        values = np.array([point.mean_return for point in curve])
        parts.append((f" {sparkline(bucket_means(values, columns.curve)):<{columns.curve}}", "$curve-1"))
    if columns.env:
        parts.append((f" {padded(one_line(env), columns.env)}", "$quiet"))
    if columns.age:
        parts.append((f" {formats.span(age):>{columns.age}}", "$quiet"))
    return parts


def _state(state: str) -> Content:
    sign, style = state_look(state)
    return Content.assemble((f"{sign} {one_line(state):<9.9}", style))


_NEWLINE = "\n"
_FOLDING = ("→ shows its trials, ← hides them; space marks them all", "$quiet")


def describe_item(item: Item, *, own: bool) -> Content:
    """The details of an item, below the list.

    Args:
        own: it is this screen's run.
    """
    if isinstance(item, Sweep):
        return Content.assemble((one_line(item.name), "bold"), f"  a sweep, {describe_sweep(item)}", _NEWLINE, _FOLDING)
    done = f"{item.step:,}" + (f" of {item.total_steps:,}" if item.total_steps else "")
    facts = [
        f"{done} steps",
        f"{formats.span(item.seconds)} of training" if item.seconds else "",
        f"seed {item.seed}" if item.seed is not None else "",
        f"weights from {one_line(item.init_from)}" if item.init_from else "",
        f"pid {item.pid}" if item.pid else "",
    ]
    first = Content.assemble((one_line(item.path), "bold"), f"  {' · '.join(filter(None, facts))}")
    if item.problem and item.state == DAMAGED:
        return Content.assemble(first, _NEWLINE, (one_line(item.problem), "$warning"))
    if item.by_rule:
        return Content.assemble(first, _NEWLINE, (one_line(item.reason), "$quiet"))
    if own:
        return Content.assemble(first, _NEWLINE, ("this screen's run: enter goes back to it", "$quiet"))
    return first


def describe_sweep(sweep: Sweep) -> str:
    """Count the trials by state, and name the best."""
    states = dict.fromkeys(sorted((trial.state for trial in sweep.trials), key=_rank))
    counts = [f"{sum(trial.state == state for trial in sweep.trials)} {state}" for state in states]
    best = sweep.best
    score = score_of(best)
    best_words = "" if score is None else f" · best {formats.number(score)} by {best.name.rpartition('/')[2]}"
    return one_line(f"{counted(len(sweep.trials), 'trial')}: {', '.join(counts)}{best_words}")


def _rank(state: str) -> int:
    return _STATE_ORDER.index(state) if state in _STATE_ORDER else -1
