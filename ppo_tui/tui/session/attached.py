"""A run in another process, through its control socket."""

from __future__ import annotations

import contextlib
import shlex
import threading
import time

from ...errors import PPOTuiError
from ...protocol import PASSIVE, TRANSIENT, Command, CommandRefused, Event, RunFinished, RunState, StateChanged
from ...runs import RunDirectory
from ...runs.client import ControlClient
from ...runs.messages import HistoryRead, Reply, Role, Wish
from .base import HistoryRestarted, Mailbox, Session

RETRY_SECONDS = 1.0
"""Seconds between two attempts to reach a run."""


class AttachedSession(Session):
    """A run in another process; the screen comes and goes without it.

    When the run does not answer any more, the screen stays.

    Args:
        run_dir: its directory.
        readonly: never steer it. The server is told so, and obeys nothing of this connection.
        take_control: steer it even if another screen does.

    Raises:
        UsageError: the run is not running.
    """

    owns_run = False
    can_detach = True

    def __init__(self, run_dir: RunDirectory, *, readonly: bool = False, take_control: bool = False) -> None:
        self._run_dir = run_dir
        self.only_watches = readonly
        self._wish: Wish = "watch" if readonly else "take" if take_control else "steer"
        self._mailbox = Mailbox()
        self._client: ControlClient | None = ControlClient(run_dir)
        self._role: Role | None = None
        self.can_steer = False
        self._finished = self._has_history = False
        self._elapsed = 0.0  # seconds of the run, as of the newest event
        self._lost = ""
        self._unreachable = ""  # why the last attempt to reach it failed
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="attached", daemon=True)

    def start(self) -> None:
        if not self._thread.ident:
            self._thread.start()

    @property
    def live(self) -> bool:
        return self._client is not None and not self._finished

    @property
    def status(self) -> str:
        if self._client is None or self._role is None:
            return ""
        if self.reading_history:
            return "reading the history …"
        return "attached" if self._role.control else "read-only"

    def poll(self) -> list[Event]:
        return self._mailbox.drain()

    def age_of(self, event: Event) -> float:
        """Seconds since `event`, by the clock of this machine.

        A screen that attaches late gets the newest one long after.
        """
        return max(0.0, time.time() - event.time) if event.time else 0.0

    @property
    def reading_history(self) -> bool:
        return self._client is not None and not self._has_history

    def send(self, command: Command) -> None:
        client = self._client
        passive = isinstance(command, PASSIVE)
        if self.only_watches:
            if not passive:
                self._refuse("read-only: this screen only watches; leave it and attach without --readonly to steer")
        elif client is None:
            if not (self._finished or passive):
                self._refuse("the run does not answer")
        elif not (self.can_steer or passive):
            holder = self._role.holder if self._role else None
            why = f"{holder} steers it; T takes the control over" if holder else "T takes the control"
            self._refuse(f"read-only: {why}")
        else:
            with contextlib.suppress(OSError):  # the reading thread finds the end too, and publishes it
                client.send(command)

    def take_control(self) -> None:
        """Steer the run from here; the other screen watches from now on."""
        if (client := self._client) and not self.only_watches:
            with contextlib.suppress(OSError):
                client.claim()

    def close(self, timeout: float) -> bool:
        self._leaving.set()
        if client := self._client:
            client.close()
        if self._thread.ident:
            self._thread.join(timeout)
        return True

    def _refuse(self, why: str) -> None:
        self._mailbox.post(CommandRefused(message=why, elapsed=self._elapsed))

    # ── The reading thread ──────────────────────────────────────────────────────────────────────────────────

    def _listen(self) -> None:
        """Read until the screen is left; reconnect whenever possible."""
        client = self._client
        while not self._leaving.is_set():
            if client is not None:
                self._client = client
                with contextlib.suppress(OSError):
                    client.subscribe(client="screen", wish=self._wish, history=True)
                    self._read(client)
                client.close()
                self._client = self._role = None
                self.can_steer = False
            self._publish_loss()
            if self._leaving.wait(RETRY_SECONDS):
                return
            client = self._reach()

    def _reach(self) -> ControlClient | None:
        """Reconnect, for a history from its beginning.

        The record may have been cut back to a checkpoint meanwhile.
        """
        if self._run_dir.holder is None:
            return None
        try:
            client = ControlClient(self._run_dir)
        except (PPOTuiError, OSError) as error:
            self._unreachable = str(error)
            return None
        self._unreachable = ""
        self._mailbox.post(HistoryRestarted())
        self._finished, self._elapsed, self._lost = False, 0.0, ""
        self._has_history = False
        return client

    def _read(self, client: ControlClient) -> None:
        for message in client.messages():
            match message:
                case Role():
                    self._role, self.can_steer = message, message.control
                case HistoryRead():
                    self._has_history = True
                case Reply(error=str(error)):
                    self._refuse(error)
                case Event(elapsed=elapsed):
                    self._elapsed = elapsed
                    # A server of an earlier version does not say when the record is read to its end; these follow then.
                    self._has_history = self._has_history or isinstance(message, TRANSIENT)
                    self._finished = isinstance(message, RunFinished)
                    self._mailbox.post(message)

    def _publish_loss(self) -> None:
        """Publish the loss of the run, with the reason.

        It is published again only when the reason has changed.
        """
        if self._finished or self._leaving.is_set():
            return
        pid = self._run_dir.holder
        reason = (
            self._unreachable or f"pid {pid} does not answer; trying again"
            if pid
            else f"the process of the run is gone; ppo-tui resume {shlex.quote(self._run_dir.path.name)} continues it"
        )
        if reason != self._lost:
            self._lost = reason
            self._mailbox.post(StateChanged(state=RunState.LOST, reason=reason, elapsed=self._elapsed))
