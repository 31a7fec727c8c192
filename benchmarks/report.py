"""From the figures of all rounds to tables and to JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rich import box
from rich.table import Table

from benchmarks.statistics import Summary, paired_ratios
from benchmarks.suites import RATE, Suite

Figures = Mapping[str, float]
"""Results of one measurement, by name."""


@dataclass
class SuiteResult:
    """The measurements of one suite.

    Attributes:
        rounds: by case, the figures of each round; None for a failed measurement.
        failures: by case, the reason of its last failure.
    """

    suite: Suite
    rounds: dict[str, list[Figures | None]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def add(self, case: str, figures: Figures) -> None:
        self.rounds.setdefault(case, []).append(figures)

    def add_failure(self, case: str, reason: str) -> None:
        self.rounds.setdefault(case, []).append(None)
        self.failures[case] = reason

    def summaries(self, case: str) -> dict[str, Summary]:
        """A summary of each figure of `case` over its rounds."""
        found = [figures for figures in self.rounds.get(case, []) if figures is not None]
        return {name: Summary.of([figures[name] for figures in found]) for name in (found[0] if found else ())}

    def ratio(self, case: str) -> Summary | None:
        """The ratio of the reference's rate to `case`'s, by round.

        None without a pair of rates.
        """
        reference = self.suite.reference
        if reference is None or case == reference:
            return None
        ratios = paired_ratios(self._rates(reference), self._rates(case))
        return Summary.of(ratios) if ratios else None

    def _rates(self, case: str) -> list[float | None]:
        return [None if figures is None else figures[RATE] for figures in self.rounds.get(case, [])]


def as_json(results: Iterable[SuiteResult], machine: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """All figures and summaries, for JSON."""
    return {"machine": dict(machine), "options": dict(options), "suites": {r.suite.name: _suite(r) for r in results}}


def _suite(result: SuiteResult) -> dict[str, Any]:
    return {
        "title": result.suite.title,
        "reference": result.suite.reference,
        "cases": {
            case.name: {
                "rounds": result.rounds.get(case.name, []),
                "summaries": {name: vars(summary) for name, summary in result.summaries(case.name).items()},
                "ratio": (ratio := result.ratio(case.name)) and vars(ratio),
                "failure": result.failures.get(case.name),
            }
            for case in result.suite.cases
        },
    }


def table(result: SuiteResult, *, markdown: bool = False) -> Table:
    """A table with one line for each figure of each case.

    Median, range, and the ratio of the reference to it.
    """
    reference = result.suite.reference
    titled = Table(title=result.suite.title, title_justify="left", box=box.MARKDOWN if markdown else box.SIMPLE_HEAD)
    titled.add_column("case", no_wrap=True)
    titled.add_column("figure", no_wrap=True)
    titled.add_column("median", justify="right", no_wrap=True)
    titled.add_column("lowest to highest", justify="right", no_wrap=True)
    if reference:
        titled.add_column(f"{reference} ÷ it", justify="right", no_wrap=True)
    for row in _rows(result):
        titled.add_row(*row[: len(titled.columns)])
    return titled


def _rows(result: SuiteResult) -> Iterable[tuple[str, ...]]:
    for case in result.suite.cases:
        ratio = result.ratio(case.name)
        for name, summary in result.summaries(case.name).items():
            compared = f"{ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f})" if ratio and name == RATE else ""
            spread = f"{shown(summary.low)} to {shown(summary.high)}"
            yield case.name, label(name), shown(summary.median), spread, compared
        if case.name in result.failures:
            yield case.name, f"failed: {result.failures[case.name]}", "", "", ""


def machine_line(facts: Mapping[str, Any]) -> str:
    """The facts of the machine as one sentence above the tables."""
    return " · ".join(f"{name.replace('_', ' ')} {value}" for name, value in facts.items())


def label(figure: str) -> str:
    """The words for a figure: ``steps_per_second`` reads "steps/second"."""
    return figure.replace("_per_", "/").replace("_", " ")


def shown(value: float) -> str:
    """A figure to about three digits."""
    magnitude = abs(value)
    if magnitude >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if magnitude >= 10 else f"{value:.3f}"
