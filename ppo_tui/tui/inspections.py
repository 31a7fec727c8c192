"""The inspected updates of a run, as folded from its events."""

from __future__ import annotations

from collections import deque

from ..protocol import UpdateInspected

MOST_UPDATES = 240
"""Updates in the course of the actions."""


class Inspections:
    """The newest inspected update, and the course of the actions.

    Attributes:
        newest: None before the first.
        course: update, and the shares of all actions or the means of all dimensions, oldest first.
    """

    def __init__(self) -> None:
        self.newest: UpdateInspected | None = None
        self.course: deque[tuple[int, tuple[float | None, ...]]] = deque(maxlen=MOST_UPDATES)

    def add(self, event: UpdateInspected) -> None:
        """Take in an event, in place of one of the same update."""
        self.newest = event
        numbers = event.means or tuple(share for choice in event.choices for share in choice)
        self.rewind(event.update - 1)
        if self.course and len(self.course[-1][1]) != len(numbers):  # of another policy
            self.course.clear()
        self.course.append((event.update, numbers))

    def rewind(self, update: int) -> None:
        """Forget updates after this one."""
        while self.course and self.course[-1][0] > update:
            self.course.pop()
