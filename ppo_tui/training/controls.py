"""Commands to the training loop, and live settings. Imports no torch."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import msgspec

from ..config import (
    LIVE_FIELDS,
    Config,
    check_edit,
    check_start,
    course_of,
    get_value,
    is_rule,
    parse_live_value,
    schedule_of,
)
from ..errors import ConfigError
from ..ppo.schedules import Schedule
from ..protocol import (
    AnyCommand,
    Command,
    CommandRefused,
    Course,
    Pause,
    Resume,
    Rewind,
    RunState,
    SaveCheckpoint,
    SetValue,
    StateChanged,
    StepMinibatches,
    StepUpdates,
    Stop,
    WatchGame,
    WatchUpdate,
    WithdrawValue,
)
from .checkpoint.files import SavedSchedule
from .hub import RunContext
from .inspection.watchers import Watchers

if TYPE_CHECKING:
    from ..ppo import Hyperparameters

MEETING_SECONDS = 1.0
"""Interval between two meetings of paused ranks, to learn whether all are alive."""

MAX_WATCH_FPS = 60

DESERTED = Resume(by="nobody")
"""Obeyed in place of the commands of a person who stepped through an update and is gone."""


class Inbox:
    """A queue of commands for the engine.

    It also takes functions for the engine's thread to call. Both may come from any thread and from signal handlers. The
    queue is made before the engine, which takes seconds to load: early commands wait in order.

    Args:
        start_watched: a `Stop` before `begin` forestalls the run. Whoever calls `await_start` ends it then: the engine,
            deep in a library that it loads, cannot.
    """

    def __init__(self, *, start_watched: bool = False) -> None:
        self._queue: queue.SimpleQueue[Command | Callable[[], None]] = queue.SimpleQueue()
        self.stop_requested = False
        """Whether a `Stop` was ever sent."""
        self._start_watched = start_watched
        self._first: dict[str, tuple[Stop | None]] = {}
        self._decision: queue.SimpleQueue[Stop | None] = queue.SimpleQueue()

    def send(self, command: Command) -> None:
        """Queue a command, without waiting for it to be obeyed."""
        if isinstance(command, Stop):
            self.stop_requested = True
            self._decide(command)
        self._queue.put(command)

    # ── The start ───────────────────────────────────────────────────────────────────────────────────────────
    # A run begins, or is stopped before: whichever comes first, and only one of them.

    @property
    def forestalled(self) -> bool:
        """Whether the run was stopped before it began."""
        return bool(self._first) and self._first["first"][0] is not None

    def check_start(self) -> None:
        """Leave the start after an early stop.

        Raises:
            Forestalled: there is nothing to do any more, not even to report.
        """
        if self.forestalled:
            raise Forestalled

    def begin(self) -> None:
        """Settle the start: training begins. Raises as `check_start` does."""
        self._decide(None)
        self.check_start()

    def await_start(self, timeout: float) -> Stop | None:
        """Wait for the training to begin; return an earlier `Stop`.

        To be called until it has returned once.

        Raises:
            TimeoutError: neither happened within `timeout` seconds.
        """
        try:
            return self._decision.get(timeout=timeout)
        except queue.Empty:
            raise TimeoutError from None

    def _decide(self, outcome: Stop | None) -> None:
        """Settle whether the run begins, unless it is settled.

        Signal handlers come here too, so there is no lock: `dict.setdefault` is one step of the interpreter.
        """
        mine = (outcome,)
        if self._start_watched and self._first.setdefault("first", mine) is mine:
            self._decision.put(outcome)

    def call_soon(self, function: Callable[[], None]) -> None:
        """Let the training thread call `function`.

        It does so when it next looks into the inbox.
        """
        self._queue.put(function)

    def receive(self, *, wait: bool = False, timeout: float | None = None) -> Command | None:
        """Return the next command, or None.

        Functions that come before it are called.

        Args:
            wait: for something to arrive, up to `timeout` seconds.
        """
        while wait or not self._queue.empty():
            try:
                arrived = self._queue.get(timeout=timeout)
            except queue.Empty:
                return None
            if isinstance(arrived, Command):
                return arrived
            arrived()
            wait = False
        return None


class Forestalled(BaseException):
    """Raised in an engine after an early stop of its run."""


class StopTraining(Exception):
    """Raised to leave the training loop, on a `Stop` command."""

    def __init__(self, stop: Stop) -> None:
        super().__init__(stop.reason)
        self.stop = stop


class Steerable(Protocol):
    """An algorithm's own part in obeying commands."""

    def pause(self, paused: bool) -> None:
        """Pause or continue any work beside the training thread."""

    def allow(self, minibatches: int | None) -> None:
        """Let the learner take so many more minibatches, then wait.

        None sets no limit.
        """

    def watch(self, command: WatchGame) -> None:
        """Send clips of the command's environment.

        None sends no more.
        """


class Requests(NamedTuple):
    """Commands to obey between two updates.

    Attributes:
        settings: with checked values.
        rewind: the checkpoint to go back to, or None.
    """

    settings: tuple[SetValue, ...] = ()
    save: bool = False
    rewind: str | None = None


class Controls:
    """A receiver of commands, obeyed when the loop checks for them.

    Belongs to the training thread.

    Args:
        clock: seconds, monotonic.

    Attributes:
        watchers: those who look at the updates.
    """

    def __init__(
        self,
        context: RunContext,
        inbox: Inbox,
        engine: Steerable,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._context, self._inbox, self._engine = context, inbox, engine
        self.watchers = Watchers(clock)
        self._paused = self._waiting = self._between_minibatches = self._stepping = False
        self._published = RunState.TRAINING
        self._updates_until_pause: int | None = None
        self._stop: Stop | None = None
        self._settings: dict[str, SetValue] = {}
        self._save = False
        self._rewind: str | None = None

    def check(self, *, mid_update: bool = False) -> None:
        """Obey new commands, and wait here while paused.

        A stop that saves lets an update in progress finish, so that no update is lost; any other leaves at once.

        Raises:
            StopTraining: the run ends here.
        """
        self._take_in()
        self._stay_paused()
        if self._paused and self._stop is None:  # to save or rewind: between two updates the run is whole
            self._go_on(updates=1)
            self._continue()
        if self._stop is None and not mid_update:
            self._publish_state(RunState.TRAINING)  # between the minibatches of an update, steps leave it paused
        if self._stop is not None and not (mid_update and self._stop.save):
            raise StopTraining(self._stop)

    def check_between_updates(self) -> bool:
        """Obey new commands between two updates, and wait here while paused.

        Returns:
            Whether the run is paused and has requests to obey now; the next call continues to wait.

        Raises:
            StopTraining: the run ends here.
        """
        self._take_in()
        self._stay_paused()
        if self._stop is not None:
            raise StopTraining(self._stop)
        if not self._paused:
            self._publish_state(RunState.TRAINING)
        return self._paused

    def pause_between_minibatches(self) -> None:
        """Pause at the next check, while anybody looks at the update."""
        self._paused = self._between_minibatches = True

    def meet(self) -> None:
        """Obey the commands of all ranks, between updates.

        A single process has obeyed already.
        """

    def at_boundary(self) -> Requests:
        """Return the requests to obey between two updates, once."""
        self.meet()
        if self._updates_until_pause is not None:
            self._updates_until_pause -= 1
            if self._updates_until_pause <= 0:
                self._updates_until_pause, self._paused = None, True
        return self.take_requests()

    def take_requests(self) -> Requests:
        """Return the requests to obey now, once."""
        requests = Requests(tuple(self._settings.values()), self._save, self._rewind)
        self._settings, self._save, self._rewind = {}, False, None
        return requests

    def _take_in(self) -> None:
        """Obey new commands."""
        while command := self._inbox.receive():
            self._obey(command)

    def _stay_paused(self) -> None:
        """Wait while paused, until there is something to obey between two updates."""
        while self._paused and self._stop is None:
            if not self._waiting:
                self._waiting = True
                self._pause(True)
                self._publish_state(RunState.PAUSED)
            if self._save or self._rewind is not None:
                return
            self._wait_for_commands()
        self._continue()

    def _continue(self) -> None:
        """Leave the pause, if there was one."""
        if self._waiting:
            self._waiting = False
            self._pause(False)
            if self._stop is None and not self._stepping:
                self._publish_state(RunState.TRAINING)

    def _publish_state(self, state: RunState, reason: str = "") -> None:
        """Publish a new state."""
        if state is not self._published:
            self._published = state
            self._context.publish(StateChanged(state=state, reason=reason))

    def _pause(self, paused: bool) -> None:
        self._context.clock.pause(paused)
        self._engine.pause(paused)

    def _wait_for_commands(self) -> None:
        """Wait for a command while paused, and obey it."""
        if command := self._inbox.receive(wait=True, timeout=self._patience) or self._deserted():
            self._obey(command)

    @property
    def _patience(self) -> float | None:
        """Seconds to wait for a command; None for ever."""
        return self.watchers.seconds if self._between_minibatches else None

    def _deserted(self) -> Command | None:
        """The command in place of a watcher now gone, if any.

        Whoever closed the microscope has the update finished; the run does not wait for one who vanished.
        """
        if not self._between_minibatches or self.watchers.present:
            return None
        return StepUpdates(by=DESERTED.by) if self.watchers.closed else DESERTED

    def _go_on(self, *, updates: int | None = None, minibatches: int | None = None) -> None:
        """End a pause, for good or for so many updates or minibatches."""
        self._paused = self._between_minibatches = False
        self._stepping = minibatches is not None
        self._updates_until_pause = updates
        self._engine.allow(minibatches)

    def _finish_update(self) -> None:
        """End a pause between two minibatches, and pause after the update."""
        if self._between_minibatches:
            self._go_on(updates=1)

    def _obey(self, command: Command) -> None:
        match command:
            case Pause():
                self._paused, self._between_minibatches = True, False
            case Resume():
                self._go_on()
                if command == DESERTED:  # several ranks exchange it
                    self._publish_state(RunState.TRAINING, "nobody looks at the update any more")
            case StepUpdates(updates=updates):
                self._go_on(updates=max(1, updates))
            case StepMinibatches(minibatches=minibatches, by=by):
                self._step_minibatches(minibatches, by)
            case WatchUpdate(open=True, by=by):
                self.watchers.welcome(by)
            case WatchUpdate(by=by):
                self.watchers.dismiss(by)
            case SaveCheckpoint():
                self._save = True
                self._finish_update()
            case SetValue(key=key, value=value, by=by):
                try:
                    value = parse_live_value(key, value)
                    check_edit(self._context.config, key, value)
                    self._settings[key] = msgspec.structs.replace(command, value=value)
                except ConfigError as error:
                    self._refuse(str(error), by)
            case Rewind(path=path):
                self._rewind = path
                self._finish_update()
            case WithdrawValue(key=key, by=by):
                if self._settings.pop(key, None) is None:
                    self._refuse(f"{key}: its change is in force already; undo it instead", by)
            case WatchGame(env=env, fps=fps, beside=beside, by=by):
                last = self._context.config.rollout.num_envs - 1
                there = all(0 <= each <= last for each in (env, *beside) if each is not None)
                if env is None or (there and 0 < fps <= MAX_WATCH_FPS):
                    self._engine.watch(command)
                else:
                    limits = f"envs are 0 to {last}, fps more than 0, at most {MAX_WATCH_FPS}"
                    self._refuse(f"watch env {env} at {fps:g} fps: {limits}", by)
            case Stop():
                self._stop = command
                self._engine.allow(None)

    def _step_minibatches(self, minibatches: int, by: str) -> None:
        if self._context.config.run.algorithm == "a3c":
            self._refuse("A3C has no minibatches to step through: its workers learn by themselves", by)
            return
        self.watchers.welcome(by)
        self._go_on(minibatches=minibatches)

    def _refuse(self, message: str, by: str) -> None:
        self._context.publish(CommandRefused(message=message, by=by))


class RankControls(Controls):
    """The controls of one of several ranks.

    All ranks obey each command after the same update: they call `meet`, and so `at_boundary`, at the same time. Paused
    ranks keep meeting: none waits in vain for one that has died, and none mistakes a long pause for a death.
    """

    def __init__(self, context: RunContext, inbox: Inbox, engine: Steerable) -> None:
        super().__init__(context, inbox, engine)
        self._unshared: list[Command] = []

    def meet(self) -> None:
        self._take_in()
        own, self._unshared = tuple(self._unshared), []
        for commands in self._context.ranks.exchange(own, tuple[AnyCommand, ...]):
            for command in commands:
                self._obey(command)

    def _take_in(self) -> None:
        while command := self._inbox.receive():
            self._unshared.append(command)

    def _wait_for_commands(self) -> None:
        if self._context.ranks.leads and (
            command := self._inbox.receive(wait=True, timeout=MEETING_SECONDS) or self._deserted()
        ):
            self._unshared.append(command)
        self.meet()


class LiveSettings:
    """Current values of the live settings, under their schedules and edits.

    An edited value holds exactly from the edit on; its schedule brings it from there to the final value.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._schedules = {key: _make_schedule(config, key) for key in LIVE_FIELDS}

    def current(self, key: str, step: int) -> Any:
        """The value of `key` at this step of the run."""
        return self._schedules[key].at(step)

    def edit(self, key: str, value: Any, step: int) -> Any:
        """Set `key` to `value` from `step` on and return its old value.

        Raises:
            ConfigError: its schedule cannot begin at `value`.
        """
        check_start(schedule_of(self._config, key), key, value)
        old = self.current(key, step)
        self._schedules[key] = self._schedules[key].edited(value, step)
        return old

    def course(self, key: str, step: int) -> Course | None:
        """The course of `key` after an edit at `step`, if any."""
        return course_of(schedule_of(self._config, key), self._config.planned_steps, step, edited=step > 0)

    def hyperparameters(self, step: int) -> Hyperparameters:
        """The live settings of the learner."""
        from ..ppo import Hyperparameters

        keys = (key for key in self._schedules if not is_rule(key))
        return Hyperparameters(**{key.partition(".")[2]: self.current(key, step) for key in keys})

    def save(self) -> dict[str, SavedSchedule]:
        """All live settings with their schedules, for a checkpoint."""
        planned = self._config.planned_steps
        return {
            key: SavedSchedule(value=schedule.value, since=schedule.since / planned)
            for key, schedule in self._schedules.items()
        }

    def restore(self, saved: Mapping[str, SavedSchedule], *, planned_steps: int) -> None:
        """Restore settings from `save`.

        The schedules are those of the present configuration. An edit stays at the step at which it was made.

        Args:
            planned_steps: of the saved run.
        """
        for key in self._schedules.keys() & saved.keys():
            since = round(saved[key].since * planned_steps)
            self._schedules[key] = self._schedules[key].edited(saved[key].value, since)


def _make_schedule(config: Config, key: str) -> Schedule:
    schedule = schedule_of(config, key)
    return Schedule(
        value=get_value(config, key),
        kind=schedule.kind,
        final=schedule.final,
        warmup_steps=schedule.warmup_steps,
        steps=schedule.steps or config.planned_steps,
    )
