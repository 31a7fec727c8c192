"""Statistics over the figures of several rounds."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Summary:
    """Median, lowest and highest figure of all rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Summary:
        """The summary of `values`.

        Raises:
            statistics.StatisticsError: there are no values.
        """
        return cls(statistics.median(values), min(values), max(values))


def paired_ratios(numerators: Sequence[float | None], denominators: Sequence[float | None]) -> list[float]:
    """The ratio of each round with both figures.

    None stands for a failed measurement.

    What disturbs a machine for minutes disturbs both figures of a round, and cancels in their ratio; a ratio of
    medians would compare the quiet minutes of the one with the busy ones of the other.
    """
    return [
        numerator / denominator
        for numerator, denominator in zip(numerators, denominators, strict=True)
        if numerator is not None and denominator
    ]


def growth(values: Sequence[float]) -> float:
    """The rise of a series over its length.

    The mean of its last quarter minus the mean of its first.

    Raises:
        statistics.StatisticsError: the series is empty.
    """
    quarter = max(1, len(values) // 4)
    return statistics.fmean(values[-quarter:]) - statistics.fmean(values[:quarter])
