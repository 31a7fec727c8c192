"""A training run beside a published one, stretch by stretch.

By the mean return of the episodes that ended in each stretch.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean

import msgspec

STRETCH = 100_000
"""Environment steps in a line of the table."""


class _Line(msgspec.Struct):
    """The needed fields of a line of ``events.jsonl``."""

    event: str
    step: int = 0
    episode_return: float = 0.0


Course = dict[int, list[float]]
"""Returns of the episodes of each stretch, by the last step of the stretch."""


def read_course(events: Path) -> Course:
    """The course of a run, from its ``events.jsonl``.

    Without the stretch that it has not completed.
    """
    decoder = msgspec.json.Decoder(_Line)
    course: Course = defaultdict(list)
    furthest = 0
    with events.open("rb") as lines:
        for line in filter(lambda line: line.endswith(b"\n"), lines):
            event = decoder.decode(line)
            if event.event == "episode":
                course[-(-event.step // STRETCH) * STRETCH].append(event.episode_return)
            elif event.event == "update":
                furthest = max(furthest, event.step)
    return {until: returns for until, returns in course.items() if until <= furthest}


def read_reference(file: Path) -> dict[str, dict[int, tuple[int, float]]]:
    """Number of episodes and their mean return, by preset and stretch.

    A stretch is named by its last step.
    """
    reference: dict[str, dict[int, tuple[int, float]]] = defaultdict(dict)
    with file.open(newline="", encoding="utf-8") as lines:
        for line in csv.DictReader(lines):
            reference[line["preset"]][int(line["until"])] = int(line["games"]), float(line["mean"])
    return reference


def course_lines(preset: str, courses: Sequence[Course], reference: dict[int, tuple[int, float]]) -> Iterator[str]:
    """A Markdown table of the stretches completed by any course.

    No lines without any.
    """
    seen = {until: [number for course in courses for number in course.get(until, ())] for until in sorted(reference)}
    if not any(seen.values()):
        return
    yield f"| `{preset}`, until step | games | mean return | reference: games | mean return |"
    yield "|--:|--:|--:|--:|--:|"
    for until, returns in seen.items():
        games, mean = reference[until]
        if returns:
            yield f"| {until:,} | {len(returns)} | {_number(fmean(returns))} | {games} | {_number(mean)} |"


def _number(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")
