"""Keep what others print off the screen."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Discard warnings and all that this process writes to stdout and stderr, from Python and from C alike.

    It acts on the whole process, so no other thread should have anything to say meanwhile.
    """
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        _to_null(1),
        _to_null(2),
    ):
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _to_null(descriptor: int) -> Iterator[None]:
    """Point a file descriptor at the null device; one that is closed already needs no silencing."""
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is not None and not stream.closed:
            stream.flush()
    try:
        saved = os.dup(descriptor)
    except OSError:
        yield
        return
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, descriptor)
    os.close(null)
    try:
        yield
    finally:
        os.dup2(saved, descriptor)
        os.close(saved)
