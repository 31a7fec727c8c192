"""Poll events from the session and send commands to it. No widgets."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from ..protocol import (
    CheckpointSaved,
    Command,
    CommandRefused,
    Event,
    GameClip,
    Pause,
    Resume,
    Rewind,
    Rewound,
    RunFinished,
    RunState,
    SaveCheckpoint,
    StateChanged,
    StepMinibatches,
    StepUpdates,
    Stop,
    SuggestedEdit,
    UpdateInspected,
    WatchUpdate,
)
from .clip_player import DEFAULT_FPS, RENEW_SECONDS, ClipPlayer
from .editor import Editor
from .log_entries import Kind
from .session import HistoryRestarted, Session
from .view import RunView

READ_ONLY = "read-only: this screen only watches"

Messages = deque[tuple[Kind, str]]
"""Messages of libraries and loggers, from any thread."""


class Controller:
    """A session with the view folded from its events.

    Attributes:
        request: the user's request without an answer so far, such as ``pausing``; else empty.
        clip_player: plays clips of the watched environment.
        players: that one, and those of further environments that are shown.
        messages: those of libraries and loggers; `poll` moves them to the log.
    """

    def __init__(
        self,
        session: Session,
        clock: Callable[[], float],
        *,
        fps: float = DEFAULT_FPS,
        messages: Messages | None = None,
    ) -> None:
        self.session = session
        self.view = RunView()
        self.editor = Editor(self.view)
        self.clip_player = ClipPlayer(session, clock, fps)
        self.players = [self.clip_player]
        self.request = ""
        self.messages: Messages = deque(maxlen=100) if messages is None else messages
        self.clock = clock
        self._polled_at = clock()
        self._elapsed = 0.0
        self._watching_since: float | None = None

    @property
    def elapsed(self) -> float:
        """Seconds of the run; they never decrease while it trains.

        Those of the newest event, and the time since. In a pause they stand still, at the moment that it began: every
        screen shows the same.
        """
        if self.view.finished or not self.session.live or self.view.state is RunState.PAUSED:
            self._elapsed = self.view.elapsed
            return self._elapsed
        self._elapsed = max(self._elapsed, self.view.elapsed + self.clock() - self._polled_at)
        return self._elapsed

    def poll(self) -> bool:
        """Fold in new events; False without any."""
        events = self.session.poll()
        if events:
            self._polled_at = self.clock() - self.session.age_of(events[-1])
        for event in events:
            if isinstance(event, HistoryRestarted):
                self._elapsed, self.request = 0.0, ""
            if isinstance(event, GameClip):
                for player in self.players:
                    player.offer(event)
            else:
                self.take(event)
        for _ in range(len(self.messages)):
            self.view.add_line(*self.messages.popleft())
            events = events or [Event()]
        return bool(events)

    def take(self, event: Event) -> None:
        """Fold in one event."""
        self.view.apply(event)
        self.editor.settle(event)
        if self._answers(event):
            self.request = ""

    def _answers(self, event: Event) -> bool:
        if self.request == "saving":
            return isinstance(event, CheckpointSaved | CommandRefused | RunFinished)
        if self.request == "going back":
            return isinstance(event, Rewound | CommandRefused | RunFinished)
        if self.request == "stopping":
            return isinstance(event, RunFinished)
        if self.request == "one minibatch":
            return isinstance(event, UpdateInspected | CommandRefused | RunFinished)
        return isinstance(event, StateChanged | CommandRefused | RunFinished)

    # ── Commands ────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def would_resume(self) -> bool:
        """Whether `toggle_pause` lets the run go on.

        So it does before the engine has answered a pause, which it takes back.
        """
        return (self.view.state is RunState.PAUSED) != (self.request in ("pausing", "resuming"))

    def toggle_pause(self) -> None:
        """Pause, or go on."""
        if self.would_resume:
            self._send(Resume(), "resuming")
        else:
            self._send(Pause(), "pausing")

    def choose_env(self, direction: int) -> None:
        """Watch the next or the previous environment."""
        if self.view.started:
            self.clip_player.choose(direction, self.view.started.num_envs)

    def watch_game(self, looking: bool) -> None:
        """Tell the engine whether the game is visible.

        It records clips only while it is.
        """
        if self.view.started and not self.view.finished and not self.game_missing:
            self.clip_player.attend(looking)

    @property
    def can_be_watched(self) -> bool:
        """Whether the run has ended with a policy to watch."""
        view = self.view
        return bool(view.finished and view.checkpoint and view.started and view.started.run_dir)

    @property
    def game_missing(self) -> str:
        """The reason why no game can be shown; empty without one."""
        if not self.session.shows_game:
            return "a recorded run has no game frames: ppo-tui watch RUN plays it"
        return "" if self.clip_player.fps > 0 else "the game is off: --fps 0"

    def watch_updates(self, looking: bool) -> None:
        """Tell the engine whether the microscope is open.

        It hears of each change, and repeatedly while it is.
        """
        if self.session.only_watches or not self.view.started or self.view.finished:
            return
        now, since = self.clock(), self._watching_since
        if looking and (since is None or now - since >= RENEW_SECONDS):
            self._watching_since = now
            self.session.send(WatchUpdate())
        elif not looking and since is not None:
            self._watching_since = None
            self.session.send(WatchUpdate(open=False))

    @property
    def can_step_minibatches(self) -> bool | None:
        """Whether there are minibatches to step through.

        None where there are, but not now or not by this screen.
        """
        if self.session.is_record or self.view.configured("run.algorithm") == "a3c":
            return False
        return True if self.can_steer else None

    def step_minibatch(self) -> None:
        self._send(StepMinibatches(), "one minibatch")

    @property
    def can_steer(self) -> bool:
        """Whether the run goes on and obeys this screen."""
        return self.session.can_steer and not self.view.finished

    @property
    def unsteerable(self) -> str:
        """The reason why the run obeys no key; empty if it does."""
        if self.view.finished:
            return "the run has ended: nothing can be applied"
        if self.session.only_watches:
            return READ_ONLY
        # A screen has no state yet while it connects; one of a record, or that plays a checkpoint, has no run to steer.
        if self.session.can_steer or not (self.session.status and self.session.can_detach):
            return ""
        return "read-only: another screen steers this run; T takes the control"

    def step(self, updates: int = 1) -> None:
        self._send(StepUpdates(updates=updates), "one update" if updates == 1 else f"{updates:,} updates")

    def save(self) -> None:
        self._send(SaveCheckpoint(), "saving")

    def rewind(self, path: str) -> None:
        self._send(Rewind(path=path), "going back")

    def nudge(self, direction: int) -> None:
        if command := self.editor.nudge(direction):
            self.session.send(command)

    def set_value(self, key: str, value: Any) -> None:
        """Ask for a valid value."""
        self.session.send(self.editor.ask(key, value))

    @property
    def advice(self) -> SuggestedEdit | None:
        """The edit advised by the most severe alarm with one."""
        known = self.view.settings
        return next((a.edit for a in self.view.worst_alarms if a.edit and a.edit.key in known), None)

    def draft_advice(self) -> bool:
        """Draft the advised edit; False without one."""
        if (advice := self.advice) is None:
            return False
        self.editor.draft(advice.key, advice.value)
        return True

    def apply_drafts(self) -> int:
        """Ask for all drafts; return their number."""
        commands = self.editor.apply_drafts()
        for command in commands:
            self.session.send(command)
        return len(commands)

    def undo(self) -> bool:
        """Take the newest edit back; False without one."""
        return self._try(self.editor.undo())

    def redo(self) -> bool:
        """Repeat the edit undone last; False without one."""
        return self._try(self.editor.redo())

    def _try(self, command: Command | None) -> bool:
        if command:
            self.session.send(command)
        return command is not None

    def stop(self, command: Stop) -> None:
        self._send(command, "stopping")

    def _send(self, command: Command, request: str) -> None:
        self.session.send(command)
        self.request = request
