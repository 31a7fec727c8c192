"""The inbox of an engine: commands, and calls. Imports no torch."""

from __future__ import annotations

import queue
from collections.abc import Callable

from ..protocol import Command, Stop


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
