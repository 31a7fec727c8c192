"""Marks on the curves: edits, checkpoints and rewinds."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass


class MarkKind(enum.IntEnum):
    """The kinds of marks, the least telling first."""

    CHECKPOINT = 0
    REWIND = 1
    EDIT = 2


@dataclass(frozen=True)
class Mark:
    """An event at an environment step, in a few words."""

    step: float
    kind: MarkKind
    text: str


def marks_near(marks: Iterable[Mark], step: float, distance: float) -> list[Mark]:
    """The marks within `distance` steps of `step`, each text once.

    The most telling kind comes first, and of a kind the nearest mark.
    """
    near = [mark for mark in marks if abs(mark.step - step) <= distance]
    near.sort(key=lambda mark: (-mark.kind, abs(mark.step - step)))
    unique: dict[str, Mark] = {}
    for mark in near:
        unique.setdefault(mark.text, mark)
    return list(unique.values())


def neighbour(marks: Iterable[Mark], step: float | None, direction: int) -> float | None:
    """The step of the next mark after `step` or before it.

    After it with direction 1, before it with −1; None where there is none.

    Without a step to start from, the newest mark is the neighbour.
    """
    steps = sorted({mark.step for mark in marks})
    if step is None:
        return steps[-1] if steps else None
    if direction > 0:
        return next((other for other in steps if other > step), None)
    return next((other for other in reversed(steps) if other < step), None)
