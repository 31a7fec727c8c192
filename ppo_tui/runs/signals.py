"""Signals of a run: stop with a checkpoint, or survive."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from types import FrameType

from ..protocol import Command, Stop
from .hangup import leave_terminal, sighup_when_terminal_closes

SECOND_SIGNAL_SECONDS = 2.0
"""Time after a signal within which a second one exits at once, without a checkpoint."""


@contextlib.contextmanager
def signals_to(send: Callable[[Command], None], log: int | None = None) -> Iterator[None]:
    """Turn SIGINT and SIGTERM into a stop with a checkpoint.

    A second signal within `SECOND_SIGNAL_SECONDS` exits at once. SIGHUP means that the terminal is gone: the run
    lets go of it and continues.
    """
    first_at = -SECOND_SIGNAL_SECONDS

    def stop(number: int, _frame: FrameType | None) -> None:
        nonlocal first_at
        code = 128 + number
        if time.monotonic() - first_at < SECOND_SIGNAL_SECONDS:
            # The workers notice by themselves that this process is gone.
            os._exit(code)
        first_at = time.monotonic()
        name = signal.Signals(number).name
        with contextlib.suppress(OSError):  # stderr may be a terminal that is gone
            print(f"{name}: saving and stopping; send it again to exit at once", file=sys.stderr, flush=True)
        send(Stop(save=True, exit_code=code, reason=f"stopped by {name}", by=name))

    handlers = {signal.SIGINT: stop, signal.SIGTERM: stop, signal.SIGHUP: lambda *_: leave_terminal(log)}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        with sighup_when_terminal_closes():
            yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
