"""The Textual app of a run: commands, screens, visits of other runs."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from textual import events, work
from textual.await_complete import AwaitComplete
from textual.binding import Binding, BindingType
from textual.command import Provider
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Input

from ..sinks.wording import describe
from ..text import one_line
from . import keys
from .controller import Controller
from .lending import Lending
from .palette import Palette, RunCommands
from .screens.card import CardScreen
from .screens.charts import ChartScreen
from .screens.checkpoints import ChangesScreen, CheckpointScreen
from .screens.dialogs import CountDialog, TextScreen
from .screens.edit import EditScreen
from .screens.game import GameScreen
from .screens.help import HelpScreen
from .screens.main import MainScreen
from .screens.microscope import MicroscopeScreen
from .screens.replay import ReplayScreen
from .screens.run_screen import RunScreen
from .screens.visit import visit_of
from .session import ReplaySession, Session
from .session_app import Departure, SessionApp
from .topics import Explains, Topic
from .widgets.game import Game
from .widgets.mosaic import Mosaic

if TYPE_CHECKING:
    from .screens.runs import RunsScreen

_ACTIONS = {key.action.partition("(")[0] for key in keys.KEYS if keys.APP in key.contexts}
_NEED_A_LIVE_RUN = {"pause", "step", "step_many", "save", "undo", "redo"}
_STEERING = _NEED_A_LIVE_RUN | {"nudge", "type", "apply"}

VISIT_SECONDS = 1.0
"""Longest wait for the connection to a visited run to close."""


class PpoTuiApp(SessionApp):
    """A run on the screen, or another one on a visit.

    Args:
        session, options: as for `SessionApp`.

    Attributes:
        controller: of the run on the screen: this screen's own, or another one that is visited.
    """

    CSS_PATH = "app.tcss"
    TITLE = "ppo-tui"
    BINDINGS: ClassVar[list[BindingType]] = [
        *keys.bindings(keys.APP),
        Binding(keys.INTERRUPT, "interrupt", "Quit", show=False, priority=True),
    ]
    COMMANDS: ClassVar[set[type[Provider] | Callable[[], type[Provider]]]] = {RunCommands}

    def __init__(self, session: Session, **options: Any) -> None:
        super().__init__(session, **options)
        self._pages: dict[str, Screen[None]] = {}
        self._own = self.controller
        self._visited = 0  # visits so far
        self._status: tuple[object, ...] = ()
        self._lending = Lending(self)

    def get_default_screen(self) -> Screen[None]:
        session = self.controller.session
        if isinstance(session, ReplaySession):
            return ReplayScreen(self.controller, self.clock, session, ascii=self.look.ascii)
        return MainScreen(self.controller, self.clock, ascii=self.look.ascii)

    def on_key(self, event: events.Key) -> None:
        """Say why a key for steering does nothing."""
        if why := self.controller.unsteerable:
            bound = self.screen.active_bindings.get(event.key)
            if bound and not bound.enabled and bound.binding.action.partition("(")[0] in _STEERING:
                self.clear_notifications()  # once, however often it is pressed
                self.notify(why)

    @property
    def main(self) -> MainScreen:
        main = next(screen for screen in reversed(self.screen_stack) if isinstance(screen, MainScreen))
        assert isinstance(main, MainScreen), "the main screen is never popped"
        return main

    def take_news(self) -> None:
        """Take in news, the own run's while another is visited, too."""
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
        if (status := (self.controller.session.status, self.labels)) != self._status:
            self._status = status
            self.screen.refresh_bindings()
        game = self._game
        if game:
            game.renew_facts()
        self.controller.watch_game(game is not None and game.to_be_seen)
        self.controller.watch_updates(any(isinstance(screen, MicroscopeScreen) for screen in self.screen_stack))
        self.leave_when_due()

    def play(self) -> None:
        if game := self._game:
            game.play()

    @property
    def _game(self) -> Game | Mosaic | None:
        """The game of the topmost screen."""
        screen = self.screen if self.screen_stack else None
        return screen.game if isinstance(screen, MainScreen | GameScreen) else None

    # ── Commands ────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def actions_of_keys(self) -> set[str]:
        """The actions of all keys bound everywhere."""
        return _ACTIONS

    @property
    def labels(self) -> Mapping[str, str]:
        session = self.controller.session
        replay = isinstance(session, ReplaySession) and session.paused
        return {"pause": "Resume"} if self.controller.would_resume else {"pause_replay": "Resume"} if replay else {}

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
        while not isinstance(self.screen, MainScreen):
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
        if self.is_visiting or self.is_leaving:
            message.session.close(0.0)
            return
        self._own.watch_game(False)
        self._visited += 1
        self.controller = Controller(message.session, self.clock, fps=self._own.clip_player.fps)
        self.push_screen(visit_of(self.controller, self.clock, ascii=self.look.ascii))
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
        self.come_home()

    def come_home(self) -> bool:
        """End a visit; the screen below it is shown again."""
        if not self.is_visiting:
            return False
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
        return True

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
                self.screen.show_chosen()
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
            self.come_home()
        else:
            from .screens.runs import RunsScreen  # not at each start: with all that reads and steers runs

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
        """Leave the topmost screen, but never a main one or the lowest."""
        stays = isinstance(self.screen, MainScreen) or len(self.screen_stack) == 1
        return AwaitComplete.nothing() if stays else super().pop_screen()

    def action_traceback(self) -> None:
        if finished := self.controller.view.finished:
            title = one_line(finished.reason) or "Traceback"
            self.push_screen(TextScreen(title, Content(finished.details), at_end=True))

    def action_help(self) -> None:
        self._show_page("help", lambda: HelpScreen(self.user_keys, ascii=self.look.ascii))

    def action_command_palette(self) -> None:
        if not isinstance(self.screen, Palette):
            self.push_screen(Palette(placeholder="a command, or `lr 1e-4`"))

    def end(self, departure: Departure, exit_code: int) -> None:
        self.come_home()
        self._lending.end()
        super().end(departure, exit_code)
