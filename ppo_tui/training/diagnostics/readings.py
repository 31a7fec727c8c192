"""What the doctor knows of a run: a fold over its events."""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Mapping
from typing import Any

from ...config import LIVE_FIELDS
from ...protocol import (
    EpisodeFinished,
    Event,
    Rewound,
    RunResumed,
    RunStarted,
    SettingChanged,
    UpdateFinished,
    WorkersStatus,
    WorkerState,
)

NEWEST = 20
"""Updates that averages are taken over."""

SECONDS = 4.0
"""Of training that averages of times span at least: rollouts of CartPole take milliseconds, which say nothing."""

CRITIC_UPDATES = 40
"""Updates over which a critic is judged: what it explains of one rollout of a few hundred steps is half chance."""

CRITIC_WORKS = 0.3
"""Explained variance of a single update that no critic comes to by chance. One that has is not frozen: in CartPole it
explains much at one time and nothing at another, when all that differs between games is how long they lasted."""

IDLE_SHARE = 0.3
"""Share of a rollout's time below which nobody waits long for a worker, however slow it is."""

FIRST_GAMES = 20
"""Games that tell how good the policy was in the beginning."""


class Readings:
    """Settings, newest metrics, games and workers.

    Attributes:
        config: the run's configuration as nested tables.
        updates: updates since the run began or went on.
    """

    def __init__(self) -> None:
        self.config: dict[str, Any] = {}
        self._changes: list[SettingChanged] = []
        self._begin()

    def _begin(self) -> None:
        """Forget what was measured: it is another policy's."""
        self.updates = 0
        self._newest: Mapping[str, float | None] = {}
        self._first: dict[str, float] = {}
        self._shares: deque[tuple[float, float]] = deque()  # (seconds of the run, share of waiting) of updates
        self._answers: deque[tuple[float, dict[int, float]]] = deque()  # the same of each worker's answers
        self._most_envs = 1
        self.pids: dict[int, int] = {}
        self._explained: deque[float] = deque(maxlen=CRITIC_UPDATES)
        self._critic_works = False
        self._first_games: list[float] = []
        self._last_game: float | None = None
        self.equal_games = 0
        """Newest games in a row with the very same return."""
        self.games = 0
        self._best_mean = -math.inf

    def add(self, event: Event) -> None:
        """Fold in one event."""
        match event:
            case RunStarted():
                self.config, self._changes = event.config, []
                self._begin()
            case RunResumed():
                self._begin()
            case Rewound():
                self._changes = [change for change in self._changes if change.update <= event.update]
                self._begin()
            case SettingChanged():
                self._changes.append(event)
            case EpisodeFinished():
                self._take_game(event.episode_return)
            case WorkersStatus():
                self._take_workers(event)
            case UpdateFinished():
                self._take_update(event)

    def _take_game(self, episode_return: float) -> None:
        self.games += 1
        self.equal_games = self.equal_games + 1 if episode_return == self._last_game else 1
        self._last_game = episode_return
        if len(self._first_games) < FIRST_GAMES:
            self._first_games.append(episode_return)

    def _take_workers(self, event: WorkersStatus) -> None:
        if any(worker.state is not WorkerState.WAITING for worker in event.workers):
            return  # in the middle of a rollout
        shares = {worker.index: worker.answer_share / worker.num_envs for worker in event.workers}
        self._answers.append((event.elapsed, shares))
        self._most_envs = max(worker.num_envs for worker in event.workers)
        self.pids = {worker.index: worker.pid for worker in event.workers}
        _forget(self._answers)

    def _take_update(self, event: UpdateFinished) -> None:
        self.updates += 1
        self._newest = event.metrics
        for key in ("train/entropy_loss", "train/std"):
            if (value := self.metric(key)) is not None:
                self._first.setdefault(key, value)
        if (explained := self.metric("train/explained_variance")) is not None:
            self._explained.append(max(0.0, explained))
            self._critic_works = self._critic_works or explained >= CRITIC_WORKS
        if (share := self.metric("time/share_wait")) is not None:
            self._shares.append((event.elapsed, share))
            _forget(self._shares)
        if (mean := self.metric("rollout/ep_rew_mean")) is not None and self.games >= FIRST_GAMES:
            self._best_mean = max(self._best_mean, mean)

    # ── What follows ────────────────────────────────────────────────────────────────────────────────────────

    def configured(self, key: str) -> Any:
        """The setting of this dotted name as the run began; None where it is of no concern."""
        section, _, name = key.partition(".")
        return self.config.get(section, {}).get(name)

    def setting(self, key: str) -> Any:
        """The same with the edits since; the learning rate as it is annealed now."""
        if key == "optim.learning_rate" and (annealed := self.metric("train/learning_rate")) is not None:
            return annealed
        return next((change.new for change in reversed(self._changes) if change.key == key), self.configured(key))

    def edit(self, key: str, value: float) -> str:
        """The command that sets a live field to `value`, in three digits and within what its editor offers."""
        live = LIVE_FIELDS[key].live
        return f"set {key} {min(max(value, live.low), live.high):.3g}"

    def metric(self, key: str) -> float | None:
        """Of the newest update; None where it has none, or no number."""
        value = self._newest.get(key)
        return value if value is not None and math.isfinite(value) else None

    @property
    def batch_size(self) -> int:
        return self.configured("rollout.num_envs") * self.configured("rollout.steps")

    @property
    def freedom(self) -> float | None:
        """How freely the policy still chooses, as a share of the beginning: its entropy, or its standard deviation."""
        for key in ("train/std", "train/entropy_loss"):
            now, first = self.metric(key), self._first.get(key)
            if now is not None and first:
                return now / first
        return None

    @property
    def explained(self) -> float | None:
        """Mean explained variance, less than nothing counted as nothing; None where it is too early to tell.

        `CRITIC_WORKS` where it has been seen to work at all. None too where all newest games are alike:
        no difference is left to explain.
        """
        if len(self._explained) < CRITIC_UPDATES or self.equal_games >= 100:
            return None
        return CRITIC_WORKS if self._critic_works else statistics.fmean(self._explained)

    @property
    def mean_return(self) -> float | None:
        return self.metric("rollout/ep_rew_mean")

    @property
    def improved(self) -> bool:
        """Whether games end better than the first ones did, by more than these differ among themselves."""
        if self.mean_return is None or len(self._first_games) < FIRST_GAMES:
            return False
        return self.mean_return > statistics.fmean(self._first_games) + statistics.pstdev(self._first_games)

    @property
    def stuck_games(self) -> int:
        """Newest games in a row with one return, unless they are as good as any before: 0 then."""
        if self._last_game is None:
            return 0
        never_another = self.equal_games == self.games
        worse = self._last_game < self._best_mean and not math.isclose(self._last_game, self._best_mean)
        return self.equal_games if never_another or worse else 0

    @property
    def wait_share(self) -> float | None:
        """Share of the time that the training waited for workers; None before there is enough of it."""
        if len(self._shares) < NEWEST // 2 or not _long_enough(self._shares):
            return None
        return statistics.fmean(share for _, share in self._shares)

    @property
    def straggler(self) -> tuple[int, float] | None:
        """The slowest worker, and how many times as long as the median of the others it takes for a step.

        None too early, or where the slowest has its answers in too small a part of the time to matter. Medians over
        rollouts: a worker that hung once, and was replaced, is no straggler.
        """
        if len(self._answers) < NEWEST // 4 or not _long_enough(self._answers) or len(self.pids) < 2:
            return None
        medians = {
            worker: statistics.median(shares.get(worker, 0.0) for _, shares in self._answers) for worker in self.pids
        }
        worst = max(medians, key=medians.__getitem__)
        others = statistics.median(share for worker, share in medians.items() if worker != worst)
        if medians[worst] * self._most_envs < IDLE_SHARE:
            return worst, 1.0
        return worst, medians[worst] / max(others, 1e-9)


def _forget(timed: deque[tuple[float, Any]]) -> None:
    """Drop what is older than the newest `NEWEST` entries and than `SECONDS`."""
    while len(timed) > NEWEST and timed[-1][0] - timed[1][0] > SECONDS:
        timed.popleft()


def _long_enough(timed: deque[tuple[float, Any]]) -> bool:
    return timed[-1][0] - timed[0][0] > SECONDS
