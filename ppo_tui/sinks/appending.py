"""A file that lines are appended to, and that outlasts a full disk."""

from __future__ import annotations

import os
from pathlib import Path

MAX_BACKLOG_BYTES = 64 * 1024 * 1024
"""What is kept in memory while the disk takes nothing."""


class AppendedFile:
    """Hands each line to the system as soon as it is written; what the disk refuses is kept, and goes first next time.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._backlog = b""

    def write(self, lines: bytes) -> None:
        """Append `lines`.

        Raises:
            OSError: the disk does not take them now. They are kept, unless there are too many.
        """
        if len(self._backlog) + len(lines) <= MAX_BACKLOG_BYTES:
            self._backlog += lines
        while self._backlog:
            self._backlog = self._backlog[os.write(self._descriptor, self._backlog) :]

    def close(self) -> None:
        """Close the file; a second time does nothing, as the number may be another file's by then."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
