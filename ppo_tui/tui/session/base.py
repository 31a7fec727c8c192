"""What every session offers the screen, and how events get there from another thread."""

from __future__ import annotations

from collections import deque
from typing import Protocol

from ...protocol import TRANSIENT, Command, Event


class HistoryRestarted(Event, frozen=True, kw_only=True):
    """A session's own event: forget all that was told so far, the run is told anew from its beginning."""


class Session(Protocol):
    """A run as a screen sees it."""

    owns_run: bool = True
    """Whether the run is at work in this process, so that it ends when the process does."""

    can_steer: bool = True
    """Whether the run obeys commands: not in a replay, and not while another screen has the control."""

    can_detach: bool = False
    """Whether the screen can be left with the run going on."""

    shows_game: bool = True
    """Whether there are clips of the game: a record keeps none."""

    opens_game: bool = False
    """Whether the screen begins with the game."""

    def start(self) -> None:
        """Begin, without blocking. The screen calls it once its first picture stands; a second call does nothing."""

    @property
    def status(self) -> str:
        """The session's own state for the header, such as ``read-only``; empty where there is nothing to say."""
        return ""

    @property
    def live(self) -> bool:
        """Whether more events may come."""
        ...

    def poll(self) -> list[Event]:
        """Everything since the last poll, without blocking: durable events in order, then the newest transient ones."""
        ...

    def send(self, command: Command) -> None:
        """Hand over a command without waiting for it; one sent after the end of the run is ignored."""

    def take_control(self) -> None:
        """Steer the run from here, where another screen does; where that is no question, this does nothing."""

    def close(self, timeout: float) -> bool:
        """Stop the run, or leave it where it is not ours; False when it is ours and runs on after `timeout` seconds."""
        ...


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
