"""The log of a run, with the warnings of the program."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator

from ..boundary import threads_logged
from ..text import printable
from .directory import RunDirectory
from .entries import LOG_FILE


class _PrintableFormatter(logging.Formatter):
    """A format for a log without control characters."""

    def format(self, record: logging.LogRecord) -> str:
        """Format as usual, with control characters replaced."""
        return printable(super().format(record), lines=True)


@contextlib.contextmanager
def open_log(directory: RunDirectory) -> Iterator[int]:
    """Hold ``run.log`` open for appending.

    When the terminal is lost, the directory may have been moved.
    """
    descriptor = directory.append_to(LOG_FILE)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def logging_to(log: int) -> Iterator[None]:
    """Copy the program's warnings into the run's log, to outlive the terminal.

    The log also gets the tracebacks of threads and finalizers, those of libraries included.
    """
    stream = os.fdopen(os.dup(log), "a", encoding="utf-8", errors="backslashreplace")
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_PrintableFormatter("%(asctime)s  %(levelname)s: %(message)s", "%Y-%m-%d %H:%M:%S"))
    logger = logging.getLogger(__name__.partition(".")[0])
    logger.addHandler(handler)
    try:
        with threads_logged():
            yield
    finally:
        logger.removeHandler(handler)
        handler.close()
        with contextlib.suppress(OSError):  # a full disk
            stream.close()
