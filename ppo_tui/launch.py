"""Putting a run together: its directory, its workers, the engine, and a front end to it."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from .config import Config, build_config, read_preset, refuse_import
from .envs import EnvInfo
from .errors import UsageError
from .protocol import Command, Event, RunState, StateChanged, Stop
from .runs import RunDirectory
from .runs.history import past_events, set_aside_after
from .training import boot_workers, examine, start_pool
from .training.resuming import ResumePoint, changed_settings
from .workers import WorkerPool

if TYPE_CHECKING:
    from .training import Trainer
    from .training.hub import Sink

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
    resume: ResumePoint | None = None
    notes: tuple[str, ...] = ()

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
                resume_from=self.resume.path if self.resume else None,
                notes=self.notes,
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
    env_info = examine(config)
    directory = RunDirectory.create(config, label=label, name=name, path=run_dir)
    return PreparedRun(config, directory, env_info, _start_workers(config, env_info, directory, screen))


def prepare_resume(
    directory: RunDirectory,
    *,
    overrides: Sequence[str] = (),
    force: bool = False,
    allow_import: bool = False,
    screen: bool = False,
) -> PreparedRun:
    """As `prepare`, for a run that goes on from its newest whole checkpoint.

    Args:
        overrides: settings to change, as on the command line.
        force: go on although the program or ``config.toml`` has changed since.
        allow_import: accept an environment that names a module to import.

    Raises:
        UsageError: nothing was started; the message says why.
        RunFailedError: there is no whole checkpoint.
    """
    point = ResumePoint.newest(directory.checkpoints)
    if not force:
        point.check_code()
    tables = _config_to_resume(directory, point, force=force)
    if not allow_import:
        refuse_import(tables, f"{directory.name}'s config.toml")
    config = point.config(tables, overrides)
    env_info = examine(config)
    abandoned = set_aside_after(directory, point.state.seconds)
    directory.reopen(config)
    notes = [f"passed over: {problem}" for problem in point.skipped]
    if abandoned:
        notes.append(
            f"{abandoned} updates after the checkpoint at step {point.state.step:,} are trained anew; "
            "what was recorded of them is in metrics.abandoned.jsonl and events.abandoned.jsonl"
        )
    pool = _start_workers(config, env_info, directory, screen)
    return PreparedRun(config, directory, env_info, pool, point, tuple(notes))


def _config_to_resume(directory: RunDirectory, point: ResumePoint, *, force: bool) -> dict[str, Any]:
    """The tables of ``config.toml``, which holds what the run was resumed with since its checkpoint.

    Raises:
        UsageError: somebody else has edited the file, and not `force`.
    """
    try:
        tables = read_preset(directory.config_path)
        edits = changed_settings(build_config(point.state.config), build_config(tables))
    except UsageError:
        if not force:
            raise
        return point.state.config
    if directory.config_was_edited and edits and not force:
        key, (old, new) = next(iter(edits.items()))
        raise UsageError(
            f"config.toml was edited since the checkpoint: {key} = {old!r} → {new!r}",
            hint=f"undo that and use --set {key}=…, or go on with the file as it is: --force",
        )
    return tables


def _start_workers(config: Config, env_info: EnvInfo, directory: RunDirectory, screen: bool) -> WorkerPool:
    os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)  # read once, when PyTorch is loaded
    boot_workers(config)
    if screen:
        from .tui import terminal  # noqa: F401
    return start_pool(config, info=env_info, log_path=directory.workers_log, wait=False)


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


def run_with_screen(prepared: PreparedRun) -> int:
    """Train behind the Textual screen and return the exit code. The workers run already (DESIGN, traps)."""
    from .sinks import describe
    from .tui.session import LocalSession
    from .tui.terminal import run_screen

    def make_engine(emit: Callable[[Event], None]) -> Trainer:
        if prepared.resume:
            for event in past_events(prepared.directory):
                emit(event)
            emit(StateChanged(state=RunState.STARTING, reason="resuming"))
        return prepared.trainer([_Emitter(emit)])

    session = LocalSession(make_engine)
    try:
        exit_code = run_screen(session)
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
