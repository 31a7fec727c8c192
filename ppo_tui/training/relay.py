"""Between those who steer and the engine, which takes seconds to come to exist. Imports no torch."""

from __future__ import annotations

import threading
from typing import Protocol

from ..protocol import Command


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
