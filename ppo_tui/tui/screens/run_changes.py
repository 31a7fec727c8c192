"""Stop, resume and delete runs from their list, after a question."""

from __future__ import annotations

import functools
import shlex
import threading
from collections.abc import Callable

from textual.screen import Screen

from ...errors import PPOTuiError
from ...runs import RunSummary
from ...runs.registry import PAUSED
from ...text import one_line
from .. import run_actions
from .dialogs import ConfirmDialog


class RunChanges:
    """Changes of runs by their list, in threads.

    Args:
        screen: that of the list; it asks, and reports each outcome.
        changed: called on it after each change, as the run may have changed meanwhile.
    """

    def __init__(self, screen: Screen[None], changed: Callable[[], None]) -> None:
        self._screen = screen
        self._changed = changed

    def stop(self, run: RunSummary) -> None:
        if not run.under_way:
            self._notify(f"{one_line(run.name)} is not running: {run.state}")
            return
        also = " It is paused." if run.state == PAUSED else ""
        also += f" Its sweep {one_line(run.sweep)} goes on with the next trial." if run.sweep else ""
        self._ask(
            f"Stop {one_line(run.name)}?",
            f"It saves a checkpoint at step {run.step:,} or soon after, and ends; R resumes it from there.{also}",
            "Stop",
            functools.partial(self._begin, run_actions.stop, run),
        )

    def resume(self, run: RunSummary) -> None:
        if run.under_way:
            self._notify(f"{one_line(run.name)} is running already")
            return
        if run.state == "finished" and run.total_steps and run.step >= run.total_steps:
            name = one_line(run.name)
            command = f"ppo-tui resume {shlex.quote(name)} --total-steps {2 * run.total_steps}"
            self._notify(f"{name} has done all of its {run.total_steps:,} steps; to extend it: {command}")
            return
        self._notify(f"resuming {one_line(run.name)} in the background …")
        self._begin(run_actions.resume, run)

    def delete(self, run: RunSummary) -> None:
        if run.under_way:
            self._notify(f"{one_line(run.name)} is running: X stops it first")
            return
        self._screen.run_worker(functools.partial(self._weigh, run), group="weighing", exclusive=True, thread=True)

    def _weigh(self, run: RunSummary) -> None:
        try:
            loss = run_actions.loss_of(run.path)
        except (OSError, PPOTuiError) as error:
            self._report(str(error), wrong=True)
            return
        question = f"Delete {one_line(run.name)} for good?"
        begin = functools.partial(self._begin, run_actions.delete, run)
        self._screen.call_later(self._ask, question, f"Lost are {loss}, and its record.", "Delete", begin)

    def _ask(self, question: str, text: str, yes: str, begin: Callable[[], object]) -> None:
        def answered(agreed: bool | None) -> None:
            if agreed:
                begin()

        self._screen.app.push_screen(ConfirmDialog(question, text, yes), answered)

    def _begin(self, act: Callable[[str], str], run: RunSummary) -> None:
        """Act on a run in a thread, without delaying the exit."""
        threading.Thread(target=self._act, args=(act, run), name="acting", daemon=True).start()

    def _act(self, act: Callable[[str], str], run: RunSummary) -> None:
        try:
            self._report(one_line(act(run.path)))
        except (OSError, PPOTuiError) as error:
            self._report(str(error), wrong=True)
        self._screen.call_later(self._changed)

    def _notify(self, text: str) -> None:
        self._screen.app.notify(text, timeout=4)

    def _report(self, text: str, *, wrong: bool = False) -> None:
        severity = "warning" if wrong else "information"
        self._screen.call_later(functools.partial(self._screen.notify, text, severity=severity, timeout=6))
