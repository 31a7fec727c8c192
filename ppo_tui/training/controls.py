"""The obeying of commands by the training loop. Imports no torch."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

import msgspec

from ..config import check_edit, parse_live_value
from ..errors import ConfigError
from ..protocol import (
    AnyCommand,
    Command,
    CommandRefused,
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
from .hub import RunContext
from .inbox import Inbox
from .inspection.watchers import Watchers

MEETING_SECONDS = 1.0
"""Interval between two meetings of paused ranks, to learn whether all are alive."""

MAX_WATCH_FPS = 60

DESERTED = Resume(by="nobody")
"""Obeyed in place of the commands of a person who stepped through an update and is gone."""


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
