"""The one way out: stdout and stderr without control characters.

Whatever prints passes here: `print`, Typer, logging, warnings, tracebacks, libraries. Rich's own sequences for colours
and progress bars are the exception; `ppo_tui.console` writes them to the stream below, after cleaning the texts.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

from .text import printable

_COLOUR = re.compile(r"\x1b\[[\d;:]*m")
"""A colour of a library, such as Gymnasium's warnings have: left out whole, not shown as a torn sequence."""


class PrintableStream:
    """A text stream for text of any origin.

    It has no `buffer`, by which libraries would pass it; see `bytes_below`. Everything else is the stream's own.
    """

    def __init__(self, stream: Any) -> None:
        self.below = stream

    def write(self, text: str) -> int:
        """Write `text` with its control characters replaced."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        if not (text.isascii() and text.isprintable()):
            text = printable(_COLOUR.sub("", text).replace("\r\n", "\n"), lines=True)
        self.below.write(text)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __iter__(self) -> Iterator[str]:
        return iter(self.below)

    def __getattr__(self, name: str) -> Any:
        if name == "buffer":
            raise AttributeError(name)
        return getattr(self.below, name)


def stream_below(stream: Any) -> Any:
    """The stream itself, for a writer of clean text with colours."""
    return getattr(stream, "below", stream)


def bytes_below(stream: Any) -> BinaryIO:
    """The bytes of a text stream, for a writer of JSON.

    Those of a closed one lead nowhere.
    """
    return getattr(stream_below(stream), "buffer", None) or io.BytesIO()


@contextlib.contextmanager
def printable_streams() -> Iterator[tuple[Any, Any]]:
    """Put stdout and stderr behind a `PrintableStream` while the context lasts.

    Yields:
        The two; a closed one is None.
    """
    before = sys.stdout, sys.stderr
    guard_streams()
    try:
        yield sys.stdout, sys.stderr
    finally:
        sys.stdout, sys.stderr = before


def guard_streams() -> None:
    """Put stdout and stderr behind a `PrintableStream`, for good.

    A closed stream stays closed. A locale without – and → prints ? for them.
    """
    sys.stdout, sys.stderr = _guarded(sys.stdout), _guarded(sys.stderr)


def _guarded(stream: Any) -> Any:
    if stream is None or isinstance(stream, PrintableStream):
        return stream
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="replace")
    return PrintableStream(stream)


def flush_streams(stdout: Any, stderr: Any) -> OSError | None:
    """Flush stdout and stderr, and give up a stream beyond writing.

    Returns:
        The reason why output was lost. A reader that left, as ``| head -1`` does, is none.
    """
    lost = None
    for stream, descriptor in ((stdout, 1), (stderr, 2)):
        try:
            if stream is not None:
                stream.flush()
        except OSError as error:
            lost = lost or (None if isinstance(error, BrokenPipeError) else error)
            # What is left in its buffer would fail again, with a traceback, when the interpreter ends.
            with contextlib.suppress(OSError):
                nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
                os.dup2(nowhere, descriptor)
                os.close(nowhere)
        except ValueError:  # it has been closed
            pass
    return lost
