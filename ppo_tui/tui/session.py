"""How the screen reaches an engine: it polls a session for events and sends it commands.

Whatever offers `Session` can stand behind the screen: an engine in a thread of this process (`LocalSession`),
one behind a socket, or the file of a run that ended last week.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from typing import Protocol

from ..errors import PPOTuiError, RunFailedError
from ..protocol import TRANSIENT, Command, Event, RunFinished, RunState, Stop, UpdateFinished

Emit = Callable[[Event], None]


class Engine(Protocol):
    """What trains."""

    def run(self) -> object:
        """Train until the end, emitting events; the last of them is a `RunFinished`."""

    def send(self, command: Command) -> None:
        """Take a command from any thread, without waiting for it to be obeyed."""


class Session(Protocol):
    """A run as a screen sees it."""

    def start(self) -> None:
        """Begin, without blocking. The screen calls it once its first picture stands; a second call does nothing."""

    @property
    def live(self) -> bool:
        """Whether more events may come."""

    @property
    def can_detach(self) -> bool:
        """Whether the screen can be left while the run goes on."""

    def detach(self) -> None:
        """Let go of the run, which goes on; only where `can_detach` says so."""

    def poll(self) -> list[Event]:
        """Everything since the last poll, without blocking: durable events in order, then the newest transient ones."""

    def send(self, command: Command) -> None:
        """Hand over a command without waiting for it; one sent after the end of the run is ignored."""

    def close(self, timeout: float) -> bool:
        """Stop the run and wait up to `timeout` seconds for its end; False when it runs on."""


class Mailbox:
    """Events on their way from a busy thread to a screen that looks now and then.

    One thread posts, another drains. Each operation is one or two atomic ones on a deque or a dict, so posting
    never waits for the screen; a durable event is kept until it is drained, a transient one until the next of
    its type.
    """

    def __init__(self) -> None:
        self._durable: deque[Event] = deque()
        self._transient: dict[type[Event], Event] = {}

    def post(self, event: Event) -> None:
        if isinstance(event, TRANSIENT):
            self._transient[type(event)] = event
        else:
            self._durable.append(event)

    def drain(self) -> list[Event]:
        # The transient ones are taken first: whatever was posted before them is then among the durable ones.
        newest = [event for kind in TRANSIENT if (event := self._transient.pop(kind, None))]
        return [self._durable.popleft() for _ in range(len(self._durable))] + newest


class LocalSession:
    """An engine in a background thread of this process.

    Args:
        make_engine: builds the engine around the function that takes its events. It runs in the thread too, as
            importing torch takes seconds that a screen should not wait for.
    """

    def __init__(self, make_engine: Callable[[Emit], Engine]) -> None:
        self._make_engine = make_engine
        self._mailbox = Mailbox()
        self._handover = threading.Lock()  # between send() and the moment the engine comes to exist
        self._engine: Engine | None = None
        self._early: list[Command] = []
        self._told_to_stop = False
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
    def can_detach(self) -> bool:
        return False  # the engine lives and dies with this process

    def detach(self) -> None:
        raise NotImplementedError("a run in this very process cannot be detached from")

    @property
    def exit_code(self) -> int | None:
        """What the process should leave with; None while the run goes on."""
        return self.finished.exit_code if self.finished else None

    def emit(self, event: Event) -> None:
        """Take an event from the engine; called thousands of times a second."""
        if isinstance(event, UpdateFinished):
            self._progress = (event.step, event.update)
        elif isinstance(event, RunFinished):
            if self.finished:
                return
            self.finished = event
        self._mailbox.post(event)

    def poll(self) -> list[Event]:
        return self._mailbox.drain()

    def send(self, command: Command) -> None:
        with self._handover:
            self._told_to_stop = self._told_to_stop or isinstance(command, Stop)
            if self._engine is None:
                self._early.append(command)
            elif self.live:
                self._engine.send(command)

    def close(self, timeout: float) -> bool:
        if not self._thread.ident:  # never started
            return True
        if self.live and not self._told_to_stop:  # the first Stop says why and with which exit code
            self.send(Stop())
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _learn(self) -> None:
        # A thread dies in silence, so whatever ends this one (SystemExit too) becomes an event.
        try:
            engine = self._make_engine(self.emit)
            self._adopt(engine)
            engine.run()
            self._fail(RunFailedError("the engine ended without saying how"), "")
        except BaseException as error:
            self._fail(error, traceback.format_exc())

    def _adopt(self, engine: Engine) -> None:
        with self._handover:
            for command in self._early:
                engine.send(command)
            self._early.clear()
            self._engine = engine

    def _fail(self, error: BaseException, details: str) -> None:
        """Say that the run failed, unless the engine has said how it ended."""
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
