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
    StepUpdates,
    Stop,
)
from .clip_player import DEFAULT_FPS, ClipPlayer
from .editor import Editor
from .session import HistoryRestarted, Session
from .view import Kind, RunView

Messages = deque[tuple[Kind, str]]
"""Messages of libraries and loggers, from any thread."""


class Controller:
    """A session with the view folded from its events.

    Attributes:
        request: the user's request without an answer so far, such as ``pausing``; else empty.
        clip_player: plays clips of the watched environment.
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
        self.request = ""
        self.messages: Messages = deque(maxlen=100) if messages is None else messages
        self._clock = clock
        self._polled_at = clock()
        self._elapsed = 0.0

    @property
    def elapsed(self) -> float:
        """Seconds of the run; they never decrease while it trains.

        Those of the newest event, and the time since. In a pause they stand still, at the moment that it began: every
        screen shows the same.
        """
        if self.view.finished or not self.session.live or self.view.state is RunState.PAUSED:
            self._elapsed = self.view.elapsed
            return self._elapsed
        self._elapsed = max(self._elapsed, self.view.elapsed + self._clock() - self._polled_at)
        return self._elapsed

    def poll(self) -> bool:
        """Fold in new events; False without any."""
        events = self.session.poll()
        if events:
            self._polled_at = self._clock() - self.session.age_of(events[-1])
        for event in events:
            if isinstance(event, HistoryRestarted):
                self._elapsed, self.request = 0.0, ""
            if isinstance(event, GameClip):
                self.clip_player.offer(event)
                continue
            self.view.apply(event)
            self.editor.settle(event)
            if self._answers(event):
                self.request = ""
        for _ in range(len(self.messages)):
            self.view.add_line(*self.messages.popleft())
            events = events or [Event()]
        return bool(events)

    def _answers(self, event: Event) -> bool:
        if self.request == "saving":
            return isinstance(event, CheckpointSaved | CommandRefused | RunFinished)
        if self.request == "going back":
            return isinstance(event, Rewound | CommandRefused | RunFinished)
        if self.request == "stopping":
            return isinstance(event, RunFinished)
        return isinstance(event, StateChanged | CommandRefused | RunFinished)

    # ── Commands ────────────────────────────────────────────────────────────────────────────────────────────

    def toggle_pause(self) -> None:
        """Pause, or go on.

        Pressed again before the engine has answered, it takes the request back.
        """
        paused = self.view.state is RunState.PAUSED
        if paused != (self.request in ("pausing", "resuming")):
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
    def game_missing(self) -> str:
        """The reason why no game can be shown; empty without one."""
        if not self.session.shows_game:
            return "the record of a run keeps no pictures of the game"
        return "" if self.clip_player.fps > 0 else "the game is off: --fps 0"

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
