"""The Textual app: it polls the controller, keeps the screen up to date, and knows how to leave."""

from __future__ import annotations

import enum
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen

from ..errors import RunFailedError
from ..protocol import RunState, Stop
from . import theme
from .controller import Controller
from .screens.dialogs import Leave, LeaveDialog
from .screens.main import MainScreen
from .screens.replay import ReplayScreen
from .session import ReplaySession, Session
from .spectator import DEFAULT_FPS
from .widgets.game import Game

SAVE_SECONDS = 60.0
"""How long a stop with a checkpoint may take before the screen is left without it."""

STOP_SECONDS = 5.0
"""The same without a checkpoint."""

SIGTERM_SECONDS = 10.0
"""The same after SIGTERM, behind which a SIGKILL may follow."""


class Departure(enum.Enum):
    """How the screen was left."""

    ENDED = "ended"
    DETACHED = "detached"
    HUNG_UP = "hung up"


@dataclass(frozen=True)
class Leaving:
    """The app waits for the end of the run.

    Attributes:
        exit_code: what it leaves with if the run's own end does not come before `deadline` (of the app's clock).
    """

    deadline: float
    exit_code: int


class PpoTuiApp(App[None]):
    """A run on the screen.

    Args:
        session: where events come from and commands go to. It is started once the first picture stands.
        clock: seconds, monotonic.
        poll_hz: how often the session is asked for news.
        fps: frames a second of the live game; 0 shows none.
    """

    CSS_PATH = "app.tcss"
    TITLE = "ppo-tui"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+c", "interrupt", "Quit", show=False, priority=True)]
    AUTO_FOCUS = None

    def __init__(
        self,
        session: Session,
        *,
        clock: Callable[[], float] = time.monotonic,
        poll_hz: float = 5.0,
        fps: float = DEFAULT_FPS,
    ) -> None:
        super().__init__()
        self.run_controller = Controller(session, clock, fps=fps)
        self._clock = clock
        self._poll_seconds = 1 / poll_hz
        self._leaving: Leaving | None = None
        self._handing_over = False
        self._status = ""
        self.departure = Departure.ENDED
        self.register_theme(theme.DARK)
        self.register_theme(theme.LIGHT)
        self.theme = theme.DARK.name

    def get_css_variables(self) -> dict[str, str]:
        return theme.with_own_colours(super().get_css_variables(), ansi=self.current_theme.ansi)

    def get_default_screen(self) -> Screen[None]:
        session = self.run_controller.session
        if isinstance(session, ReplaySession):
            return ReplayScreen(self.run_controller, self._clock, session)
        return MainScreen(self.run_controller, self._clock)

    def on_mount(self) -> None:
        self.set_interval(self._poll_seconds, self.tick)
        self.call_after_refresh(self.run_controller.session.start)

    def get_system_commands(self, screen: Screen[object]) -> Iterator[SystemCommand]:
        yield from super().get_system_commands(screen)
        if isinstance(screen, MainScreen):
            for key in screen.KEYS:
                if key.help and screen.check_action(key.action.partition("(")[0], ()):
                    yield SystemCommand(key.label or key.help, key.help, lambda key=key: screen.run_action(key.action))

    def tick(self) -> None:
        """Take in what is new, and leave if that is what everybody waits for."""
        if not self.screen_stack:  # the app is closing, and its timer has not heard yet
            return
        main = self.screen_stack[0]
        assert isinstance(main, MainScreen), "the main screen is never popped"
        if self.run_controller.poll():
            main.renew()
        else:
            main.renew_clock()
        if self.run_controller.session.status != self._status:
            self._status = self.run_controller.session.status
            main.refresh_bindings()
        self.run_controller.watch_game(any(game.to_be_seen for game in self.screen.query(Game)))
        self._leave_when_due()

    # ── Leaving ─────────────────────────────────────────────────────────────────────────────────────────────

    async def action_quit(self) -> None:
        """Ask how to leave; a run that has ended, or that this screen cannot stop, is left at once."""
        session = self.run_controller.session
        if finished := self.run_controller.view.finished:
            self.exit(return_code=finished.exit_code)
        elif not (session.owns_run or session.can_steer):
            self.exit(return_code=0)
        elif not isinstance(self.screen, LeaveDialog):
            self.push_screen(LeaveDialog(), self._leave_as_chosen)

    async def action_interrupt(self) -> None:
        """Ctrl+C: the same; at the second time stop without a checkpoint, or leave a run elsewhere to itself."""
        if self._leaving or isinstance(self.screen, LeaveDialog):
            if not self.run_controller.session.owns_run:
                self.detach()
                return
            if isinstance(self.screen, LeaveDialog):
                self.pop_screen()
            self._leave_as_chosen(Leave.NOW, exit_code=130)
        else:
            await self.action_quit()

    def _leave_as_chosen(self, choice: Leave | None, exit_code: int = 0) -> None:
        if choice is None:
            return
        save = choice is Leave.SAVE
        reason = "stopped by the user" if save else "stopped by the user, without a checkpoint"
        self._leave(Stop(save=save, exit_code=exit_code, reason=reason), SAVE_SECONDS if save else STOP_SECONDS)

    def detach(self) -> None:
        """Leave a run that goes on: at once where it is elsewhere, else when it stands saved for another process."""
        session = self.run_controller.session
        if not session.owns_run:
            self.departure = Departure.DETACHED
            self.exit(return_code=0)
        elif session.can_detach and self.run_controller.view.finished is None and not self._leaving:
            self._handing_over = True
            self._leave(Stop(reason="handed over to a process in the background"), SAVE_SECONDS)

    def terminate(self) -> None:
        """SIGTERM: save, show it, leave with 143; a second one leaves at once, as one leaves a run elsewhere."""
        if (self._leaving and self._leaving.exit_code == 143) or not self.run_controller.session.owns_run:
            self.exit(return_code=143)
        else:
            self._leave(Stop(exit_code=143, reason="terminated (SIGTERM)"), SIGTERM_SECONDS)

    def hang_up(self) -> None:
        """SIGHUP: nobody is looking any more; the screen is given up and the run goes on."""
        self.departure = Departure.HUNG_UP
        self.exit(return_code=129)

    @property
    def patience(self) -> float:
        """Seconds that the engine may still take to end once the screen is gone."""
        return max(1.0, self._leaving.deadline - self._clock()) if self._leaving else STOP_SECONDS

    def _leave(self, command: Stop, seconds: float) -> None:
        self.run_controller.stop(command)
        # A run that does not end when told to has failed, unless it was told which code to end with.
        self._leaving = Leaving(self._clock() + seconds, command.exit_code or RunFailedError.exit_code)

    def _leave_when_due(self) -> None:
        if self._leaving is None:
            return
        if finished := self.run_controller.view.finished:
            if self._handing_over and finished.state is RunState.STOPPED:
                self.departure = Departure.DETACHED
            self.exit(return_code=finished.exit_code)
        elif self._clock() >= self._leaving.deadline:
            self.exit(return_code=self._leaving.exit_code)
