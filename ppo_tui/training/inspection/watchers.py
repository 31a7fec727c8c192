"""Watchers of the updates, each for some seconds. Imports no torch."""

from __future__ import annotations

import time
from collections.abc import Callable

from ...protocol import WATCH_SECONDS


class Watchers:
    """The senders of `WatchUpdate`, each for `WATCH_SECONDS`.

    Its methods belong to one thread; any thread may read `present`.

    Args:
        clock: seconds, monotonic.

    Attributes:
        closed: the last one has left in so many words, and did not vanish.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until: dict[str, float] = {}
        self._last = float("-inf")
        self.closed = False

    @property
    def present(self) -> bool:
        """Whether anybody looks."""
        return self._clock() < self._last

    @property
    def seconds(self) -> float:
        """Seconds until nobody looks, if nobody says more."""
        return max(0.0, self._last - self._clock())

    def welcome(self, name: str) -> None:
        """Count on this one for `WATCH_SECONDS`."""
        now = self._clock()
        self._until = {each: until for each, until in self._until.items() if until > now}
        self._until[name] = self._last = now + WATCH_SECONDS
        self.closed = False

    def dismiss(self, name: str) -> None:
        """Count on this one no more."""
        self._until.pop(name, None)
        self._last = max(self._until.values(), default=float("-inf"))
        self.closed = not self.present
