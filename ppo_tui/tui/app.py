"""The Textual app: polls the controller, updates the screen, and leaves it."""

from __future__ import annotations

import enum
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from textual import events, on, work
from textual.app import ScreenError, SystemCommand
from textual.await_complete import AwaitComplete
from textual.binding import Binding, BindingType
from textual.command import Provider
from textual.content import Content
from textual.driver import Driver
from textual.errors import NoWidget
from textual.filter import LineFilter
from textual.geometry import Size
from textual.notifications import SeverityLevel
from textual.screen import Screen
from textual.theme import ThemeProvider
from textual.widgets import Input

from ..errors import RunFailedError
from ..protocol import RunState, Stop
from ..sinks.wording import describe
from ..text import one_line, printable
from . import keys, theme
from .clip_player import DEFAULT_FPS
from .controller import Controller, Messages
from .lending import Lending
from .log_entries import Kind
from .palette import Palette, RunCommands
from .pixels import Answer
from .private_textual import ReportingApp
from .screen_options import Look
from .screens.card import CardScreen
from .screens.charts import ChartScreen
from .screens.checkpoints import ChangesScreen, CheckpointScreen
from .screens.dialogs import CountDialog, Leave, LeaveDialog, TextScreen
from .screens.edit import EditScreen
from .screens.game import GameScreen
from .screens.help import HelpScreen
from .screens.main import MainScreen
from .screens.microscope import MicroscopeScreen
from .screens.replay import ReplayScreen
from .screens.run_screen import RunScreen
from .screens.runs import RunsScreen
from .screens.visit import visit_of
from .session import ReplaySession, Session
from .terminal_diff import TerminalDiff
from .theme import PlainCharacters, SafeCharacters
from .topics import Explains, Topic
from .widgets.game_pixels import PixelTerminal

LARGEST = Size(1000, 500)
"""The largest screen in cells; a terminal of more shows it in a corner. A stray size could take all memory."""

SAVE_SECONDS = 60.0
"""Longest wait for a stop with a checkpoint before the screen is left."""

STOP_SECONDS = 5.0
"""The same without a checkpoint."""

SIGTERM_SECONDS = 10.0
"""The same after SIGTERM, behind which a SIGKILL may follow."""

VISIT_SECONDS = 1.0
"""Longest wait for the connection to a visited run to close."""


class Departure(enum.Enum):
    """The manner of leaving the screen.

    Only the first two are a person's choice.
    """

    ENDED = "ended"
    DETACHED = "detached"
    HUNG_UP = "hung up"
    LOST = "lost"


class Terminal(PixelTerminal, Protocol):
    """A driver able to restore its terminal, and to draw pictures."""

    def give_back(self) -> None:
        """Give the terminal back, unless already done."""

    def measure_cells(self) -> None:
        """Look for the size of cells anew, after a resize."""


_ACTIONS = {key.action.partition("(")[0] for key in keys.KEYS if keys.APP in key.contexts}
_NEED_A_LIVE_RUN = {"pause", "step", "step_many", "save", "undo", "redo"}
_STEERING = _NEED_A_LIVE_RUN | {"nudge", "type", "apply"}
_KEPT_SYSTEM_COMMANDS = {"Theme", "Screenshot"}

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


class PpoTuiApp(ReportingApp):
    """A run on the screen.

    Args:
        session: the source of events and receiver of commands. It starts once the first picture stands.
        clock: seconds, monotonic.
        poll_hz: polls of the session per second.
        fps: frames per second of the live game; 0 shows none.
        look: theme and characters.
        keymap: the user's own keys, as `keys.load_keymap` gives them.
        messages: those of libraries and loggers, from any thread.
        answer: the terminal's, to the question what it can draw.

    Attributes:
        controller: of the run on the screen: this screen's own, or another one that is visited.
        departure: the manner of leaving; LOST unless there was a reason to leave.
        handing_over: the run is about to stop, to be continued by another process.
        terminal: set by a driver that can give it back.
    """

    CSS_PATH = "app.tcss"
    TITLE = "ppo-tui"
    BINDINGS: ClassVar[list[BindingType]] = [
        *keys.bindings(keys.APP),
        Binding(keys.INTERRUPT, "interrupt", "Quit", show=False, priority=True),
    ]
    COMMANDS: ClassVar[set[type[Provider] | Callable[[], type[Provider]]]] = {RunCommands}
    AUTO_FOCUS = None
    NOTIFICATION_TIMEOUT = 3.0

    def __init__(
        self,
        session: Session,
        *,
        clock: Callable[[], float] = time.monotonic,
        poll_hz: float = 5.0,
        fps: float = DEFAULT_FPS,
        look: Look | None = None,
        keymap: Mapping[str, str] | None = None,
        messages: Messages | None = None,
        answer: Answer | None = None,
    ) -> None:
        self.look = look or Look()
        chosen = theme.BY_NAME[self.look.theme]
        super().__init__(ansi_color=chosen.ansi)
        self.controller = Controller(session, clock, fps=fps, messages=messages)
        self.user_keys = dict(keymap or {})
        self.departure = Departure.LOST
        self.terminal: Terminal | None = None
        self.answer = answer or Answer()
        self.terminal_diff = TerminalDiff()
        self._own_filters: list[LineFilter] = [SafeCharacters(), *([PlainCharacters()] if self.look.ascii else [])]
        self._clock = clock
        self._poll_seconds = 1 / poll_hz
        self._leaving: Leaving | None = None
        self.handing_over = False
        self._status = ""
        self._pages: dict[str, Screen[None]] = {}
        self._own = self.controller
        self._visited = 0  # visits so far
        self._lending = Lending(self)
        for own in theme.THEMES:
            self.register_theme(own)
        self.theme = chosen.name
        self.set_keymap(self.user_keys)

    def get_css_variables(self) -> dict[str, str]:
        return theme.with_own_colours(super().get_css_variables(), ansi=self.current_theme.ansi)

    def get_line_filters(self) -> Sequence[LineFilter]:
        return [*super().get_line_filters(), *self._own_filters]

    @property
    def size(self) -> Size:
        return Size(*map(min, super().size, LARGEST))

    def get_default_screen(self) -> Screen[None]:
        session = self.controller.session
        if isinstance(session, ReplaySession):
            return ReplayScreen(self.controller, self._clock, session, ascii=self.look.ascii)
        return MainScreen(self.controller, self._clock, ascii=self.look.ascii)

    async def on_event(self, event: events.Event) -> None:
        if isinstance(event, events.Resize) and event.size != (size := Size(*map(min, event.size, LARGEST))):
            event = events.Resize(size, size)
        if not (isinstance(event, events.MouseEvent) and self._points_at_remains(event)):
            await super().on_event(event)

    def _points_at_remains(self, event: events.MouseEvent) -> bool:
        """Tell whether a removed widget, without a parent, is below the mouse."""
        try:
            widget, _ = self.get_widget_at(event.x, event.y)
        except (NoWidget, ScreenError):
            return False
        return not widget.is_attached

    def on_mount(self) -> None:
        self.begin_capture_print(self)
        self.set_interval(self._poll_seconds, self.tick)
        self.call_after_refresh(self.controller.session.start)
        self.screen_change_signal.subscribe(self, lambda _: self.clear_notifications())

    def on_resize(self) -> None:
        """Forget the painted cells: they were laid out for the old size."""
        self.terminal_diff.forget()
        if self.terminal:
            self.terminal.measure_cells()

    @on(Driver.SignalResume)
    def paint_anew(self) -> None:
        """Paint the whole screen: after Ctrl+Z the terminal's is empty."""
        self.terminal_diff.forget()
        self.screen.refresh()

    def notify(
        self,
        message: str,
        *,
        title: str = "",
        severity: SeverityLevel = "information",
        timeout: float | None = None,
        markup: bool = False,
    ) -> None:
        """Show a message for a moment; it is text, whatever `markup` says."""
        super().notify(message, title=title, severity=severity, timeout=timeout, markup=False)

    def on_key(self, event: events.Key) -> None:
        """Say why a key for steering does nothing."""
        if why := self.controller.unsteerable:
            bound = self.screen.active_bindings.get(event.key)
            if bound and not bound.enabled and bound.binding.action.partition("(")[0] in _STEERING:
                self.clear_notifications()  # once, however often it is pressed
                self.notify(why)

    def get_key_display(self, binding: Binding) -> str:
        display = super().get_key_display(binding)
        return keys.in_ascii(display) if self.look.ascii else display

    def on_delivery_complete(self, event: events.DeliveryComplete) -> None:
        event.prevent_default()  # Textual would say it in markup
        self.notify(f"Saved screenshot to {event.path}", title="Screenshot")

    def copy_to_clipboard(self, text: str) -> None:
        super().copy_to_clipboard(printable(text, lines=True))

    def on_print(self, event: events.Print) -> None:
        """Show a library's print as an event instead of on the terminal."""
        if text := event.text.strip():
            self.controller.messages.append((Kind.INFO, text))

    @property
    def main(self) -> MainScreen:
        main = next(screen for screen in reversed(self.screen_stack) if isinstance(screen, MainScreen))
        assert isinstance(main, MainScreen), "the main screen is never popped"
        return main

    def tick(self) -> None:
        """Take in news, and leave once the awaited end has come.

        The own run's news are taken in while another run is visited, too.
        """
        try:
            self._tick()
        except (Exception, SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # which would end the timer in silence
            raise RuntimeError(f"{type(error).__name__} in the screen") from error

    def _tick(self) -> None:
        if not self.screen_stack:  # the app is closing
            return
        if self.is_visiting:
            self._poll_own()
        if self.controller.poll():
            self.main.renew()
            if isinstance(self.screen, RunScreen | CardScreen):
                self.screen.renew()
        else:
            self.main.renew_clock()
        if self.controller.session.status != self._status:
            self._status = self.controller.session.status
            self.screen.refresh_bindings()
        game = self.screen.game if isinstance(self.screen, MainScreen | GameScreen) else None
        if game:
            game.renew_facts()
        self.controller.watch_game(game is not None and game.to_be_seen)
        self.controller.watch_updates(any(isinstance(screen, MicroscopeScreen) for screen in self.screen_stack))
        self._leave_when_due()

    # ── Commands ────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def actions_of_keys(self) -> set[str]:
        """The actions of all keys bound everywhere."""
        return _ACTIONS

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Disable keys while a line is typed, and without a live run.

        After the end, keys for steering a run are greyed out.
        """
        finished, session = self.controller.view.finished, self.controller.session
        # Over a dialog, such as the palette, keys of the app are not bound: its commands may run all the same.
        if isinstance(self.focused, Input) and action in _ACTIONS and not self.screen.is_modal:
            return False
        if isinstance(session, ReplaySession) and action in _NEED_A_LIVE_RUN:
            return False
        if action == "traceback":
            return bool(finished and finished.details)
        if action == "detach":
            return session.can_detach
        if action == "explain":
            return isinstance(self.screen, Explains)
        if action == "draft_advice":
            return bool(self.controller.advice) and self.controller.can_steer
        if action == "take_control":
            return session.live and not (session.owns_run or session.can_steer or session.only_watches)
        if action in _NEED_A_LIVE_RUN and not self.controller.can_steer:
            return None
        return True

    def action_pause(self) -> None:
        self.controller.toggle_pause()
        self.main.renew_clock()

    def action_step(self) -> None:
        self.controller.step()
        self.main.renew_clock()

    def action_step_many(self) -> None:
        def step(updates: int | None) -> None:
            if updates:
                self.controller.step(updates)
                self.main.renew_clock()

        self.push_screen(CountDialog("Run how many updates, then pause?"), step)

    def action_save(self) -> None:
        self.controller.save()
        self.main.renew_clock()

    def action_undo(self) -> None:
        if not self.controller.undo():
            self.notify("there is no change of a setting to undo", timeout=2)
        self._renew_settings()

    def action_redo(self) -> None:
        if not self.controller.redo():
            self.notify("there is nothing to redo", timeout=2)
        self._renew_settings()

    def set_value(self, key: str, value: Any) -> None:
        """Ask for a value of a live setting; for the palette."""
        self.controller.set_value(key, value)
        self._renew_settings()

    def edit_setting(self, key: str) -> None:
        """Show a live setting on its screen; for the palette."""
        self.controller.editor.choose(key)
        if isinstance(self.screen, EditScreen):
            self.screen.show_chosen()
        else:
            self.action_edit()

    def show_metric(self, key: str) -> None:
        """Go to the chart of a metric; for the palette."""
        while len(self.screen_stack) > 1:
            self.pop_screen()
        self.main.show_metric(key)

    def _renew_settings(self) -> None:
        self.main.renew()
        if isinstance(self.screen, RunScreen):
            self.screen.renew()

    # ── Screens ─────────────────────────────────────────────────────────────────────────────────────────────

    def _show_page(self, name: str, make: Callable[[], Screen[None]]) -> None:
        """Show the page of this name; `make` builds it the first time.

        It stays mounted when it is left: mounting and styling are most of what opening a page takes.
        """
        name = self._page_prefix + name
        if name not in self._pages:
            self._pages[name] = make()
            self.install_screen(self._pages[name], name)
        if self._pages[name] not in self.screen_stack:  # where a repeated key would put it twice
            self.push_screen(name)

    @property
    def is_visiting(self) -> bool:
        """Whether another run than this screen's own is shown."""
        return self.controller is not self._own

    def _poll_own(self) -> None:
        before = self._own.view.finished
        self._own.poll()
        if (finished := self._own.view.finished) and before is None:
            self.notify(f"this screen's run has ended: {describe(finished)}; esc goes back to it", timeout=10)

    def on_runs_screen_opened(self, message: RunsScreen.Opened) -> None:
        """Visit another run: its screen stands above this one's."""
        if self.is_visiting or self._leaving:
            message.session.close(0.0)
            return
        self._own.watch_game(False)
        self._visited += 1
        self.controller = Controller(message.session, self._clock, fps=self._own.clip_player.fps)
        self.push_screen(visit_of(self.controller, self._clock, ascii=self.look.ascii))
        message.session.start()

    def on_runs_screen_marked(self, message: RunsScreen.Marked) -> None:
        """Lay the returns of marked runs over the own one."""
        own = self.screen_stack[0]
        if isinstance(own, MainScreen):
            own.charts.lay_over(message.runs)

    def on_runs_screen_watched(self, message: RunsScreen.Watched) -> None:
        self.watch_policy(message.path)

    def on_main_screen_watched(self) -> None:
        if (started := self.controller.view.started) and started.run_dir:
            self.watch_policy(started.run_dir)

    @work(exclusive=True, group="watching")
    async def watch_policy(self, path: str) -> None:
        """Lend the terminal to ``ppo-tui watch`` for the run in this directory."""
        command = ["watch", path, "--theme", self.look.theme, *(["--ascii"] if self.look.ascii else [])]
        if problem := await self._lending.run(command, self.terminal_diff.forget):
            self.notify(f"{problem}: ppo-tui watch {shlex.quote(path)}", severity="warning", timeout=8)

    def on_main_screen_left(self) -> None:
        self._come_home()

    def _come_home(self) -> None:
        """End a visit; the screen below it is shown again."""
        if not self.is_visiting:
            return
        visited, visit = self.controller, self.main
        while self.screen_stack[-1] is not visit:
            super().pop_screen()
        super().pop_screen()
        for name in [name for name in self._pages if name.startswith(self._page_prefix)]:
            self._pages.pop(name)
            self.uninstall_screen(name)
        visited.watch_game(False)
        visited.session.close(VISIT_SECONDS)
        self.controller = self._own
        self.main.renew()
        if isinstance(self.screen, RunScreen):
            self.screen.renew()

    @property
    def _page_prefix(self) -> str:
        """The beginning of the names of a visit's own pages."""
        return f"visit-{self._visited}-" if self.is_visiting else ""

    def action_edit(self) -> None:
        self._go_to(EditScreen)

    def action_changes(self) -> None:
        self._go_to(ChangesScreen)

    def action_draft_advice(self) -> None:
        """Draft the most severe alarm's edit, and show it in the settings."""
        if self.controller.draft_advice():
            if isinstance(self.screen, EditScreen):
                self.screen.show_draft()
            else:
                self._go_to(EditScreen)

    def action_explain(self) -> None:
        if isinstance(self.screen, Explains):
            self.explain(*self.screen.topics())

    def explain(self, topics: Sequence[Topic], index: int) -> None:
        """Show the card of one of `topics`, with arrows to the others."""
        if topics and not isinstance(self.screen, CardScreen):
            self.push_screen(CardScreen(self.controller, topics, index))

    def action_checkpoints(self) -> None:
        self._go_to(CheckpointScreen)

    def action_runs(self) -> None:
        if self.is_visiting:  # it lies below
            self._come_home()
        else:
            self._go_to(RunsScreen, ascii=self.look.ascii)

    def action_microscope(self) -> None:
        self._go_to(MicroscopeScreen, ascii=self.look.ascii)

    def on_main_screen_chart_zoomed(self) -> None:
        self._show_page("chart", lambda: ChartScreen(self.controller, self.main.charts))

    def on_main_screen_explained(self, message: MainScreen.Explained) -> None:
        self.explain(message.topics, message.index)

    def on_main_screen_settings_zoomed(self) -> None:
        self.action_edit()

    def _go_to(self, kind: type[RunScreen], **options: bool) -> None:
        """Show a screen above the main one; its own key leaves it.

        It takes the place of any other screen there.
        """
        was = type(self.screen)
        self.pop_screen()
        if was is not kind:
            self._show_page(kind.__name__, lambda: kind(self.controller, **options))

    def pop_screen(self) -> AwaitComplete:
        """Leave the topmost screen, but never a main one."""
        return AwaitComplete.nothing() if isinstance(self.screen, MainScreen) else super().pop_screen()

    def action_traceback(self) -> None:
        if finished := self.controller.view.finished:
            title = one_line(finished.reason) or "Traceback"
            self.push_screen(TextScreen(title, Content(finished.details), at_end=True))

    def action_help(self) -> None:
        self._show_page("help", lambda: HelpScreen(self.user_keys, ascii=self.look.ascii))

    def action_command_palette(self) -> None:
        if not isinstance(self.screen, Palette):
            self.push_screen(Palette(placeholder="a command, or `lr 1e-4`"))

    def search_themes(self) -> None:
        self.push_screen(Palette(providers=[ThemeProvider], placeholder="Search for themes…"))

    def get_system_commands(self, screen: Screen[object]) -> Iterator[SystemCommand]:
        for command in super().get_system_commands(screen):
            if command.title in _KEPT_SYSTEM_COMMANDS:
                yield command

    # ── Leaving ─────────────────────────────────────────────────────────────────────────────────────────────

    async def action_quit(self) -> None:
        """Ask how to leave.

        A run that has ended, or that this screen cannot stop, is left at once. A visit of another run only ends.
        """
        if self.is_visiting:
            self._come_home()
            return
        session = self.controller.session
        if finished := self.controller.view.finished:
            self._end(Departure.ENDED, finished.exit_code)
        elif not (session.owns_run or session.can_steer):
            self._end(Departure.ENDED, 0)
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
        if self.is_visiting:
            self._come_home()
        elif self._leaving or isinstance(self.screen, LeaveDialog):
            if not self.controller.session.owns_run:
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
        if self.is_visiting:
            self._come_home()
            return
        session = self.controller.session
        if not session.owns_run:
            self._end(Departure.DETACHED, 0)
        elif session.can_detach and self.controller.view.finished is None and not self._leaving:
            self.handing_over = True
            self._leave(Stop(reason="handed over to a process in the background"), SAVE_SECONDS)

    def terminate(self, name: str, exit_code: int) -> None:
        """SIGTERM or SIGINT: save and leave; the second time, leave at once.

        A run elsewhere is left at once too.
        """
        self._come_home()
        again = self._leaving is not None and self._leaving.exit_code == exit_code
        if again or not self.controller.session.owns_run:
            self._end(Departure.ENDED, exit_code)
        else:
            self._leave(Stop(exit_code=exit_code, reason=f"terminated ({name})", by=name), SIGTERM_SECONDS)

    def hang_up(self) -> None:
        """SIGHUP: give up the screen; the run goes on."""
        self._end(Departure.HUNG_UP, 129)

    def _end(self, departure: Departure, exit_code: int) -> None:
        self._come_home()
        self._lending.end()
        if departure in (Departure.ENDED, Departure.DETACHED):
            self.controller.watch_updates(False)  # a run that waits between two minibatches is not kept waiting
        self.departure = departure
        self.exit(return_code=exit_code)

    @property
    def patience(self) -> float:
        """Seconds left to the engine for its end after the screen's."""
        return max(1.0, self._leaving.deadline - self._clock()) if self._leaving else STOP_SECONDS

    def _leave(self, command: Stop, seconds: float) -> None:
        self.controller.stop(command)
        # A run that does not stop in time has failed, unless the command names its exit code.
        self._leaving = Leaving(self._clock() + seconds, command.exit_code or RunFailedError.exit_code)

    def _leave_when_due(self) -> None:
        finished = self.controller.view.finished
        if self._leaving is None:
            # A signal that came before the screen stood was taken by the run alone.
            if finished and finished.by in _SIGNALS and self.controller.session.owns_run:
                self._end(Departure.ENDED, finished.exit_code)
            return
        if finished:
            detached = self.handing_over and finished.state is RunState.STOPPED
            self._end(Departure.DETACHED if detached else Departure.ENDED, finished.exit_code)
        elif self._clock() >= self._leaving.deadline:
            self._end(Departure.ENDED, self._leaving.exit_code)
