"""Putting a run together: its directory, its workers, the engine, and a front end to it."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from .config import Config
from .envs import EnvInfo
from .protocol import Command, Event, Stop
from .runs import RunDirectory
from .training import boot_workers, examine, start_pool
from .workers import WorkerPool

if TYPE_CHECKING:
    from .training import Trainer
    from .training.hub import Sink
    from .tui.look import Look

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
    env_info = examine(config)
    directory = RunDirectory.create(config, label=label, name=name, path=run_dir)
    boot_workers(config)
    if screen:
        from .tui import terminal  # noqa: F401
    pool = start_pool(config, info=env_info, log_path=directory.workers_log, wait=False)
    return PreparedRun(config, directory, env_info, pool)


def run_headless(prepared: PreparedRun) -> int:
    """Train with a progress bar on a terminal, or lines elsewhere, and return the exit code."""
    from .sinks.console import console_sink

    sink = console_sink()
    try:
        trainer = prepared.trainer([sink])
        with _signals_to(trainer.send):
            return trainer.run().exit_code
    finally:
        sink.close()
        prepared.pool.close()


def run_with_screen(prepared: PreparedRun, look: Look | None = None, keymap: Mapping[str, str] | None = None) -> int:
    """Train behind the Textual screen and return the exit code. The workers run already (DESIGN, traps).

    Args:
        look: theme and characters of the screen.
        keymap: the user's own keys, as `tui.keymap.load_keymap` gives them.
    """
    from .sinks import describe
    from .tui.session import LocalSession
    from .tui.terminal import run_screen

    session = LocalSession(lambda emit: prepared.trainer([_Emitter(emit)]))
    try:
        exit_code = run_screen(session, look, keymap)
    finally:
        prepared.pool.close()
    if session.finished is not None:
        print(f"{prepared.directory.name}: {describe(session.finished)}")
    print(f"everything about the run is in {prepared.directory.path}")
    return exit_code


class _Emitter:
    """A sink out of a function."""

    def __init__(self, emit: Callable[[Event], None]) -> None:
        self.emit = emit


@contextlib.contextmanager
def _signals_to(send: Callable[[Command], None]) -> Iterator[None]:
    """Turn SIGINT and SIGTERM into a stop with a checkpoint; a second one soon after leaves at once."""
    first_at = -SECOND_SIGNAL_SECONDS

    def handle(number: int, _frame: FrameType | None) -> None:
        nonlocal first_at
        code = 128 + number
        if time.monotonic() - first_at < SECOND_SIGNAL_SECONDS:
            # The workers notice by themselves that this process is gone.
            os._exit(code)
        first_at = time.monotonic()
        name = signal.Signals(number).name
        print(f"{name}: saving and stopping; once more to leave at once", file=sys.stderr, flush=True)
        send(Stop(save=True, exit_code=code, reason=f"stopped by {name}", by=name))

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
