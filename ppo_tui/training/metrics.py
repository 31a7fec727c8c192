"""Measuring a run: clocks that pauses do not count on, shares of time, and the scores of the newest episodes."""

from __future__ import annotations

import contextlib
import math
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

EPISODE_WINDOW = 100
"""Episodes that ``rollout/ep_rew_mean`` averages over, as in Stable-Baselines3."""


class TrainingClock:
    """Seconds of training since `start`, from a monotonic clock, without the pauses.

    Args:
        seconds: what it shows at the start: those that an earlier process has trained.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        self._started = time.perf_counter() - seconds
        self._paused_at: float | None = None
        self._paused_seconds = 0.0

    def start(self, seconds: float = 0.0) -> None:
        self.__init__(seconds)

    def hold(self, paused: bool) -> None:
        """Stop the clock, or let it go on."""
        now = time.perf_counter()
        if paused:
            self._paused_at = now
        elif self._paused_at is not None:
            self._paused_seconds += now - self._paused_at
            self._paused_at = None

    @property
    def seconds(self) -> float:
        now = time.perf_counter() if self._paused_at is None else self._paused_at
        return now - self._started - self._paused_seconds


class PhaseTimes:
    """How long each phase of an update took, in seconds of a `TrainingClock`.

    Phases: ``wait`` for the workers, ``infer`` actions and values, ``copy`` observations and decisions in and out of
    the rollout, ``learn`` from it.
    """

    PHASES = ("wait", "infer", "copy", "learn")

    def __init__(self, clock: TrainingClock) -> None:
        self._clock = clock
        self.begin()

    def begin(self) -> None:
        """Start a new update."""
        self._began = self._clock.seconds
        self._spent = dict.fromkeys(self.PHASES, 0.0)

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count what happens inside towards `name`."""
        started = self._clock.seconds
        try:
            yield
        finally:
            self._spent[name] += self._clock.seconds - started

    @property
    def total(self) -> float:
        return max(self._clock.seconds - self._began, 1e-9)

    def shares(self) -> dict[str, float]:
        """Share (0..1) of the update in each phase; ``other`` is the rest. They add up to 1."""
        total = self.total
        shares = {f"time/share_{name}": spent / total for name, spent in self._spent.items()}
        shares["time/share_other"] = max(0.0, 1.0 - sum(shares.values()))
        return shares


class RecentRate:
    """Environment steps a second over the newest updates."""

    def __init__(self, updates: int = 10) -> None:
        self._newest: deque[tuple[int, float]] = deque(maxlen=updates)

    def add(self, steps: int, seconds: float) -> None:
        self._newest.append((steps, seconds))

    @property
    def per_second(self) -> float:
        seconds = sum(seconds for _, seconds in self._newest)
        return sum(steps for steps, _ in self._newest) / seconds if seconds > 0 else 0.0


@dataclass
class EpisodeWindow:
    """Raw full-game returns and lengths of the newest episodes."""

    returns: deque[float] = field(default_factory=lambda: deque(maxlen=EPISODE_WINDOW))
    lengths: deque[int] = field(default_factory=lambda: deque(maxlen=EPISODE_WINDOW))
    total: int = 0

    def add(self, episode_return: float, length: int) -> None:
        self.returns.append(episode_return)
        self.lengths.append(length)
        self.total += 1

    def score(self, at_least: int) -> float | None:
        """The mean return, finite; None before `at_least` episodes have ended."""
        if len(self.returns) < at_least:
            return None
        mean = sum(self.returns) / len(self.returns)
        return mean if math.isfinite(mean) else None

    def metrics(self) -> dict[str, float]:
        """Their means; nothing before the first episode has ended."""
        if not self.returns:
            return {}
        return {
            "rollout/ep_rew_mean": sum(self.returns) / len(self.returns),
            "rollout/ep_len_mean": sum(self.lengths) / len(self.lengths),
        }
