"""Putting a run together: its directory, its workers, the engine, and a front end to it."""

from __future__ import annotations

import contextlib
import logging
import os
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from .config import Config
from .envs import EnvInfo
from .errors import PPOTuiError
from .protocol import Command, Stop
from .runs import RunDirectory
from .runs.background import start_process
from .runs.hangup import ignore_hangups, let_go_of_terminal, writes_to
from .runs.server import ControlServer
from .sinks import describe
from .training import boot_workers, examine, start_pool
from .training.relay import CommandRelay
from .workers import WorkerPool

if TYPE_CHECKING:
    from .training import Trainer
    from .training.hub import Sink
    from .tui.session import LocalSession

_log = logging.getLogger(__name__)

SPIN_COUNT = "10000"
"""How long PyTorch's threads (GNU OpenMP's) spin for work before they sleep. By default they do for milliseconds, which
costs a fifth of the training speed as soon as another process wants the core; this little costs nothing."""

SECOND_SIGNAL_SECONDS = 2.0
"""A second signal within this time of the first leaves at once, without a checkpoint."""


@dataclass(frozen=True)
class PreparedRun:
    """Everything of a run that is there before PyTorch is loaded: its directory and its workers."""

    config: Config
    directory: RunDirectory
    env_info: EnvInfo
    pool: WorkerPool

    def trainer(self, sinks: Sequence[Sink]) -> Trainer:
        """The engine, which loads PyTorch; it records itself in the run directory and tells `sinks`."""
        from .sinks import EventLog
        from .training import Trainer

        try:
            return Trainer(
                self.config,
                sinks=[EventLog(self.directory), *sinks],
                name=self.directory.name,
                run_dir=self.directory.path,
                checkpoint_dir=self.directory.checkpoints,
                pool=self.pool,
                env_info=self.env_info,
            )
        except BaseException as error:
            self.directory.update(status="failed", reason=str(error), ended=time.time())
            raise


def prepare(config: Config, *, label: str, name: str | None, run_dir: Path | None, screen: bool = False) -> PreparedRun:
    """Check the configuration against the world, make the run directory and start the workers, in this order.

    The workers need not be ready when this returns: they make their environments while the engine loads PyTorch.

    Args:
        screen: load the screen too, while the workers' server loads what they need.

    Raises:
        UsageError: nothing was started; the message says why.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)  # read once, when PyTorch is loaded
    ignore_hangups()
    env_info = examine(config)
    directory = RunDirectory.create(config, label=label, name=name, path=run_dir)
    boot_workers(config)
    if screen:
        from .tui import terminal  # noqa: F401
    pool = start_pool(config, info=env_info, log_path=directory.workers_log, wait=False)
    return PreparedRun(config, directory, env_info, pool)


def run_headless(prepared: PreparedRun) -> int:
    """Train with a progress bar on a terminal, or lines elsewhere, and return the exit code.

    A run whose stdout is its own ``run.log`` prints nothing: the log has it all already.
    """
    from .sinks.console import console_sink

    sink = None if writes_to(prepared.directory.log) else console_sink()
    relay = CommandRelay()
    try:
        with (
            _signals_to(relay.send, prepared.directory.log),
            _logging_to(prepared.directory.log),
            _served(prepared.directory, relay.send) as server,
        ):
            trainer = prepared.trainer([server, *([sink] if sink else [])])
            relay.connect(trainer)
            return trainer.run().exit_code
    finally:
        if sink:
            sink.close()
        prepared.pool.close()


def run_with_screen(prepared: PreparedRun) -> int:
    """Train behind the Textual screen and return the exit code. The workers run already (DESIGN, traps)."""
    from .training.hub import FunctionSink
    from .tui.app import Departure
    from .tui.session import LocalSession
    from .tui.terminal import run_screen

    run = prepared.directory
    relay = CommandRelay()
    with _logging_to(run.log), _served(run, relay.send) as server:
        session = LocalSession(lambda emit: prepared.trainer([server, FunctionSink(emit)]), can_detach=True)
        relay.connect(session)
        try:
            outcome = run_screen(session)
            if outcome.departure is Departure.HUNG_UP:
                return _go_on_without_screen(session, run)
        finally:
            prepared.pool.close()
    if outcome.departure is Departure.DETACHED:
        return hand_over(run)
    if session.finished is not None:
        print(f"{run.name}: {describe(session.finished)}")
    print(f"everything about the run is in {run.path}")
    return outcome.exit_code


def _go_on_without_screen(session: LocalSession, run: RunDirectory) -> int:
    """The terminal is gone: train on in this process, which its socket still reaches."""
    let_go_of_terminal(run.log)
    _log.warning("the terminal went away; the run goes on: ppo-tui attach %s", run.path)
    with _signals_to(session.send, run.log):
        session.start()  # which the screen may not have come to
        session.wait()
    return session.exit_code or 0


def hand_over(run: RunDirectory) -> int:
    """Go on with a run that this process has stopped and saved, in a process in the background.

    Raises:
        UsageError, RunFailedError: it could not go on; the message says why. Its checkpoint stands.
    """
    run.release()
    try:
        pid = start_process(run, ["resume", str(run.path), "--headless"])
    except PPOTuiError as error:
        message = f"{run.name} is saved, but did not go on in the background: {error}"
        raise type(error)(message, hint=f"try it here: ppo-tui resume {shlex.quote(run.name)}") from None
    print(f"{run.name} goes on in the background (pid {pid}); see it again: ppo-tui attach {shlex.quote(run.name)}")
    return 0


def attach(run: RunDirectory, *, readonly: bool = False, take_control: bool = False) -> int:
    """Show a run of another process on the screen and return the exit code.

    Raises:
        UsageError: the run is not running.
    """
    from .tui.app import Departure
    from .tui.session import AttachedSession
    from .tui.terminal import run_screen

    outcome = run_screen(AttachedSession(run, readonly=readonly, take_control=take_control))
    if outcome.departure is Departure.DETACHED:
        print(f"{run.name} goes on; see it again: ppo-tui attach {shlex.quote(run.name)}")
    return outcome.exit_code


def replay(run: RunDirectory, *, speed: float | None = None) -> int:
    """Play the record of a run on the screen and return the exit code.

    Raises:
        UsageError: it has no record.
    """
    from .tui.session import ReplaySession
    from .tui.terminal import run_screen

    run_screen(ReplaySession(run.events, speed=speed))
    return 0


@contextlib.contextmanager
def _served(run: RunDirectory, send: Callable[[Command], None]) -> Iterator[ControlServer]:
    """The control socket of `run`, open as long as the context is."""
    server = ControlServer(run, send)
    server.start()
    try:
        yield server
    finally:
        server.close()


@contextlib.contextmanager
def _logging_to(path: Path) -> Iterator[None]:
    """Let the program's own warnings go into the run's log too, where they outlive the terminal."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s  %(levelname)s: %(message)s", "%Y-%m-%d %H:%M:%S"))
    logger = logging.getLogger(__package__)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        handler.close()


@contextlib.contextmanager
def _signals_to(send: Callable[[Command], None], log: Path) -> Iterator[None]:
    """Turn SIGINT and SIGTERM into a stop with a checkpoint; a second one soon after leaves at once.

    SIGHUP means that the terminal is gone: the run lets go of it and goes on.
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
            print(f"{name}: saving and stopping; once more to leave at once", file=sys.stderr, flush=True)
        send(Stop(save=True, exit_code=code, reason=f"stopped by {name}", by=name))

    handlers = {signal.SIGINT: stop, signal.SIGTERM: stop, signal.SIGHUP: lambda *_: let_go_of_terminal(log)}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
