"""The app of a session: poll it, and leave it in order."""

from __future__ import annotations

import enum
import itertools
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from textual import events

from ..boundary import INTERRUPTED
from ..errors import RunFailedError
from ..protocol import RunState, Stop
from .clip_player import DEFAULT_FPS
from .controller import Controller, Messages
from .log_entries import Kind
from .pixels import Answer
from .screen_options import Look
from .screens.dialogs import Leave, LeaveDialog
from .session import Session
from .terminal_app import TerminalApp
from .widgets.painting import painting_together

POLL_HZ = 2.0
"""News a second that a screen takes in, at most."""

SAVE_SECONDS = 60.0
"""Longest wait for a stop with a checkpoint before the screen is left."""

STOP_SECONDS = 5.0
"""The same without a checkpoint."""

SIGTERM_SECONDS = 10.0
"""The same after SIGTERM, behind which a SIGKILL may follow."""


class Departure(enum.Enum):
    """The manner of leaving the screen.

    Only the first two are a person's choice.
    """

    ENDED = "ended"
    DETACHED = "detached"
    HUNG_UP = "hung up"
    LOST = "lost"


_SIGNALS = {"SIGTERM", "SIGINT"}
"""Senders of a `Stop` that ask for the end of the process, screen included."""


@dataclass(frozen=True)
class Leaving:
    """The app's wait for the end of the run.

    Attributes:
        deadline: of the app's clock.
        exit_code: that of the process if the run does not end before `deadline`.
    """

    deadline: float
    exit_code: int


@dataclass(frozen=True)
class Rhythm:
    """The one clock of a screen, for frames and news.

    Each wake of the screen's thread takes a core from the training, so frames and news share their wakes.

    Attributes:
        seconds: between two beats.
        shows_frames: whether there are frames at all.
    """

    seconds: float
    beats_per_frame: int
    beats_per_tick: int
    shows_frames: bool = True

    @classmethod
    def of(cls, fps: float, poll_hz: float) -> Rhythm:
        """The slowest clock for `fps` frames a second.

        Its ticks come at most `poll_hz` times a second, and more than half as often.
        """
        if fps <= 0:
            return cls(1 / poll_hz, 1, 1, shows_frames=False)
        beats_per_frame = max(1, math.floor(poll_hz / fps))
        beat_hz = fps * beats_per_frame
        return cls(1 / beat_hz, beats_per_frame, max(1, math.ceil(beat_hz / poll_hz)))


class SessionApp(TerminalApp):
    """A session on the screen.

    Args:
        session: the source of events and receiver of commands. It starts once the first picture stands.
        clock: seconds, monotonic.
        poll_hz: polls of the session per second, at most.
        fps: frames per second of the live game; 0 shows none.
        messages: those of libraries and loggers, from any thread.
        look, keymap, answer: see `TerminalApp`.

    Attributes:
        controller: of the run on the screen.
        departure: the manner of leaving; LOST unless there was a reason to leave.
        handing_over: the run is about to stop, to be continued by another process.
    """

    AUTO_FOCUS = None

    def __init__(
        self,
        session: Session,
        *,
        clock: Callable[[], float] = time.monotonic,
        poll_hz: float = POLL_HZ,
        fps: float = DEFAULT_FPS,
        look: Look | None = None,
        keymap: Mapping[str, str] | None = None,
        messages: Messages | None = None,
        answer: Answer | None = None,
    ) -> None:
        super().__init__(look, keymap, answer)
        self.controller = Controller(session, clock, fps=fps, messages=messages)
        self.departure = Departure.LOST
        self.handing_over = False
        self.clock = clock
        self._beats = itertools.count(1)
        self._rhythm = Rhythm.of(fps, poll_hz)
        self._leaving: Leaving | None = None

    @property
    def is_leaving(self) -> bool:
        """Whether the end of the run is awaited."""
        return self._leaving is not None

    # For subclasses:

    def take_news(self) -> None:
        """Take in news of the session, and call `leave_when_due`."""
        raise NotImplementedError

    def play(self) -> None:
        """Move the games on by a frame; none by default."""

    def come_home(self) -> bool:
        """End the visit of another run; False without one."""
        return False

    # ────────

    def on_mount(self) -> None:
        self.begin_capture_print(self)
        self.set_interval(self._rhythm.seconds, self.beat)
        self.call_after_refresh(self.controller.session.start)
        self.screen_change_signal.subscribe(self, lambda _: self.clear_notifications())

    def on_print(self, event: events.Print) -> None:
        """Show a library's print as an event instead of on the terminal."""
        if text := event.text.strip():
            self.controller.messages.append((Kind.INFO, text))

    def beat(self) -> None:
        """Show the next frames, and take in news, each in its turn."""
        beat = next(self._beats)
        with painting_together(self):
            if self._rhythm.shows_frames and beat % self._rhythm.beats_per_frame == 0:
                self.play()
            if beat % self._rhythm.beats_per_tick == 0:
                self.tick()

    def tick(self) -> None:
        """Take in news, and leave once the awaited end has come."""
        try:
            self.take_news()
        except (Exception, SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # which would end the timer in silence
            raise RuntimeError(f"{type(error).__name__} in the screen") from error

    async def action_quit(self) -> None:
        """Ask how to leave.

        A run that has ended, or that this screen cannot stop, is left at once. A visit of another run only ends.
        """
        if self.come_home():
            return
        session = self.controller.session
        if finished := self.controller.view.finished:
            self.end(Departure.ENDED, finished.exit_code)
        elif not (session.owns_run or session.can_steer):
            self.end(Departure.ENDED, 0)
        elif not isinstance(self.screen, LeaveDialog):
            self.push_screen(LeaveDialog(can_detach=session.can_detach), self._leave_as_chosen)

    def action_detach(self) -> None:
        self.detach()

    def action_take_control(self) -> None:
        self.controller.session.take_control()

    async def action_interrupt(self) -> None:
        """Ctrl+C: ask how to leave; the second time, stop at once.

        The second time a run of this process stops without a checkpoint, and a run elsewhere is left alone. A visit
        of another run only ends.
        """
        if self.come_home():
            return
        if self._leaving or isinstance(self.screen, LeaveDialog):
            if not self.controller.session.owns_run:
                self.detach()
                return
            if isinstance(self.screen, LeaveDialog):
                self.pop_screen()
            self._leave_as_chosen(Leave.NOW, exit_code=INTERRUPTED)
        else:
            await self.action_quit()

    def _leave_as_chosen(self, choice: Leave | None, exit_code: int = 0) -> None:
        if choice is None:
            return
        if choice is Leave.DETACH:
            self.detach()
            return
        save = choice is Leave.SAVE
        reason = "stopped by the user" if save else "stopped by the user, without a checkpoint"
        self._leave(Stop(save=save, exit_code=exit_code, reason=reason), SAVE_SECONDS if save else STOP_SECONDS)

    def detach(self) -> None:
        """Leave the screen while the run goes on.

        A run elsewhere is left at once; a run of this process is saved first, for another process to take over. A
        visit of another run only ends.
        """
        if self.come_home():
            return
        session = self.controller.session
        if not session.owns_run:
            self.end(Departure.DETACHED, 0)
        elif session.can_detach and self.controller.view.finished is None and not self._leaving:
            self.handing_over = True
            self._leave(Stop(reason="handed over to a process in the background"), SAVE_SECONDS)

    def terminate(self, name: str, exit_code: int) -> None:
        """SIGTERM or SIGINT: save and leave; the second time, leave at once.

        A run elsewhere is left at once too.
        """
        self.come_home()
        again = self._leaving is not None and self._leaving.exit_code == exit_code
        if again or not self.controller.session.owns_run:
            self.end(Departure.ENDED, exit_code)
        else:
            self._leave(Stop(exit_code=exit_code, reason=f"terminated ({name})", by=name), SIGTERM_SECONDS)

    def hang_up(self) -> None:
        """SIGHUP: give up the screen; the run goes on."""
        self.end(Departure.HUNG_UP, 129)

    def end(self, departure: Departure, exit_code: int) -> None:
        """Leave the screen."""
        if departure in (Departure.ENDED, Departure.DETACHED):
            self.controller.watch_updates(False)  # a run that waits between two minibatches is not kept waiting
        self.departure = departure
        self.exit(return_code=exit_code)

    @property
    def patience(self) -> float:
        """Seconds left to the engine for its end after the screen's."""
        return max(1.0, self._leaving.deadline - self.clock()) if self._leaving else STOP_SECONDS

    def _leave(self, command: Stop, seconds: float) -> None:
        self.controller.stop(command)
        # A run that does not stop in time has failed, unless the command names its exit code.
        self._leaving = Leaving(self.clock() + seconds, command.exit_code or RunFailedError.exit_code)

    def leave_when_due(self) -> None:
        """Leave once the awaited end has come, or its time is over."""
        finished = self.controller.view.finished
        if self._leaving is None:
            # A signal that came before the screen stood was taken by the run alone.
            if finished and finished.by in _SIGNALS and self.controller.session.owns_run:
                self.end(Departure.ENDED, finished.exit_code)
            return
        if finished:
            detached = self.handing_over and finished.state is RunState.STOPPED
            self.end(Departure.DETACHED if detached else Departure.ENDED, finished.exit_code)
        elif self.clock() >= self._leaving.deadline:
            self.end(Departure.ENDED, self._leaving.exit_code)
