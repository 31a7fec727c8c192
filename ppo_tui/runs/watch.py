"""Notice the move or the removal of a run's directory."""

from __future__ import annotations

import threading
from collections.abc import Callable

from ..directories import Directory

LOOK_SECONDS = 1.0
"""Time between two looks; each is one or two calls of the system."""


class DirectoryWatch:
    """A thread to compare a held directory with its path.

    Args:
        report: called in that thread with one message for each change.
    """

    def __init__(self, directory: Directory, report: Callable[[str], None]) -> None:
        self._directory, self._report = directory, report
        self._seen = directory.locate()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="run directory", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            if message := self._look():
                self._report(message)

    def _look(self) -> str | None:
        """The change since the last look, in words."""
        before, named = self._seen, self._directory.path
        self._seen = self._directory.locate()
        if self._seen == before:
            return None
        if self._seen is not None:
            return f"the run directory was moved from {named} to {self._seen}; everything is written there from now on"
        if self._directory.removed:
            return (
                f"the run directory {named} was removed: nothing more is recorded or saved, "
                "and what the run learns is lost when it ends"
            )
        return f"the run directory {named} was moved, nobody knows where; everything is written there nevertheless"
