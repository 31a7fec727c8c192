"""Train without the screen."""

from __future__ import annotations

import gc
import sys
import time
from typing import TYPE_CHECKING

from ..protocol import RunFinished
from ..runs.hangup import writes_to
from ..runs.log import logging_to, open_log
from ..runs.server import ControlServer
from ..runs.signals import signals_to
from ..training.inbox import Forestalled, Inbox
from .prepared import LET_GO_SECONDS, PreparedRun

if TYPE_CHECKING:
    from ..sinks.console import LineOptions


def run_headless(prepared: PreparedRun, lines: LineOptions | None = None) -> int:
    """Train without the screen and return the exit code.

    It prints a progress bar on a terminal, lines elsewhere. A run whose stdout is its own ``run.log`` prints nothing:
    the log has these lines already.
    """
    from ..sinks.console import guest_stdout, print_next, stdout_sink

    inbox = Inbox(start_watched=prepared.ranks is None)
    try:
        with (
            open_log(prepared.directory) as log,
            signals_to(inbox.send, log, prepared.held),
            logging_to(log),
            guest_stdout() as stream,
            ControlServer(prepared.directory, inbox.send) as server,
        ):
            sink = None if writes_to(log) else stdout_sink(stream, prepared.directory.log, lines)
            sinks = [server, *([sink] if sink else [])]

            def leave(finished: RunFinished) -> None:
                """End the process: its first thread loads PyTorch, and cannot be interrupted."""
                try:
                    if sink:
                        sink.close()
                    server.close()
                finally:
                    prepared.leave_at_once(finished.exit_code)

            start = None if prepared.ranks else prepared.watch_start(inbox, sinks, leave)
            try:
                trainer = prepared.trainer(sinks, inbox, start=start)
                # The 300,000 objects of libraries never die; a full collection of them stops every thread for 0.15 s.
                gc.freeze()
                result = trainer.run()
            except Forestalled:
                time.sleep(LET_GO_SECONDS)  # another thread is about to end the process
                raise
            finally:
                if sink:
                    sink.close()
            if sink and not lines and sys.stdout.isatty():
                print_next(prepared.directory.argument, result.state, result.update)
            return result.exit_code
    finally:
        prepared.close()
