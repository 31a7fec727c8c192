"""`RunView`: a run as folded from its events. No widget, no clock."""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass, replace
from functools import singledispatchmethod
from typing import Any

import msgspec

from ..config.live import LIVE_FIELDS
from ..config.loading import is_sound, sound_tables
from ..config.schedules import EFFECTIVE_METRICS, SCHEDULED, course_of, read_schedule, schedule_key
from ..expectations import MEAN_RETURN, Forecast, Standing
from ..explanations import ALARMS, alarm_key
from ..plotting import formats
from ..plotting.marks import Mark, MarkKind
from ..plotting.series import LIVE_POINTS, Sample, Series
from ..protocol import (
    Alarm,
    CheckpointSaved,
    CommandRefused,
    Course,
    EpisodeFinished,
    Evaluated,
    Event,
    InterimMetrics,
    Level,
    Recovered,
    Rewound,
    RolloutProgress,
    RunFinished,
    RunResumed,
    RunStarted,
    RunState,
    SettingChanged,
    StartProgress,
    StateChanged,
    StopDistance,
    UpdateFinished,
    UpdateInspected,
    UpdateProgress,
    WeightsTaken,
    WorkerInfo,
    WorkersStatus,
)
from ..sinks.wording import describe, describe_best, describe_change
from ..text import one_line
from .history import History
from .inspections import Inspections
from .log_entries import Kind, LogEntry
from .pace import Pace
from .session.base import HistoryRestarted

EPISODE_RETURNS = "episode/return"
"""The series of the returns of single episodes; all others are keys of the metrics."""

EVALUATED_RETURN = "eval/ep_rew_mean"

LAST_RETURNS = 10
"""Returns that are kept for each environment."""

MEAN_LENGTH = "rollout/ep_len_mean"

_WINDOW = 100
"""Episodes in the mean return, as in the metrics of an update."""

_LOG_LENGTH = 1_000

_SETTLING = (HistoryRestarted, RunStarted, UpdateFinished, SettingChanged, Rewound)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint with its two scores, NaN for none.

    The mean return of the episodes before it, and that of its evaluation.
    """

    saved: CheckpointSaved
    score: float
    evaluated: float = float("nan")


class RunView:
    """The state of a run after the events applied so far.

    Attributes:
        weights: of another run, that this one has begun with; None for fresh ones.
        series: curves by metric key; `EPISODE_RETURNS` holds single episodes.
        settings: live hyper-parameters by dotted name, with the values in force (after annealing).
        changes: the accepted edits, oldest first, those of abandoned branches included.
        marks: those on the curves, oldest first.
        inspections: the updates that somebody looked at.
        standing: the run beside the measured curve of its preset.
        alarms: those of the diagnostics that hold now, by name.
        last_returns: of the newest episodes of each environment, oldest first.
        history: the edits of the present branch, to undo and redo.
        checkpoints: oldest first; one saved to the same path replaces the one before.
        starting: what a run does that does not train yet; None for any other.
        settled: grows with every event that changes a setting or ends an update.
        version: grows with every event; nothing has changed for a screen while it stays.
        logged: grows with every line of the log.
    """

    def __init__(self) -> None:
        self.started: RunStarted | None = None
        self.finished: RunFinished | None = None
        self.weights: WeightsTaken | None = None
        self.state = RunState.STARTING
        self.reason = ""
        self.step = 0
        self.update = 0
        self.elapsed = 0.0
        self.starting: StartProgress | None = None
        self.rollout: RolloutProgress | None = None
        self.learning: UpdateProgress | None = None
        self.workers: tuple[WorkerInfo, ...] = ()
        self.series: defaultdict[str, Series] = defaultdict(lambda: Series(LIVE_POINTS))
        self.series[EPISODE_RETURNS] = Sample(LIVE_POINTS)
        self.settings: dict[str, Any] = {}
        self.changes: list[SettingChanged] = []
        self.marks: list[Mark] = []
        self.history = History()
        self.standing = Standing()
        self.stop: StopDistance | None = None
        self.inspections = Inspections()
        self.alarms: dict[str, Alarm] = {}
        self.episodes = 0
        self.best: EpisodeFinished | None = None
        self.last_returns: defaultdict[int, deque[float]] = defaultdict(lambda: deque(maxlen=LAST_RETURNS))
        self.checkpoints: list[Checkpoint] = []
        self.log: deque[LogEntry] = deque(maxlen=_LOG_LENGTH)
        self.version = self.logged = self.settled = 0
        self._stated_at = 0.0  # the time of the newest change of the state
        self._learning_since: float | None = None
        self._window: deque[EpisodeFinished] = deque(maxlen=_WINDOW)
        self._window_whole = True  # whether no episode of the window is missing, as after going back
        self._pace = Pace()

    def apply(self, event: Event) -> None:
        """Fold in one event. Unknown types are ignored."""
        self.version += 1
        self.settled += isinstance(event, _SETTLING)
        self.elapsed = max(self.elapsed, event.elapsed)
        self.standing.apply(event)
        self._on(event)

    def add_line(self, kind: Kind, text: str) -> None:
        """Add a line of the screen's own to the log."""
        self.version += 1
        self._append(self.elapsed, kind, text)

    # ── Derived from the state ──────────────────────────────────────────────────────────────────────────────

    @property
    def total_steps(self) -> int:
        return self.started.total_steps if self.started else 0

    @property
    def worst_alarms(self) -> list[Alarm]:
        """The present alarms, the most severe first; none after the end.

        Of equally severe ones those come first that advise an edit, then those that explain others.
        """
        if self.finished:
            return []
        order = list(ALARMS)
        return sorted(
            self.alarms.values(),
            key=lambda alarm: (alarm.level is not Level.ERROR, alarm.edit is None, order.index(alarm.name)),
        )

    @property
    def checkpoint(self) -> CheckpointSaved | None:
        """The newest checkpoint."""
        return self.checkpoints[-1].saved if self.checkpoints else None

    @property
    def seconds_per_update(self) -> float | None:
        """Seconds per update at the present pace; None while unknown."""
        if not self.started or self.fps <= 0:
            return None
        return self.started.num_envs * self.started.rollout_steps / self.fps

    @property
    def share_done(self) -> float:
        """The share of the run done so far, in 0..1."""
        return min(1.0, self.step / self.total_steps) if self.total_steps else 0.0

    @property
    def fps(self) -> float:
        """Environment steps per second over the last updates, pauses left out."""
        if (fps := self._pace.fps) is not None:
            return fps
        return (self.rollout.fps if self.rollout else 0.0) or self._pace.first_fps(self.step, self.elapsed)

    @property
    def first_update_left(self) -> float | None:
        """Seconds until the end of the first update; None if unknown.

        During the rollout it is the rest of the rollout: how long the learner takes shows once it learns.
        """
        if not self._pace.in_first_update:
            return None
        if (learning := self.learning) and self._learning_since is not None:
            done = (learning.epoch - 1) * learning.minibatches + learning.minibatch
            seconds = self.elapsed - self._learning_since
            return seconds * (learning.epochs * learning.minibatches - done) / max(1, done - 1)
        rollout, pace = self.rollout, self._pace.first_fps(self.step, self.elapsed)
        if rollout is None or self.started is None or pace <= 0:
            return None
        return (rollout.length - rollout.t) * self.started.num_envs / pace

    @property
    def eta(self) -> float | None:
        """Seconds of training left at the present pace; None while unknown.

        Until the last step or, if that is earlier, the time of ``stop.after``.
        """
        if not self.started or self.state.is_final:
            return None
        ends = [max(0, self.total_steps - self.step) / self.fps] if self.fps > 0 else []
        if (after := self.settings.get("stop.after")) is not None:
            ends.append(max(0.0, after - self.elapsed))
        return min(ends, default=None)

    def configured(self, key: str) -> Any:
        """A setting as the run began, by dotted name, or None."""
        table: Any = self.started.config if self.started else None
        for part in key.split("."):
            table = table.get(part) if isinstance(table, dict) else None
        return table

    def course(self, key: str, *, after_edit: bool = False) -> Course | None:
        """The course of a live setting from here on, if any.

        Args:
            after_edit: as it would be if the setting were edited now.
        """
        if key not in SCHEDULED or self.settings.get(key) is None:
            return None
        edited = after_edit or any(change.key == key and change.step for change in self.history.applied)
        return course_of(read_schedule(self.configured(schedule_key(key))), self.total_steps, self.step, edited=edited)

    @property
    def forecast(self) -> Forecast | None:
        """The next milestone, if the run goes on as its reference did."""
        return None if self.state.is_final else self.standing.forecast(self.fps)

    @property
    def solving(self) -> Forecast | None:
        """The threshold of the environment, under the same condition."""
        return None if self.state.is_final else self.standing.solving(self.fps)

    # ── The fold ────────────────────────────────────────────────────────────────────────────────────────────

    @singledispatchmethod
    def _on(self, event: Event) -> None:
        """Ignore an event of a newer protocol."""

    @_on.register
    def _(self, event: HistoryRestarted) -> None:
        version, logged, settled = self.version, self.logged, self.settled
        self.__init__()
        self.version, self.logged, self.settled = version, logged + 1, settled

    @_on.register
    def _(self, event: RunStarted) -> None:
        config = sound_tables(event.config)  # whatever a record holds
        self.started = msgspec.structs.replace(event, config=config)
        self.alarms.clear()
        self.finished = None  # a run resumed after its end begins once more
        self._pace.forget()
        for key, field in LIVE_FIELDS.items():
            section, _, name = key.partition(".")
            if name in (table := config.get(section, {})) or field.live.optional:
                self.settings[key] = table.get(name)

    @_on.register
    def _(self, event: WeightsTaken) -> None:
        self.weights = event
        self._write(event, Kind.STATE)

    @_on.register
    def _(self, event: StateChanged) -> None:
        self._pace.enter(event.state, event.elapsed)
        self._enter(event.state, event.reason, event)
        if event.state is RunState.TRAINING:
            self._pace.begin(self.step, event.elapsed)
        self._write(event, Kind.STATE)

    def _enter(self, state: RunState, reason: str, event: Event) -> None:
        self.state, self.reason, self.starting, self._stated_at = state, reason, None, event.time

    @_on.register
    def _(self, event: StartProgress) -> None:
        if event.time < self._stated_at:  # late, overtaken by the beginning
            return
        self._enter(RunState.STARTING, "", event)
        self.starting, self.finished = event, None

    @_on.register
    def _(self, event: RolloutProgress) -> None:
        if event.update <= self.update:  # late, overtaken by the end of its update
            return
        self.step = max(self.step, event.step)
        self.rollout = event
        if self.learning and self.learning.update <= self.update:
            self.learning = None

    @_on.register
    def _(self, event: UpdateProgress) -> None:
        shown = self.learning is not None and self.learning.update == event.update  # its end may come before its last
        if event.update > self.update or shown:
            if self.learning is None:
                self._learning_since = event.elapsed
            self.learning = event

    @_on.register
    def _(self, event: InterimMetrics) -> None:
        for key, value in event.metrics.items():
            if value is not None:
                self.series[key].preview(self.step, value)

    @_on.register
    def _(self, event: WorkersStatus) -> None:
        self.workers = event.workers

    @_on.register
    def _(self, event: EpisodeFinished) -> None:
        self.episodes += 1
        self.step = max(self.step, event.step)
        self.series[EPISODE_RETURNS].append(event.step, event.episode_return)
        self.last_returns[event.env].append(event.episode_return)
        self._window.append(event)
        if self._window_whole or len(self._window) == _WINDOW:
            count = len(self._window)
            self.series[MEAN_RETURN].preview(event.step, sum(each.episode_return for each in self._window) / count)
            self.series[MEAN_LENGTH].preview(event.step, sum(each.length for each in self._window) / count)
        if self.best is None or event.episode_return > self.best.episode_return:
            self.best = event
            self._write(event, Kind.EPISODE, describe_best(event), slot="best episode")

    @_on.register
    def _(self, event: UpdateFinished) -> None:
        self.step = max(self.step, event.step)
        self.update, self.stop = event.update, event.stop
        for key, value in event.metrics.items():
            self.series[key].append(event.step, value)
            setting = EFFECTIVE_METRICS.get(key)
            if setting in self.settings and value is not None:
                self.settings[setting] = value
        self._pace.add(event.step, event.elapsed)

    @_on.register
    def _(self, event: UpdateInspected) -> None:
        self.inspections.add(event)

    @_on.register
    def _(self, event: SettingChanged) -> None:
        if not (is_sound(event.key, event.old) and is_sound(event.key, event.new)):
            self._write(event, Kind.EDIT)
            return
        self.settings[event.key] = event.new
        self.changes.append(event)
        self.history.apply(event)
        self.marks.append(
            Mark(event.step, MarkKind.EDIT, describe_change(event.key, event.old, event.new, event.course))
        )
        self._write(event, Kind.EDIT)

    @_on.register
    def _(self, event: CommandRefused) -> None:
        self._write(event, Kind.WARNING)

    @_on.register
    def _(self, event: CheckpointSaved) -> None:
        self.checkpoints = [each for each in self.checkpoints if each.saved.path != event.path]
        self.checkpoints.append(Checkpoint(event, self.series[MEAN_RETURN].last))
        self.marks.append(Mark(event.step, MarkKind.CHECKPOINT, f"checkpoint ({event.reason})"))
        # One that somebody asked for is news; the run's own ones are its course.
        self._write(event, Kind.CHECKPOINT, slot="" if event.reason == "manual" else f"checkpoint {event.reason}")

    @_on.register
    def _(self, event: Evaluated) -> None:
        for key, value in event.metrics.items():
            self.series[key].append(event.step, value)
        score = event.metrics.get(EVALUATED_RETURN)
        score = float("nan") if score is None else score
        self.checkpoints = [
            replace(each, evaluated=score) if each.saved.path == event.path else each for each in self.checkpoints
        ]
        self._write(event, Kind.EVALUATION)

    @_on.register
    def _(self, event: Rewound) -> None:
        self.marks.append(Mark(event.step, MarkKind.REWIND, f"rewound from {formats.count(self.step)}"))
        for series in self.series.values():
            series.rewind(event.step)
        self.step, self.update = event.step, event.update
        self.alarms.clear()
        self.rollout = self.learning = self.stop = None
        self.inspections.rewind(event.update)
        self._pace.restart()
        while self._window and self._window[-1].step > event.step:
            self._window.pop()
            self._window_whole = False
        for change in self.history.rewind(event.update):
            self.settings[change.key] = change.old
        self._write(event, Kind.REWIND)

    @_on.register
    def _(self, event: RunResumed) -> None:
        self.step, self.update = event.step, event.update
        self._write(event, Kind.STATE)

    @_on.register
    def _(self, event: Alarm) -> None:
        kind = {Level.WARNING: Kind.WARNING, Level.ERROR: Kind.ERROR}.get(event.level, Kind.INFO)
        if known := event.name in ALARMS:
            self.alarms[event.name] = event
        self._write(event, kind, topic=alarm_key(event.name) if known else "")

    @_on.register
    def _(self, event: Recovered) -> None:
        self.alarms.pop(event.name, None)
        self._write(event, Kind.INFO, topic=alarm_key(event.name) if event.name in ALARMS else "")

    @_on.register
    def _(self, event: RunFinished) -> None:
        self._pace.enter(event.state, event.elapsed)
        self.finished = event
        self._enter(event.state, event.reason, event)
        self.step, self.update = event.step, event.update  # what was collected since is lost with its rollout
        kind = Kind.ERROR if event.state is RunState.FAILED else Kind.STATE
        self._write(event, kind)

    def _write(self, event: Event, kind: Kind, text: str = "", topic: str = "", *, slot: str = "") -> None:
        """Add a line to the log, the event's own wording by default."""
        if slot and (former := next((line for line in reversed(self.log) if line.slot == slot), None)):
            self.log.remove(former)
        self._append(event.elapsed, kind, text or describe(event, brief=True) or "", topic, slot)

    def _append(self, elapsed: float, kind: Kind, text: str, topic: str = "", slot: str = "") -> None:
        self.log.append(LogEntry(elapsed, kind, one_line(text), topic, slot))
        self.logged += 1
