"""An engine in a background thread of this process."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Protocol

from ...errors import PPOTuiError, RunFailedError
from ...protocol import Command, Event, RunFinished, RunState, Stop, UpdateFinished
from ...system.library import raise_in_thread
from ...training.evaluation.programme import Choice, Programme
from ...training.inbox import Forestalled, Inbox
from .base import Mailbox, Session

Emit = Callable[[Event], None]


class Engine(Protocol):
    """A trainer of either algorithm."""

    def run(self) -> object:
        """Train until the end; the last event is a `RunFinished`."""


class LocalSession(Session):
    """A run of this process.

    Args:
        make_engine: builds the engine around the function that takes its events. It runs in the thread too, as
            importing torch takes seconds that a screen should not wait for.
        inbox: of the commands, which the engine reads.
        can_detach: whether somebody will hand the stopped run over to another process.
    """

    def __init__(self, make_engine: Callable[[Emit], Engine], inbox: Inbox, *, can_detach: bool = False) -> None:
        self.can_detach = can_detach
        self._make_engine = make_engine
        self._mailbox = Mailbox()
        self._inbox = inbox
        self._watched = True
        self._progress = (0, 0)  # step and number of the newest update
        self._started_at = 0.0
        self._thread = threading.Thread(target=self._learn, name="learner", daemon=True)
        self.finished: RunFinished | None = None
        """The last event of the run, once there is one."""

    def start(self) -> None:
        if not self._thread.ident:
            self._started_at = time.monotonic()
            self._thread.start()

    @property
    def live(self) -> bool:
        return self.finished is None

    @property
    def exit_code(self) -> int | None:
        """The exit code of the process; None while the run goes on."""
        return self.finished.exit_code if self.finished else None

    @property
    def at_work(self) -> bool:
        """Whether the engine's thread still runs."""
        return self._thread.is_alive()

    def abandon(self, _: Event | None = None) -> None:
        """End the engine's thread soon, after an early stop."""
        if self._thread.ident:
            raise_in_thread(self._thread.ident, Forestalled)

    def wait_for_engine(self, timeout: float) -> bool:
        """Wait for the engine's thread to end; False if it does not."""
        if self._thread.ident:
            self._thread.join(timeout)
        return not self.at_work

    def emit(self, event: Event) -> None:
        """Take an event from the engine; called thousands of times a second."""
        if isinstance(event, UpdateFinished):
            self._progress = (event.step, event.update)
        elif isinstance(event, RunFinished):
            if self.finished:
                return
            self.finished = event
        if self._watched:
            self._mailbox.post(event)

    def poll(self) -> list[Event]:
        return self._mailbox.drain()

    def send(self, command: Command) -> None:
        if self.live:
            self._inbox.send(command)

    def wait(self) -> None:
        """Return when the run has ended.

        Nobody polls any more, so events are no longer kept.
        """
        self._watched = False
        self._mailbox.drain()
        self._thread.join()

    def close(self, timeout: float) -> bool:
        if self.live and not self._inbox.stop_requested:  # the first Stop has the reason and the exit code
            self.send(Stop())
        return self.wait_for_engine(0.0 if self._inbox.forestalled else timeout)

    def _learn(self) -> None:
        # A thread dies in silence, so any exception (SystemExit too) becomes an event.
        try:
            self._make_engine(self.emit).run()
            self._fail(RunFailedError("the engine ended without its last event"), "")
        except Forestalled:  # whoever has stopped the run publishes its end
            pass
        except BaseException as error:
            self._fail(error, traceback.format_exc())

    def _fail(self, error: BaseException, details: str) -> None:
        """Publish the run's failure, unless the engine has published its end."""
        step, update = self._progress
        self.emit(
            RunFinished(
                time=time.time(),
                elapsed=time.monotonic() - self._started_at,
                state=RunState.FAILED,
                exit_code=getattr(error, "exit_code", RunFailedError.exit_code),
                reason=str(error) if isinstance(error, PPOTuiError) else f"{type(error).__name__}: {error}",
                step=step,
                update=update,
                details=details,
            )
        )


class WatchSession(LocalSession):
    """Trained policies at play: leaving their screen loses nothing.

    Args:
        make_engine, inbox: as for `LocalSession`.
        choices: the policies that can be watched, from the least to the most trained.
        programme: what the engine plays to begin with.
    """

    owns_run = False
    can_steer = False

    def __init__(
        self, make_engine: Callable[[Emit], Engine], inbox: Inbox, *, choices: Sequence[Choice], programme: Programme
    ) -> None:
        super().__init__(make_engine, inbox)
        self.choices, self.programme = tuple(choices), programme

    @property
    def status(self) -> str:
        return "watching"
