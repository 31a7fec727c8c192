"""Commands, as they arrive from other threads, and what they make the training loop do."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol

import msgspec

from ..config import LIVE_FIELDS, Config, get_value, parse_live_value
from ..errors import ConfigError
from ..ppo.schedules import Schedule
from ..protocol import (
    AnyCommand,
    Command,
    CommandRefused,
    Event,
    Pause,
    Resume,
    Rewind,
    RunState,
    SaveCheckpoint,
    SetValue,
    StateChanged,
    StepUpdates,
    Stop,
    WatchGame,
    WithdrawValue,
)
from .checkpoint.files import SavedSchedule

if TYPE_CHECKING:
    from ..distributed.ranks import Ranks
    from ..ppo import Hyperparameters


class Receiver(Protocol):
    """What obeys commands."""

    def send(self, command: Command) -> None:
        """Take a command from any thread, without waiting for it to be obeyed."""


class CommandRelay:
    """Passes commands on, from any thread; those that come before there is an engine wait for it, in order."""

    def __init__(self) -> None:
        self._handover = threading.RLock()  # as a signal may arrive while its own thread is in here
        self._engine: Receiver | None = None
        self._early: list[Command] = []

    def send(self, command: Command) -> None:
        with self._handover:
            if self._engine is None:
                self._early.append(command)
            else:
                self._engine.send(command)

    def connect(self, engine: Receiver) -> None:
        """From now on `engine` obeys."""
        with self._handover:
            self._engine = engine
            for command in self._early:
                engine.send(command)
            self._early.clear()


MEETING_SECONDS = 1.0
"""How often ranks that are paused tell each other that they are there."""


class StopTraining(Exception):
    """Leaves the training loop; `stop` is the command that asked for it."""

    def __init__(self, stop: Stop) -> None:
        super().__init__(stop.reason)
        self.stop = stop


class Controls:
    """Obeys commands at the points where the loop looks for them.

    `send` may be called from any thread. Everything else belongs to the training thread: it calls `check` after
    every vector step and minibatch, and `at_boundary` between updates.

    Args:
        emit: receives the events that answer commands.
        on_pause: called with True when the training is held and with False when it goes on.
        on_watch: receives the commands of those who watch the game.
    """

    def __init__(
        self,
        emit: Callable[[Event], None],
        on_pause: Callable[[bool], None],
        on_watch: Callable[[WatchGame], None] = lambda command: None,
    ) -> None:
        self._emit = emit
        self._on_pause = on_pause
        self._on_watch = on_watch
        self._queue: queue.SimpleQueue[Command | Callable[[], None]] = queue.SimpleQueue()
        self._paused = False
        self._updates_until_pause: int | None = None
        self._stop: Stop | None = None
        self._settings: dict[str, SetValue] = {}
        self._save = False
        self._rewind: str | None = None

    def call_soon(self, function: Callable[[], None]) -> None:
        """Let the training thread call `function` at its next check, also while it is paused; from any thread."""
        self._queue.put(function)

    def send(self, command: Command) -> None:
        """Queue a command; the training thread obeys it at its next check."""
        self._queue.put(command)

    def check(self, *, mid_update: bool = False) -> None:
        """Obey what has arrived, and hold here while paused.

        A stop that saves lets an update in progress finish, so that no update is lost; any other leaves at once.

        Raises:
            StopTraining: the run is to end here.
        """
        self._take_in()
        if self._paused and self._stop is None:
            self._hold()
        if self._stop is not None and not (mid_update and self._stop.save):
            raise StopTraining(self._stop)

    def meet(self) -> None:
        """Where ranks meet between updates: obey what any of them was asked. A single process has obeyed already."""

    def _take_in(self) -> None:
        """Obey what has arrived."""
        while not self._queue.empty():
            self._obey(self._queue.get())

    def at_boundary(self) -> tuple[list[SetValue], bool]:
        """Between updates: the settings to change, with values that have been checked, and whether to save."""
        self.meet()
        if self._updates_until_pause is not None:
            self._updates_until_pause -= 1
            if self._updates_until_pause <= 0:
                self._updates_until_pause, self._paused = None, True
        settings, save = list(self._settings.values()), self._save
        self._settings, self._save = {}, False
        return settings, save

    def _hold(self) -> None:
        self._on_pause(True)
        self._emit(StateChanged(state=RunState.PAUSED))
        while self._paused and self._stop is None:
            self._wait_for_commands()
        self._on_pause(False)
        if self._stop is None:
            self._emit(StateChanged(state=RunState.TRAINING))

    def _wait_for_commands(self) -> None:
        """While held: until there is one, and obey it."""
        self._obey(self._queue.get())

    def take_rewind(self) -> str | None:
        """Between updates: the checkpoint to go back to, once."""
        rewind, self._rewind = self._rewind, None
        return rewind

    def _obey(self, command: Command | Callable[[], None]) -> None:
        match command:
            case Pause():
                self._paused = True
            case Resume():
                self._paused, self._updates_until_pause = False, None
            case StepUpdates(updates=updates):
                self._paused, self._updates_until_pause = False, max(1, updates)
            case SaveCheckpoint():
                self._save = True
            case SetValue(key=key, value=value, by=by):
                try:
                    self._settings[key] = msgspec.structs.replace(command, value=parse_live_value(key, value))
                except ConfigError as error:
                    self._emit(CommandRefused(message=str(error), by=by))
            case Rewind(path=path):
                self._rewind = path
            case WithdrawValue(key=key, by=by):
                if self._settings.pop(key, None) is None:
                    self._emit(CommandRefused(message=f"{key}: its change is in force already; undo it instead", by=by))
            case WatchGame():
                self._on_watch(command)
            case Stop():
                self._stop = command
            case _ if callable(command):
                command()


class GroupControls(Controls):
    """Those of one of several ranks, who all do the same after the same update: what any of them is asked waits for it.

    `meet`, and so `at_boundary`, has to be called by all ranks at the same time. While paused they keep meeting: nobody
    waits in vain for one that has died, and none takes a long pause for a death.
    """

    def __init__(
        self,
        emit: Callable[[Event], None],
        on_pause: Callable[[bool], None],
        on_watch: Callable[[WatchGame], None],
        ranks: Ranks,
    ) -> None:
        super().__init__(emit, on_pause, on_watch)
        self._ranks = ranks
        self._waiting: list[Command] = []

    def meet(self) -> None:
        self._take_in()
        own, self._waiting = tuple(self._waiting), []
        for commands in self._ranks.exchange(own, tuple[AnyCommand, ...]):
            for command in commands:
                self._obey(command)

    def _take_in(self) -> None:
        while not self._queue.empty():
            self._put_aside(self._queue.get())

    def _put_aside(self, arrived: Command | Callable[[], None]) -> None:
        if isinstance(arrived, Command):
            self._waiting.append(arrived)
        else:
            arrived()

    def _wait_for_commands(self) -> None:
        if self._ranks.leads:
            with contextlib.suppress(queue.Empty):
                self._put_aside(self._queue.get(timeout=MEETING_SECONDS))
        self.meet()


_SCHEDULED = {
    "optim.learning_rate": "optim.learning_rate_schedule",
    "ppo.clip_range": "ppo.clip_range_schedule",
}
"""Live fields that may be annealed → the field that says how."""


def _kind(config: Config, key: str) -> Literal["constant", "linear"]:
    """How `key` is annealed; what follows the divergence is not: the learner starts from it, and adapts it."""
    return "linear" if key in _SCHEDULED and get_value(config, _SCHEDULED[key]) == "linear" else "constant"


class LiveSettings:
    """Current values of the live fields of a configuration.

    An edited value holds exactly from the edit on; where its schedule is linear, it is annealed from there to 0.
    """

    def __init__(self, config: Config) -> None:
        self._schedules = {
            key: Schedule(
                value=get_value(config, key),
                kind=_kind(config, key),
            )
            for key in LIVE_FIELDS
        }

    def current(self, key: str, progress: float) -> Any:
        """The value of `key` when a share `progress` (0..1) of the run is done."""
        return self._schedules[key].at(progress)

    def edit(self, key: str, value: Any, progress: float) -> Any:
        """Set `key` to `value` from `progress` on and return what it was until now."""
        old = self.current(key, progress)
        self._schedules[key] = self._schedules[key].edited(value, progress)
        return old

    def hyperparameters(self, progress: float) -> Hyperparameters:
        """All of them, as the learner wants them."""
        from ..ppo import Hyperparameters

        return Hyperparameters(**{key.partition(".")[2]: self.current(key, progress) for key in self._schedules})

    def save(self) -> dict[str, SavedSchedule]:
        """All of them with their schedules, for a checkpoint."""
        return {
            key: SavedSchedule(value=schedule.value, since=schedule.since) for key, schedule in self._schedules.items()
        }

    def restore(self, saved: Mapping[str, SavedSchedule], *, stretch: float = 1.0) -> None:
        """Stand where `save` was called. How a setting is annealed is up to the configuration now.

        Args:
            stretch: planned steps of the saved run over those of this one. An edit stays at the step at which it was
                made; the annealing, from there or from the start, ends with the run as it is planned now.
        """
        for key in self._schedules.keys() & saved.keys():
            since = min(saved[key].since * stretch, 1.0)
            self._schedules[key] = self._schedules[key].edited(saved[key].value, since)
