"""The interface of a session, and the mailbox between threads."""

from __future__ import annotations

from collections import deque
from typing import Protocol

from ...protocol import TRANSIENT, Command, Event, transient_key


class HistoryRestarted(Event, frozen=True, kw_only=True):
    """A session's own event: its history begins once more.

    The screen forgets all events so far.
    """


class Session(Protocol):
    """A run as a screen sees it."""

    owns_run: bool = True
    """Whether the run is trained by this process, and ends with it."""

    can_steer: bool = True
    """Whether the run obeys commands: not in a replay, and not while another screen has the control."""

    only_watches: bool = False
    """Whether it asks the run for nothing, not even for clips of the game: it shows those that others ask for."""

    can_detach: bool = False
    """Whether the screen can be left with the run going on."""

    shows_game: bool = True
    """Whether there are clips of the game; a record has none."""

    is_record: bool = False
    """Whether it is the record of a run, of which nothing more can be asked."""

    def start(self) -> None:
        """Begin, without blocking; a second call does nothing.

        The screen calls it once its first picture stands.
        """

    @property
    def status(self) -> str:
        """The session's own state for the header, such as ``read-only``.

        Empty where there is nothing to say.
        """
        return ""

    @property
    def live(self) -> bool:
        """Whether more events may come."""
        ...

    def poll(self) -> list[Event]:
        """Everything since the last poll, without blocking.

        Durable events in order, then the newest transient ones.
        """
        ...

    def age_of(self, event: Event) -> float:
        """Seconds since an event of the last poll was published.

        0 where events come at once.
        """
        return 0.0

    @property
    def reading_history(self) -> bool:
        """Whether the events of the past are still on their way."""
        return False

    def send(self, command: Command) -> None:
        """Hand over a command without waiting for it.

        One sent after the end of the run is ignored.
        """

    def take_control(self) -> None:
        """Steer the run from here, instead of another screen.

        Does nothing where there is no other screen, or where it only watches.
        """

    def close(self, timeout: float) -> bool:
        """Stop the run, or leave a run elsewhere.

        Returns False when it is ours and runs on after `timeout` seconds.
        """
        ...


class Mailbox:
    """Events on their way from a busy thread to the screen.

    One thread posts, another drains. Each operation is one or two atomic ones on a deque or a dict, so posting
    never waits for the screen; a durable event is kept until it is drained, a transient one until the next of
    its kind.
    """

    def __init__(self) -> None:
        self._durable: deque[Event] = deque()
        self._transient: dict[tuple[int, int], Event] = {}

    def post(self, event: Event) -> None:
        if isinstance(event, TRANSIENT):
            self._transient[transient_key(event)] = event
        else:
            self._durable.append(event)

    def drain(self) -> list[Event]:
        # The transient ones are taken first: all that was posted before them is then among the durable ones.
        newest = [self._transient.pop(kind) for kind in sorted(self._transient)]
        return [self._durable.popleft() for _ in range(len(self._durable))] + newest
