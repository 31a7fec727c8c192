"""The pace of a run: environment steps per second, without pauses."""

from __future__ import annotations

from collections import deque

from ..protocol import RunState

_UPDATES, _SECONDS = 20, 5.0
"""The pace is that of so many updates, or of so many seconds if these are longer.

On a busy machine the updates of A3C, whose workers never wait, end in bursts.
"""

_LEAST_SECONDS = 1.0


class Pace:
    """Steps per second over the last updates, and before the first.

    All times are seconds of the run.
    """

    def __init__(self) -> None:
        self._paused_since: float | None = None
        self._paused_seconds = 0.0
        self._began: tuple[int, float] | None = None  # (step, seconds at work) when this process began to train
        self._updates: deque[tuple[int, float]] = deque()  # (step, seconds at work)

    def enter(self, state: RunState, elapsed: float) -> None:
        """Count the seconds between entering and leaving the paused state."""
        if self._paused_since is not None:
            self._paused_seconds += elapsed - self._paused_since
        self._paused_since = elapsed if state is RunState.PAUSED else None

    def begin(self, step: int, elapsed: float) -> None:
        """Note the beginning of the training, once."""
        if self._began is None:
            self._began = step, elapsed - self._paused_seconds

    def add(self, step: int, elapsed: float) -> None:
        """Note the end of an update."""
        now = elapsed - self._paused_seconds
        self._updates.append((step, now))
        while len(self._updates) > _UPDATES + 1 and now - self._updates[1][1] >= _SECONDS:
            self._updates.popleft()

    def restart(self) -> None:
        """Forget the updates: the run goes on from another step."""
        self._updates.clear()

    def forget(self) -> None:
        """Forget all but the pauses: another process trains."""
        self._began = None
        self._updates.clear()

    @property
    def in_first_update(self) -> bool:
        """Whether the training has begun, without an update yet."""
        return self._began is not None and not self._updates

    @property
    def fps(self) -> float | None:
        """Steps per second over the last updates; None within a second."""
        if len(self._updates) >= 2:
            (step, seconds), (last_step, last_seconds) = self._updates[0], self._updates[-1]
            if last_seconds - seconds >= _LEAST_SECONDS:
                return (last_step - step) / (last_seconds - seconds)
        return None

    def first_fps(self, step: int, elapsed: float) -> float:
        """Steps per second since the beginning; 0 while unknown."""
        if self._began is None:
            return 0.0
        (began, seconds), now = self._began, elapsed - self._paused_seconds
        return max(0, step - began) / (now - seconds) if now > seconds else 0.0
