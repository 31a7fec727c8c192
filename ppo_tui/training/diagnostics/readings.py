"""Readings of a run for diagnostics: a fold over its events."""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from ...config import LIVE_FIELDS
from ...config.schedules import EFFECTIVE_METRICS
from ...protocol import (
    EpisodeFinished,
    Event,
    SettingChanged,
    SuggestedEdit,
    UpdateFinished,
    WorkersStatus,
    WorkerState,
)
from ...statistics import slowdowns

NEWEST = 20
"""Updates that averages are taken over."""

SECONDS = 4.0
"""Training time that averages of times span at least: rollouts of CartPole take milliseconds, too short to judge by."""

CRITIC_UPDATES = 40
"""Updates over which a critic is judged: its explained variance of one short rollout is half chance."""

CRITIC_WORKS = 0.3
"""Explained variance of a single update that no critic reaches by chance. A critic that has reached it is not frozen:
in CartPole it explains much at one time and nothing at another, when episodes differ in nothing but their length."""

FIRST_EPISODES = 20
"""Episodes that show how good the policy was in the beginning."""


class Readings:
    """Settings, newest metrics, episodes and workers since the last start or rewind.

    Attributes:
        config: the run's configuration as nested tables.
        changes: of live settings, oldest first.
        pids: of the workers, by index.
        episodes: finished so far.
        equal_episodes: newest episodes in a row with the very same return.
    """

    def __init__(self, config: dict[str, Any], changes: Sequence[SettingChanged] = ()) -> None:
        self.config = config
        self.changes = list(changes)
        self.pids: dict[int, int] = {}
        self.episodes = 0
        self.equal_episodes = 0
        self._newest: Mapping[str, float | None] = {}
        self._first: dict[str, float] = {}
        self._shares: deque[tuple[float, float]] = deque()  # (seconds of the run, share of waiting) of updates
        self._answers: deque[tuple[float, dict[int, float]]] = deque()  # the same of each worker's answers
        self._most_envs = 1
        self._explained: deque[float] = deque(maxlen=CRITIC_UPDATES)
        self._critic_works = False
        self._first_returns: list[float] = []
        self._last_return: float | None = None
        self._best_mean = -math.inf

    def add(self, event: Event) -> None:
        """Fold in one event."""
        match event:
            case SettingChanged():
                self.changes.append(event)
            case EpisodeFinished():
                self._add_episode(event.episode_return)
            case WorkersStatus():
                self._add_workers(event)
            case UpdateFinished():
                self._add_update(event)

    def _add_episode(self, episode_return: float) -> None:
        self.episodes += 1
        self.equal_episodes = self.equal_episodes + 1 if episode_return == self._last_return else 1
        self._last_return = episode_return
        if len(self._first_returns) < FIRST_EPISODES:
            self._first_returns.append(episode_return)

    def _add_workers(self, event: WorkersStatus) -> None:
        if any(worker.state is not WorkerState.WAITING for worker in event.workers):
            return  # in the middle of a rollout
        shares = {worker.index: worker.answer_share / worker.num_envs for worker in event.workers}
        self._answers.append((event.elapsed, shares))
        self._most_envs = max(worker.num_envs for worker in event.workers)
        self.pids = {worker.index: worker.pid for worker in event.workers}
        _drop_old(self._answers)

    def _add_update(self, event: UpdateFinished) -> None:
        self._newest = event.metrics
        for key in ("train/entropy_loss", "train/std"):
            if (value := self.metric(key)) is not None:
                self._first.setdefault(key, value)
        if (explained := self.metric("train/explained_variance")) is not None:
            self._explained.append(max(0.0, explained))
            self._critic_works = self._critic_works or explained >= CRITIC_WORKS
        if (share := self.metric("time/share_wait")) is not None:
            self._shares.append((event.elapsed, share))
            _drop_old(self._shares)
        if (mean := self.metric("rollout/ep_rew_mean")) is not None and self.episodes >= FIRST_EPISODES:
            self._best_mean = max(self._best_mean, mean)

    # ── Derived ──────────────────────────────────────────────────────────────────────────────────────────────

    def configured(self, key: str) -> Any:
        """A setting as the run began, by dotted name, or None."""
        section, _, name = key.partition(".")
        return self.config.get(section, {}).get(name)

    def setting(self, key: str) -> Any:
        """The setting with the changes since, as its schedule has it now."""
        metric = next((name for name, setting in EFFECTIVE_METRICS.items() if setting == key), None)
        if metric and (annealed := self.metric(metric)) is not None:
            return annealed
        return next((change.new for change in reversed(self.changes) if change.key == key), self.configured(key))

    def edit(self, key: str, value: float) -> SuggestedEdit | None:
        """A live setting's value, within its range; None for no change."""
        live, now = LIVE_FIELDS[key].live, self.setting(key)
        allowed = float(f"{min(max(value, live.low), live.high):.3g}")
        return None if now is not None and math.isclose(allowed, now) else SuggestedEdit(key=key, value=allowed)

    def metric(self, key: str) -> float | None:
        """A metric of the newest update; None if missing or not finite."""
        value = self._newest.get(key)
        return value if value is not None and math.isfinite(value) else None

    @property
    def batch_size(self) -> int:
        return self.configured("rollout.num_envs") * self.configured("rollout.steps")

    @property
    def freedom(self) -> float | None:
        """Entropy (or standard deviation) of the policy, relative to its first."""
        for key in ("train/std", "train/entropy_loss"):
            now, first = self.metric(key), self._first.get(key)
            if now is not None and first:
                return now / first
        return None

    @property
    def explained(self) -> float | None:
        """Mean explained variance, negative values counted as 0; None too early.

        `CRITIC_WORKS` where the critic has once reached it. None too where all newest episodes are alike: no
        difference is left to explain.
        """
        if len(self._explained) < CRITIC_UPDATES or self.equal_episodes >= 100:
            return None
        return CRITIC_WORKS if self._critic_works else statistics.fmean(self._explained)

    @property
    def mean_return(self) -> float | None:
        return self.metric("rollout/ep_rew_mean")

    @property
    def improved(self) -> bool:
        """Whether returns exceed the first ones by more than those differ."""
        if self.mean_return is None or len(self._first_returns) < FIRST_EPISODES:
            return False
        return self.mean_return > statistics.fmean(self._first_returns) + statistics.pstdev(self._first_returns)

    @property
    def stuck_episodes(self) -> int:
        """Newest episodes in a row with one return, unless the best."""
        if self._last_return is None:
            return 0
        never_another = self.equal_episodes == self.episodes
        worse = self._last_return < self._best_mean and not math.isclose(self._last_return, self._best_mean)
        return self.equal_episodes if never_another or worse else 0

    @property
    def wait_share(self) -> float | None:
        """Share of time spent waiting for workers; None too early."""
        if len(self._shares) < NEWEST // 2 or not _long_enough(self._shares):
            return None
        return statistics.fmean(share for _, share in self._shares)

    @property
    def straggler(self) -> tuple[int, float] | None:
        """The slowest worker, and its step time over the others' median.

        None too early; 1 where even the slowest works in too small a part of the time to matter. Medians over rollouts:
        a worker that hung once, and was replaced, is no straggler.
        """
        if len(self._answers) < NEWEST // 4 or not _long_enough(self._answers) or len(self.pids) < 2:
            return None
        medians = {
            worker: statistics.median(shares.get(worker, 0.0) for _, shares in self._answers) for worker in self.pids
        }
        factors = slowdowns({worker: share * self._most_envs for worker, share in medians.items()})
        return max(factors.items(), key=lambda item: item[1])


def _drop_old(timed: deque[tuple[float, Any]]) -> None:
    """Drop entries older than `SECONDS`, but for the newest `NEWEST`."""
    while len(timed) > NEWEST and timed[-1][0] - timed[1][0] > SECONDS:
        timed.popleft()


def _long_enough(timed: deque[tuple[float, Any]]) -> bool:
    return timed[-1][0] - timed[0][0] > SECONDS
