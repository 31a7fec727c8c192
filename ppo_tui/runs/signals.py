"""Signals of a run: stop with a checkpoint, or survive."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from ..protocol import Command, Stop
from .hangup import leave_terminal, sighup_when_terminal_closes

SECOND_SIGNAL_SECONDS = 2.0
"""Time after a signal within which a second one exits at once, without a checkpoint."""


class HeldSignals:
    """SIGINT and SIGTERM, kept until somebody can obey them.

    A run directory says that its run is starting before the run can be stopped. In between these signals would end the
    process and leave that word behind. Outside of the main thread nothing is held.
    """

    def __init__(self) -> None:
        self._arrived: list[int] = []
        self._before: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, lambda number, _: self._arrived.append(number))

    def deliver(self) -> None:
        """Send the arrived ones again, to the present handlers."""
        while self._arrived:
            os.kill(os.getpid(), self._arrived.pop(0))

    def release(self) -> None:
        """Put the handlers of before back, and deliver; again, it does nothing."""
        if threading.current_thread() is not threading.main_thread():
            return
        before, self._before = self._before, {}
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self.deliver()


@contextlib.contextmanager
def signals_to(
    send: Callable[[Command], None], log: int | None = None, held: HeldSignals | None = None
) -> Iterator[None]:
    """Turn SIGINT and SIGTERM into a stop with a checkpoint.

    A second signal within `SECOND_SIGNAL_SECONDS` exits at once. SIGHUP means that the terminal is gone: the run
    lets go of it and continues.

    Args:
        held: signals that have come before; they count too.
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
    if held:
        held.deliver()
    try:
        with sighup_when_terminal_closes():
            yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
