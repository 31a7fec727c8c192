"""The course of a training beside that of a published one: mean returns of the games that ended in each stretch."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean

import msgspec

STRETCH = 100_000
"""Environment steps that a line of the table covers."""


class _Line(msgspec.Struct):
    """What is needed of a line of ``events.jsonl``."""

    event: str
    step: int = 0
    episode_return: float = 0.0


Course = dict[int, list[float]]
"""Returns of the games that ended in a stretch, by the step that the stretch ends with."""


def read_course(events: Path) -> Course:
    """The course of a run from its ``events.jsonl``, without the stretch that it has not come to the end of."""
    decoder = msgspec.json.Decoder(_Line)
    course: Course = defaultdict(list)
    furthest = 0
    with events.open("rb") as lines:
        for line in filter(lambda line: line.endswith(b"\n"), lines):
            said = decoder.decode(line)
            if said.event == "episode":
                course[-(-said.step // STRETCH) * STRETCH].append(said.episode_return)
            elif said.event == "update":
                furthest = max(furthest, said.step)
    return {until: returns for until, returns in course.items() if until <= furthest}


def read_reference(file: Path) -> dict[str, dict[int, tuple[int, float]]]:
    """By preset and the step that a stretch ends with: how many games ended in it, and their mean return."""
    reference: dict[str, dict[int, tuple[int, float]]] = defaultdict(dict)
    with file.open(newline="", encoding="utf-8") as lines:
        for line in csv.DictReader(lines):
            reference[line["preset"]][int(line["until"])] = int(line["games"]), float(line["mean"])
    return reference


def course_lines(preset: str, courses: Sequence[Course], reference: dict[int, tuple[int, float]]) -> Iterator[str]:
    """A Markdown table of the stretches that any of the `courses` has come to the end of; nothing without any."""
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
