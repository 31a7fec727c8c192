"""Train behind the screen, and on without it when it is gone."""

from __future__ import annotations

import contextlib
import logging
import shlex
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..config import names_outsiders
from ..protocol import Alarm, Event, Level, RunState, StateChanged
from ..runs import RunDirectory
from ..runs.hangup import leave_terminal
from ..runs.history import past_events
from ..runs.log import logging_to, open_log
from ..runs.registry import LATEST
from ..runs.server import ControlServer
from ..runs.signals import signals_to
from ..sinks import describe
from ..text import printable
from ..training.inbox import Inbox
from .hand_over import hand_over, start_elsewhere
from .prepared import PreparedRun

if TYPE_CHECKING:
    from ..training import Trainer
    from ..tui.private_textual import Failure
    from ..tui.screen_options import ScreenOptions
    from ..tui.session import LocalSession


_log = logging.getLogger(__name__)


def run_with_screen(prepared: PreparedRun, options: ScreenOptions | None = None) -> int:
    """Train behind the Textual screen and return the exit code.

    The workers have been started before: Textual redirects stderr, after which no process can be started.
    """
    from ..training.hub import FunctionSink
    from ..tui.session import LocalSession
    from ..tui.session_app import Departure
    from ..tui.terminal import run_screen

    directory = prepared.directory
    inbox = Inbox(start_watched=True)
    trainers: list[Trainer] = []  # one, once it is made
    with (
        open_log(directory) as log,
        logging_to(log),
        ControlServer(directory, inbox.send) as server,
        signals_to(inbox.send, log, prepared.held),
    ):

        def make_engine(emit: Callable[[Event], None]) -> Trainer:
            inbox.check_start()
            if prepared.resume:
                for event in past_events(directory):
                    emit(event)
                emit(StateChanged(state=RunState.STARTING, reason="resuming"))
            trainers.append(prepared.trainer([server, FunctionSink(emit)], inbox, attended=True, start=start))
            return trainers[0]

        def publish(event: Event) -> None:
            for trainer in trainers:
                trainer.publish_soon(event)

        session = LocalSession(make_engine, inbox, can_detach=True)
        start = prepared.watch_start(inbox, [server, FunctionSink(session.emit)], session.abandon)
        try:
            outcome = run_screen(session, options)
            departure, exit_code = outcome.departure, outcome.exit_code
            if departure in (Departure.HUNG_UP, Departure.LOST):
                exit_code = _continue_without_screen(session, directory, log, outcome.failure, publish)
                stopped = session.finished is not None and session.finished.state is RunState.STOPPED
                if outcome.handing_over and stopped:
                    departure = Departure.DETACHED
            if departure is Departure.DETACHED:
                _say("handing over …")
        finally:
            not_started = start.settle() is not None
            prepared.close(at_once=not_started)
    if departure is Departure.DETACHED:
        if not_started and not prepared.resume:
            return start_elsewhere(prepared, session)
        left = prepared.resume is not None and prepared.resume.abandoned is not None and not_started
        checkpoint = prepared.resume.path.name if prepared.resume and left else LATEST
        return hand_over(directory, allow_import=names_outsiders(prepared.config), checkpoint=checkpoint)
    _print_end(session, directory, outcome.failure)
    if session.at_work:
        prepared.leave_at_once(exit_code)
    return exit_code


def _print_end(session: LocalSession, directory: RunDirectory, failure: Failure | None) -> None:
    """Print the end of the run, its files, and the next commands."""
    from ..sinks.console import guest_stdout, print_next

    finished = session.finished
    with guest_stdout():  # the terminal may be gone by now
        if finished is not None:
            print(printable(f"{directory.name}: {describe(finished)}", lines=True))
        if failure:
            print(printable(f"its screen failed ({failure.summary}); the traceback is in {directory.log}"))
        print(printable(f"its files are in {directory.path}"))
        if finished is not None:
            print_next(directory.argument, finished.state, finished.update)


def _say(text: str) -> None:
    """Print a line on stderr, if somebody can still read it."""
    with contextlib.suppress(OSError, ValueError):  # the terminal may be gone, or have gone with the screen
        print(text, file=sys.stderr, flush=True)


def _continue_without_screen(
    session: LocalSession, directory: RunDirectory, log: int, failure: Failure | None, publish: Callable[[Event], None]
) -> int:
    """Train on in this process without its terminal or its failed screen."""
    attach = f"ppo-tui attach {shlex.quote(str(directory.path))}"
    if failure is None:
        leave_terminal(log)
        _log.warning("the terminal is gone; the run continues: %s", attach)
    else:
        _log.error("the screen failed; the run continues: %s\n%s", attach, failure.details)
        publish(
            Alarm(
                level=Level.ERROR,
                message=f"the screen failed ({failure.summary}); the run continues without it, attach shows it again",
                details=failure.details,
            )
        )
        text = printable(
            f"ppo-tui: the screen failed ({failure.summary}); the run continues here without it. The traceback is in "
            f"{directory.log}; see the run again: {attach}; Ctrl+C saves and stops it"
        )
        _say(text)
    session.start()  # the screen may have gone before it did
    session.wait()
    return session.exit_code or 0
