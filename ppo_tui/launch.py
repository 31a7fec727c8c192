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
from typing import TYPE_CHECKING, Any

from .config import Config, build_config, imports_code, read_preset, refuse_command, refuse_import
from .distributed.torchrun import Place
from .envs import EnvInfo
from .errors import PPOTuiError, UsageError
from .protocol import Command, Event, RunState, StateChanged, Stop
from .runs import RUNS_DIR, RunDirectory
from .runs.background import start_process
from .runs.hangup import ignore_hangups, leave_terminal, sighup_when_terminal_closes, writes_to
from .runs.history import past_events, set_aside_after
from .runs.server import ControlServer
from .sinks import describe
from .sinks.tracker import check_tracking, tracking_sinks
from .training import boot_workers, engine_class, examine, share_of_config, start_pool
from .training.checkpoint.files import list_checkpoints
from .training.checkpoint.resume import ResumePoint, changed_settings
from .training.controls import CommandRelay
from .workers import WorkerPool

if TYPE_CHECKING:
    from .distributed.ranks import Ranks
    from .sinks.console import LineOptions
    from .training import Trainer
    from .training.hub import Sink
    from .tui.screen_options import ScreenOptions
    from .tui.session import LocalSession


_log = logging.getLogger(__name__)

SPIN_COUNT = "10000"
"""How long PyTorch's threads (GNU OpenMP's) spin for work before they sleep. By default they do for milliseconds, which
costs a fifth of the training speed as soon as another process wants the core; this little costs nothing."""

SECOND_SIGNAL_SECONDS = 2.0
"""A second signal within this time of the first leaves at once, without a checkpoint."""


@dataclass(frozen=True)
class PreparedRun:
    """Everything of a run that is there before PyTorch is loaded: its directory and its workers.

    Attributes:
        pool: None where the workers learn themselves, which the engine starts.
        ranks: the processes that train the run together; None for this one alone.
    """

    config: Config
    directory: RunDirectory
    env_info: EnvInfo
    pool: WorkerPool | None
    resume: ResumePoint | None = None
    notes: tuple[str, ...] = ()
    ranks: Ranks | None = None

    def trainer(self, sinks: Sequence[Sink], *, attended: bool = False) -> Trainer:
        """The engine, which loads PyTorch; it records itself in the run directory and tells `sinks`.

        Args:
            attended: see `Trainer`.
        """
        from .sinks import EventLog
        from .sinks.notifier import notifying_sinks

        beside = [*tracking_sinks(self.config, self.directory), *notifying_sinks(self.config, self.directory)]
        try:
            return engine_class(self.config)(
                self.config,
                sinks=[EventLog(self.directory), *beside, *sinks],
                name=self.directory.name,
                run_dir=self.directory.path,
                checkpoint_dir=self.directory.checkpoints,
                pool=self.pool,
                env_info=self.env_info,
                resume_from=self.resume.path if self.resume else None,
                notes=self.notes,
                attended=attended,
                **({"ranks": self.ranks} if self.ranks else {}),
            )
        except BaseException as error:
            self.directory.update(status="failed", reason=str(error), ended=time.time())
            raise

    def close(self) -> None:
        """End the workers."""
        if self.pool is not None:
            self.pool.close()


def prepare(config: Config, *, label: str, name: str | None, run_dir: Path | None, screen: bool = False) -> PreparedRun:
    """Check the configuration against the world, make the run directory and start the workers, in this order.

    The workers need not be ready when this returns: they make their environments while the engine loads PyTorch.

    Args:
        screen: load the screen too, while the workers' server loads what they need.

    Raises:
        UsageError: nothing was started; the message says why.
    """
    ignore_hangups()
    check_tracking(config)
    env_info = examine(config)
    share = _own_share(config)
    directory = RunDirectory.create(config, label=label, name=name, path=run_dir)
    return PreparedRun(config, directory, env_info, _start_workers(share, env_info, directory, screen))


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
    ignore_hangups()
    try:
        directory.acquire()
    except OSError as error:
        raise UsageError(f"the run directory {directory.path} cannot be written: {error.strerror}") from None
    try:
        return _prepare_resume(directory, overrides, force=force, allow_import=allow_import, screen=screen)
    except BaseException:
        directory.release()
        raise


def _prepare_resume(
    directory: RunDirectory, overrides: Sequence[str], *, force: bool, allow_import: bool, screen: bool
) -> PreparedRun:
    point = ResumePoint.newest(directory.checkpoints)
    if not force:
        point.check_code()
    tables = _config_to_resume(directory, point, force=force)
    if not allow_import:
        refuse_import(tables, f"{directory.name}'s config.toml")
        refuse_command(tables, f"{directory.name}'s config.toml")
    config = point.config(tables, overrides)
    check_tracking(config)
    env_info = examine(config)
    share = _own_share(config)
    abandoned = set_aside_after(directory, point.state.seconds)
    directory.reopen(config)
    notes = [f"passed over: {problem}" for problem in point.skipped]
    if abandoned:
        notes.append(
            f"{abandoned} updates after the checkpoint at step {point.state.step:,} are trained anew; "
            "what was recorded of them is in metrics.abandoned.jsonl and events.abandoned.jsonl"
        )
    pool = _start_workers(share, env_info, directory, screen)
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


def _own_share(config: Config) -> Config:
    """What of `config` this process hosts, where torchrun has started several."""
    place = Place.here()
    return share_of_config(config, place.size, place.local_size)


def _start_workers(config: Config, env_info: EnvInfo, directory: RunDirectory, screen: bool) -> WorkerPool | None:
    os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)  # read once, when PyTorch is loaded
    boot_workers(config)
    if screen:
        from .tui import terminal  # noqa: F401
    if config.run.algorithm == "a3c":
        return None
    return start_pool(config, info=env_info, log_path=directory.workers_log, wait=False)


def run_headless(prepared: PreparedRun, lines: LineOptions | None = None) -> int:
    """Train with a progress bar on a terminal, or lines elsewhere, and return the exit code.

    A run whose stdout is its own ``run.log`` prints nothing: the log has it all already.
    """
    from .sinks.console import console_sink

    sink = None if writes_to(prepared.directory.log) else console_sink(lines=lines)
    relay = CommandRelay()
    try:
        with (
            signals_to(relay.send, prepared.directory.log),
            _logging_to(prepared.directory.log),
            _served(prepared.directory, relay.send) as server,
        ):
            trainer = prepared.trainer([server, *([sink] if sink else [])])
            relay.connect(trainer)
            return trainer.run().exit_code
    finally:
        if sink:
            sink.close()
        prepared.close()


def run_with_screen(prepared: PreparedRun, options: ScreenOptions | None = None) -> int:
    """Train behind the Textual screen and return the exit code. The workers run already (DESIGN, traps)."""
    from .training.hub import FunctionSink
    from .tui.app import Departure
    from .tui.session import LocalSession
    from .tui.terminal import run_screen

    run = prepared.directory
    relay = CommandRelay()
    with _logging_to(run.log), _served(run, relay.send) as server:

        def make_engine(emit: Callable[[Event], None]) -> Trainer:
            if prepared.resume:
                for event in past_events(run):
                    emit(event)
                emit(StateChanged(state=RunState.STARTING, reason="resuming"))
            return prepared.trainer([server, FunctionSink(emit)], attended=True)

        session = LocalSession(make_engine, can_detach=True)
        relay.connect(session)
        try:
            outcome = run_screen(session, options)
            if outcome.departure is Departure.HUNG_UP:
                return _go_on_without_screen(session, run)
        finally:
            prepared.close()
    if outcome.departure is Departure.DETACHED:
        return hand_over(run, allow_import=imports_code(prepared.config))
    if session.finished is not None:
        print(f"{run.name}: {describe(session.finished)}")
    print(f"everything about the run is in {run.path}")
    return outcome.exit_code


def _go_on_without_screen(session: LocalSession, run: RunDirectory) -> int:
    """The terminal is gone: train on in this process, which its socket still reaches."""
    leave_terminal(run.log)
    _log.warning("the terminal went away; the run goes on: ppo-tui attach %s", run.path)
    with signals_to(session.send, run.log):
        session.start()  # which the screen may not have come to
        session.wait()
    return session.exit_code or 0


def hand_over(run: RunDirectory, *, allow_import: bool) -> int:
    """Go on with a run that this process has stopped and saved, in a process in the background.

    Args:
        allow_import: the run's configuration names code, which this process was allowed to import or to run.

    Raises:
        UsageError, RunFailedError: it could not go on; the message says why. Its checkpoint stands.
    """
    run.release()
    try:
        arguments = ["resume", str(run.path), "--headless", *(["--allow-import"] if allow_import else [])]
        pid = start_process(run, arguments)
    except PPOTuiError as error:
        message = f"{run.name} is saved, but did not go on in the background: {error}"
        raise type(error)(message, hint=f"try it here: ppo-tui resume {shlex.quote(run.name)}") from None
    print(f"{run.name} goes on in the background (pid {pid}); see it again: ppo-tui attach {shlex.quote(run.name)}")
    return 0


def attach(
    run: RunDirectory, options: ScreenOptions | None = None, *, readonly: bool = False, take_control: bool = False
) -> int:
    """Show a run of another process on the screen and return the exit code.

    Raises:
        UsageError: the run is not running.
    """
    from .tui.app import Departure
    from .tui.session import AttachedSession
    from .tui.terminal import run_screen

    outcome = run_screen(AttachedSession(run, readonly=readonly, take_control=take_control), options)
    if outcome.departure is Departure.DETACHED:
        print(f"{run.name} goes on; see it again: ppo-tui attach {shlex.quote(run.name)}")
    return outcome.exit_code


def replay(run: RunDirectory, options: ScreenOptions | None = None, *, speed: float | None = None) -> int:
    """Play the record of a run on the screen and return the exit code.

    Raises:
        UsageError: it has no record.
    """
    from .tui.session import ReplaySession
    from .tui.terminal import run_screen

    run_screen(ReplaySession(run.events, speed=speed), options)
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
def signals_to(send: Callable[[Command], None], log: Path) -> Iterator[None]:
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

    handlers = {signal.SIGINT: stop, signal.SIGTERM: stop, signal.SIGHUP: lambda *_: leave_terminal(log)}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        with sighup_when_terminal_closes():
            yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def prepare_or_resume(
    config: Config,
    *,
    overrides: Sequence[str],
    label: str,
    name: str | None,
    run_dir: Path | None,
    allow_import: bool,
    screen: bool = False,
) -> PreparedRun | None:
    """Begin the run, or go on with it where its directory has a checkpoint; None where all its steps are done.

    A run that ended before its first checkpoint begins anew; what was recorded of it is put aside.

    Args:
        overrides: settings of the command line, which a run that goes on takes too.

    Raises:
        UsageError: neither `name` nor `run_dir` says which run it is; or as `prepare` and `prepare_resume` do.
        RunFailedError: there are checkpoints, and none of them is whole.
    """
    if name is None and run_dir is None:
        raise UsageError("--resume auto: which run is it?", hint="add --name NAME or --run-dir DIR")
    run = RunDirectory(run_dir or RUNS_DIR / str(name))
    if run.json_path.exists():
        if _is_done(run, config):
            return None
        if any(list_checkpoints(run.checkpoints)):
            # What this command line names or allows was allowed when the run began, too.
            allow_import = allow_import or imports_code(config)
            return prepare_resume(run, overrides=overrides, allow_import=allow_import, screen=screen)
        _put_aside(run)
    return prepare(config, label=label, name=name, run_dir=run_dir, screen=screen)


def _is_done(run: RunDirectory, config: Config) -> bool:
    facts = run.read()
    total = facts.get("total_steps")
    return facts.get("status") == "finished" and isinstance(total, int) and config.planned_steps <= total


def _put_aside(run: RunDirectory) -> None:
    """Move the record of a run without checkpoints out of the way, as long as no process is at it.

    Raises:
        UsageError: one is, or the directory cannot be written.
    """
    try:
        run.acquire()
        try:
            number = 1
            while (aside := run.path / f"abandoned-{number}").exists():
                number += 1
            aside.mkdir()
            for file in (run.json_path, run.config_path, run.events, run.metrics):
                if file.exists():
                    file.rename(aside / file.name)
        finally:
            run.release()
    except OSError as error:
        raise UsageError(f"the run directory {run.path} cannot be written: {error.strerror}") from None
