"""Prepare a run and train it, headless or behind the screen."""

from __future__ import annotations

import contextlib
import functools
import gc
import logging
import math
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from .boundary import leave_at_once
from .config import Config, build_config, complete_older, names_outsiders, refuse_outsiders, replace_value
from .config.stopping import SOLVED
from .distributed.torchrun import Place
from .envs import EnvInfo
from .errors import PPOTuiError, RunFailedError, UsageError
from .exchange.initial import with_source, without_source
from .protocol import BY_RULE, TRANSIENT, Alarm, Command, Event, Level, RunFinished, RunState, StateChanged
from .runs import RUNS_DIR, RunDirectory
from .runs.background import start_detached, start_process
from .runs.entries import CHECKPOINTS, CONFIG_FILE, EVENTS_FILE, METRICS_FILE, holds_run
from .runs.facts import JSON_FILE
from .runs.going_back import describe_way_back, point_of
from .runs.hangup import ignore_hangups, leave_terminal, writes_to
from .runs.history import past_events, rebuilt_facts, set_aside_after
from .runs.log import logging_to, open_log
from .runs.registry import LATEST
from .runs.server import ControlServer
from .runs.signals import HeldSignals, signals_to
from .sinks import describe, describe_next
from .sinks.tracker import check_tracking, tracking_sinks
from .text import printable
from .training import boot_workers, examine, share_of_config, start_pool
from .training.checkpoint.files import list_checkpoints
from .training.checkpoint.resume import ResumePoint, changed_settings
from .training.checkpoint.source import Source
from .training.controls import Forestalled, Inbox
from .training.hub import SinkBehind
from .training.milestones import find_reference
from .training.stopping import settle_stop
from .workers import WorkerPool
from .workers.process import remove_temporary_files

if TYPE_CHECKING:
    from .distributed.ranks import Ranks
    from .sinks import EventLog
    from .sinks.console import LineOptions
    from .sinks.starting import StartWatch
    from .training import Trainer
    from .training.hub import Sink
    from .tui.private_textual import Failure
    from .tui.screen_options import ScreenOptions
    from .tui.session import LocalSession


_log = logging.getLogger(__name__)

SPIN_COUNT = "10000"
"""Spins of PyTorch's threads (GNU OpenMP) before they sleep. By default they spin for milliseconds, which costs a fifth
of the training speed as soon as another process wants the core; this few cost nothing."""


LET_GO_SECONDS = 120.0
"""Time for the thread of an engine that was stopped early to notice it: it may be loading PyTorch."""


@dataclass(frozen=True)
class TrainRequest:
    """A run as the command line asks for it.

    Attributes:
        config: the preset with the overrides.
        label: name of the preset, after which a run without a name is called.
        overrides: settings of the command line alone, which a resumed run takes too.
        allow_import: a resumed run may name outside parties: code, a command, an address.
        resume: continue the run of this name or in this directory, if there is one.
        screen: load the screen too, while the workers' server loads what they need.
    """

    config: Config
    label: str
    overrides: tuple[str, ...] = ()
    name: str | None = None
    run_dir: Path | None = None
    allow_import: bool = False
    resume: bool = False
    screen: bool = False


@dataclass(frozen=True)
class PreparedRun:
    """A run before PyTorch is loaded: its directory and its workers.

    Attributes:
        pool: None where the workers learn themselves, which the engine starts.
        source: of its first weights; None for fresh ones, and for a run that continues.
        ranks: the processes that train the run together; None for this one alone.
        held: signals that have come while the run was prepared.
    """

    config: Config
    directory: RunDirectory
    env_info: EnvInfo
    pool: WorkerPool | None
    resume: ResumePoint | None = None
    source: Source | None = None
    notes: tuple[str, ...] = ()
    ranks: Ranks | None = None
    held: HeldSignals | None = None

    @functools.cached_property
    def record(self) -> EventLog:
        """The record of the run, opened when it is first asked for.

        Raises:
            OSError: the directory cannot be written.
        """
        from .sinks import EventLog

        return EventLog(self.directory)

    @property
    def _seconds(self) -> float:
        """Seconds of training before this process."""
        return self.resume.seconds if self.resume else 0.0

    def watch_start(
        self, inbox: Inbox, sinks: Sequence[Sink], then: Callable[[RunFinished], None] | None = None
    ) -> StartWatch:
        """Begin to watch for an early stop; see `StartWatch`."""
        from .sinks.starting import StartWatch

        state = self.resume.state if self.resume else None
        at = {"step": state.step, "update": state.update, "elapsed": self._seconds} if state else {}
        watch = StartWatch(inbox, [_Recorder(self), *sinks], workers=self.pool, then=then, **at)
        watch.start()
        return watch

    def trainer(
        self, sinks: Sequence[Sink], inbox: Inbox, *, attended: bool = False, start: StartWatch | None = None
    ) -> Trainer:
        """Load PyTorch and make the engine.

        Args:
            sinks: receive its events, besides the run directory and what the configuration asks for.
            inbox: of its commands.
            attended: see `Trainer`.
            start: is told what is being done.

        Raises:
            Forestalled: the run was stopped meanwhile, and its end is recorded.
        """
        from .sinks.notifier import notifying_sinks
        from .training.trainer import Trainer

        inbox.check_start()
        if start:
            start.doing = "reading the checkpoint" if self.resume else "making the networks"
        guests = [*tracking_sinks(self.config, self.directory), *notifying_sinks(self.config, self.directory)]
        notes, reference = self.notes, None
        try:
            reference = find_reference(str(self.directory.read().get("preset")), self.config)
        except (OSError, PPOTuiError) as error:
            notes = (*notes, f"the run has no reference: {error}")
        try:
            trainer = Trainer(
                self.config,
                sinks=[self.record, *guests, *sinks],
                name=self.directory.name,
                run_dir=self.directory.path,
                workers_log=self.directory.workers_log,
                checkpoint_dir=self.directory.held / CHECKPOINTS,
                pool=self.pool,
                env_info=self.env_info,
                resume_from=self.resume.checkpoint if self.resume else None,
                abandoned=self.resume.abandoned if self.resume else None,
                init_from=self.source,
                inbox=inbox,
                notes=notes,
                attended=attended,
                reference=reference,
                **({"ranks": self.ranks} if self.ranks else {}),
            )
            self._record(trainer)
        except BaseException as error:
            self._record_failure(error)
            raise (_unwritable(self.directory, error) if isinstance(error, OSError) else error) from None
        self.directory.watch(lambda message: trainer.publish_soon(Alarm(level=Level.ERROR, message=message)))
        if start:
            start.doing = "restoring the environments" if self.resume else "starting the first episodes"
        return trainer

    def _record_failure(self, error: BaseException) -> None:
        """Record the failure of the start, unless the run was stopped."""
        state = self.resume.state if self.resume else None
        with contextlib.suppress(OSError, SinkBehind):
            self.record.emit(
                RunFinished(
                    time=time.time(),
                    elapsed=self._seconds,
                    state=RunState.FAILED,
                    exit_code=getattr(error, "exit_code", RunFailedError.exit_code),
                    reason=str(error),
                    step=state.step if state else 0,
                    update=state.update if state else 0,
                )
            )

    def _record(self, trainer: Trainer) -> None:
        """Write the configuration with the decisions of the trainer.

        Raises:
            OSError: the directory cannot be written; the trainer is closed.
        """
        if trainer.config == self.config:
            return
        try:
            self.directory.write_config(trainer.config)
        except OSError:
            trainer.close()
            raise

    def close(self, *, at_once: bool = False) -> None:
        """End the workers, and the watch on the directory.

        Args:
            at_once: kill the workers.
        """
        self.directory.stop_watching()
        if self.pool is not None:
            self.pool.close(terminate=at_once)
        if self.held:
            self.held.release()


class _Recorder:
    """A sink of a run's record, opened with the first durable event."""

    def __init__(self, prepared: PreparedRun) -> None:
        self._prepared = prepared

    def emit(self, event: Event) -> None:
        if not isinstance(event, TRANSIENT):
            with contextlib.suppress(OSError):
                self._prepared.record.emit(event)


# ── Preparing ───────────────────────────────────────────────────────────────────────────────────────────────


def prepare(request: TrainRequest, *, again: bool = False) -> PreparedRun:
    """Check the configuration, make the run directory and start the workers.

    The workers need not be ready when this returns: they make their environments while the engine loads PyTorch.

    Args:
        again: see `RunDirectory.create`.

    Raises:
        UsageError: nothing was started; the message says why.
    """
    ignore_hangups()
    config = request.config
    check_tracking(config)
    _boot_workers(config, request.screen)
    env_info = examine(config)
    config = settle_stop(config, env_info)
    config, source, notes = with_source(config)
    share = _own_share(config)
    held, directory = HeldSignals(), None
    try:
        directory = RunDirectory.create(
            config, label=request.label, name=request.name, path=request.run_dir, again=again
        )
        pool = _start_workers(share, env_info, directory)
        return PreparedRun(config, directory, env_info, pool, source=source, notes=notes, held=held)
    except BaseException as error:
        if directory is not None:
            with contextlib.suppress(OSError):
                directory.update(status="failed", reason=str(error), ended=time.time())
        held.release()
        raise


def prepare_or_resume(request: TrainRequest) -> PreparedRun | None:
    """Prepare the run, or with `request.resume` continue it.

    A resumed run continues from its newest checkpoint, and needs the source of its first weights no more. One that
    ended before the first starts over; its record is set aside.

    Returns:
        None if all steps of the run are done, or it has ended by these stop rules.

    Raises:
        UsageError: to resume, neither a name nor a directory is given; or as `prepare` and `prepare_resume` do.
        RunFailedError: there are checkpoints, and all of them are damaged.
    """
    if not request.resume:
        return prepare(request)
    if request.name is None and request.run_dir is None:
        raise UsageError("--resume auto: which run is it?", hint="add --name NAME or --run-dir DIR")
    directory = RunDirectory(request.run_dir or RUNS_DIR / str(request.name))
    if holds_run(directory.path):
        if _is_done(directory, request.config):
            return None
        with directory.opened() as held:
            begun = any(list_checkpoints(held / CHECKPOINTS))
        if begun:
            return prepare_resume(
                directory,
                overrides=without_source(request.overrides),
                allow_import=request.allow_import,
                screen=request.screen,
            )
        _set_aside(directory)
        return prepare(request, again=True)
    return prepare(request)


def _is_done(directory: RunDirectory, config: Config) -> bool:
    facts = directory.read()
    total = facts.get("total_steps")
    if facts.get("status") != "finished" or not isinstance(total, int) or config.planned_steps > total:
        return False
    return facts.get("stopped_by") != BY_RULE or _has_rules_of(directory, config)


def _has_rules_of(directory: RunDirectory, config: Config) -> bool:
    """Whether the run in `directory` has the stop rules of `config`."""
    try:
        stop = build_config(directory.read_config()).stop
    except (OSError, UsageError):
        return True
    return config.stop == stop or (config.stop.at == SOLVED and replace_value(config, "stop.at", stop.at).stop == stop)


def _set_aside(directory: RunDirectory) -> None:
    """Move the record of a run without checkpoints into a subdirectory.

    Raises:
        UsageError: a process still uses the directory, or it cannot be written.
    """
    try:
        directory.acquire()
        try:
            held, number = directory.held, 1
            while held.stat(f"abandoned-{number}"):
                number += 1
            with held.subdirectory(f"abandoned-{number}", make=True) as aside:
                for name in (JSON_FILE, CONFIG_FILE, EVENTS_FILE, METRICS_FILE):
                    if held.stat(name):
                        os.rename(name, name, src_dir_fd=held.descriptor, dst_dir_fd=aside.descriptor)
        finally:
            directory.release()
    except OSError as error:
        raise _unwritable(directory, error) from None


def prepare_resume(
    directory: RunDirectory,
    *,
    checkpoint: str = LATEST,
    overrides: Sequence[str] = (),
    force: bool = False,
    allow_import: bool = False,
    screen: bool = False,
) -> PreparedRun:
    """Prepare to continue a run from its newest whole checkpoint, or another.

    Args:
        checkpoint: as for `checkpoint_of`; what came after it becomes an abandoned branch.
        overrides: settings to change, as on the command line.
        force: continue although the program or ``config.toml`` has changed since.
        allow_import: accept outside parties named by the run: code, a command, an address.
        screen: load the screen too, while the workers' server loads what they need.

    Raises:
        UsageError: nothing was started; the message says why.
        RunFailedError: there is no whole checkpoint.
    """
    ignore_hangups()
    try:
        directory.acquire()
    except OSError as error:
        raise _unwritable(directory, error) from None
    try:
        point = point_of(directory, checkpoint)
        return _prepare_resume(directory, point, overrides, force=force, allow_import=allow_import, screen=screen)
    except BaseException:
        directory.release()
        raise


def _prepare_resume(
    directory: RunDirectory,
    point: ResumePoint,
    overrides: Sequence[str],
    *,
    force: bool,
    allow_import: bool,
    screen: bool,
) -> PreparedRun:
    if not force:
        point.check_code()
    notes = [f"skipped: {problem}" for problem in point.skipped]
    tables, source = _config_to_resume(directory, point, notes, force=force)
    if not allow_import:
        refuse_outsiders(tables, source, overrides=overrides)
    config = point.config(tables, overrides)
    check_tracking(config)
    _boot_workers(config, screen)
    env_info = examine(config)
    config = settle_stop(config, env_info)
    point.refuse_reached(config)
    share = _own_share(config)
    evaluating = point.state.evaluating if config.eval.every else None
    held = HeldSignals()
    try:
        _reopen(directory, config, point, notes, evaluating)
        pool = _start_workers(share, env_info, directory)
    except BaseException:
        held.release()
        raise
    return PreparedRun(config, directory, env_info, pool, point, notes=tuple(notes), held=held)


def _reopen(
    directory: RunDirectory, config: Config, point: ResumePoint, notes: list[str], evaluating: int | None
) -> None:
    """Cut the record back to the checkpoint; mark the run as starting.

    Args:
        notes: get a word about what was cut or rebuilt.
    """
    if point.abandoned:
        # The branch stays in the record; only a line cut short by a crash leaves it.
        set_aside_after(directory, math.inf)
        notes.append(describe_way_back(point))
        abandoned = 0
    else:
        abandoned = set_aside_after(directory, point.state.seconds, evaluating=evaluating)
    if problem := directory.facts().problem:
        notes.append(f"{problem}; it was rebuilt from what lies around it")
        directory.reopen(config, **rebuilt_facts(directory))
    else:
        directory.reopen(config)
    if abandoned:
        notes.append(
            f"{abandoned} updates after the checkpoint at step {point.state.step:,} are trained again; "
            "their record is in metrics.abandoned.jsonl and events.abandoned.jsonl"
        )


def _config_to_resume(
    directory: RunDirectory, point: ResumePoint, notes: list[str], *, force: bool
) -> tuple[dict[str, Any], str]:
    """Read ``config.toml``: it has the settings of resumes since the checkpoint.

    A file that is missing, empty or no TOML at all is damaged: the checkpoint has the settings, too.

    Args:
        notes: get a word about a damaged file.

    Returns:
        The settings, and the file that they come from, in words.

    Raises:
        UsageError: someone has edited the file, and not `force`.
    """
    from_checkpoint = point.state.config, f"{directory.name}'s checkpoint {point.path.name}"
    try:
        tables = complete_older(directory.read_config())
    except (OSError, UsageError) as error:
        notes.append(f"{error}; the settings are those of the checkpoint")
        return from_checkpoint
    try:
        edits = changed_settings(build_config(point.state.config), build_config(tables))
    except UsageError:
        if not force:
            raise
        return from_checkpoint
    if directory.config_was_edited and edits and not force:
        key, (old, new) = next(iter(edits.items()))
        raise UsageError(
            f"config.toml was edited since the checkpoint: {key} = {old!r} → {new!r}",
            hint=f"undo the edit and use --set {key}=…, or continue with the file as it is: --force",
        )
    return tables, f"{directory.name}'s config.toml"


def _unwritable(directory: RunDirectory, error: OSError) -> UsageError:
    return UsageError(f"the run directory {directory.path} cannot be written: {error.strerror}")


def _own_share(config: Config) -> Config:
    """Reduce `config` to the environments of this process among torchrun's."""
    place = Place.here()
    return share_of_config(config, place.size, place.local_size)


def _boot_workers(config: Config, screen: bool) -> None:
    """Start the workers' fork server.

    It loads what they need while this process continues.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)  # read once, when PyTorch is loaded
    boot_workers(config)
    if screen:
        from .tui import terminal  # noqa: F401


def _start_workers(config: Config, env_info: EnvInfo, directory: RunDirectory) -> WorkerPool | None:
    if config.run.algorithm == "a3c":
        return None
    return start_pool(config, info=env_info, log_path=directory.workers_log, wait=False, luck=[0])


# ── Training ────────────────────────────────────────────────────────────────────────────────────────────────


def run_headless(prepared: PreparedRun, lines: LineOptions | None = None) -> int:
    """Train without the screen and return the exit code.

    It prints a progress bar on a terminal, lines elsewhere. A run whose stdout is its own ``run.log`` prints nothing:
    the log has these lines already.
    """
    from .sinks.console import guest_stdout, stdout_sink

    inbox = Inbox(start_watched=prepared.ranks is None)
    try:
        with (
            open_log(prepared.directory) as log,
            signals_to(inbox.send, log, prepared.held),
            logging_to(log),
            guest_stdout() as stream,
            _served(prepared.directory, inbox.send) as server,
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
                    _leave_at_once(prepared, finished.exit_code)

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
                print_next(prepared.directory, result.state, result.update)
            return result.exit_code
    finally:
        prepared.close()


def _leave_at_once(prepared: PreparedRun, exit_code: int) -> NoReturn:
    """End this process although a thread of it is loading a library.

    Python's own end would pull modules away from under that thread, and wait for it.
    """
    try:
        prepared.close(at_once=True)
        remove_temporary_files()
    finally:
        leave_at_once(exit_code)


def run_with_screen(prepared: PreparedRun, options: ScreenOptions | None = None) -> int:
    """Train behind the Textual screen and return the exit code.

    The workers have been started before: Textual redirects stderr, after which no process can be started.
    """
    from .sinks.console import guest_stdout
    from .training.hub import FunctionSink
    from .tui.session import LocalSession
    from .tui.session_app import Departure
    from .tui.terminal import run_screen

    directory = prepared.directory
    inbox = Inbox(start_watched=True)
    trainers: list[Trainer] = []  # one, once it is made
    with (
        open_log(directory) as log,
        logging_to(log),
        _served(directory, inbox.send) as server,
        signals_to(inbox.send, log, prepared.held),
    ):

        def make_engine(emit: Callable[[Event], None]) -> Trainer:
            inbox.check_start()
            if prepared.resume:
                for event in past_events(directory):
                    emit(event)
                emit(StateChanged(state=RunState.STARTING, reason="resuming"))
            trainers.append(prepared.trainer([server, FunctionSink(emit)], inbox, attended=True, start=start))
            return trainers[0]

        def publish(event: Event) -> None:
            for trainer in trainers:
                trainer.publish_soon(event)

        session = LocalSession(make_engine, inbox, can_detach=True)
        start = prepared.watch_start(inbox, [server, FunctionSink(session.emit)], session.abandon)
        try:
            outcome = run_screen(session, options)
            departure, exit_code = outcome.departure, outcome.exit_code
            if departure in (Departure.HUNG_UP, Departure.LOST):
                exit_code = _continue_without_screen(session, directory, log, outcome.failure, publish)
                stopped = session.finished is not None and session.finished.state is RunState.STOPPED
                if outcome.handing_over and stopped:
                    departure = Departure.DETACHED
            if departure is Departure.DETACHED:
                _say("handing over …")
        finally:
            not_started = start.settle() is not None
            prepared.close(at_once=not_started)
    if departure is Departure.DETACHED:
        if not_started and not prepared.resume:
            return _start_elsewhere(prepared, session)
        left = prepared.resume is not None and prepared.resume.abandoned is not None and not_started
        checkpoint = prepared.resume.path.name if prepared.resume and left else LATEST
        return hand_over(directory, allow_import=names_outsiders(prepared.config), checkpoint=checkpoint)
    with guest_stdout():  # the terminal may be gone by now
        if session.finished is not None:
            print(printable(f"{directory.name}: {describe(session.finished)}", lines=True))
        if outcome.failure:
            print(printable(f"its screen failed ({outcome.failure.summary}); the traceback is in {directory.log}"))
        print(printable(f"its files are in {directory.path}"))
        if session.finished is not None:
            print_next(directory, session.finished.state, session.finished.update)
    if session.at_work:
        _leave_at_once(prepared, exit_code)
    return exit_code


def print_next(directory: RunDirectory, state: RunState, update: int) -> None:
    """Print the next commands after the end of a run."""
    if text := describe_next(directory.argument, state, update):
        print(printable(text))


def _say(text: str) -> None:
    """Print a line on stderr, if somebody can still read it."""
    with contextlib.suppress(OSError, ValueError):
        print(text, file=sys.stderr, flush=True)


def _start_elsewhere(prepared: PreparedRun, session: LocalSession) -> int:
    """Start an untrained run of this process anew in the background.

    Raises:
        RunFailedError: this process does not let go of it in time.
        UsageError: as `start_detached`.
    """
    directory, facts = prepared.directory, prepared.directory.read()
    name, label = directory.name, str(facts.get("preset") or "run")
    if not session.wait_for_engine(LET_GO_SECONDS):
        raise RunFailedError(
            f"{name} was stopped, but could not be started in the background: this process is still busy",
            hint=f"start it again with --resume auto --run-dir {shlex.quote(str(directory.path))}",
        )
    directory.discard()
    pid = start_detached(prepared.config, label=label, name=name, run_dir=directory.path).holder
    _print_handed_over(name, pid)
    return 0


def _continue_without_screen(
    session: LocalSession, directory: RunDirectory, log: int, failure: Failure | None, publish: Callable[[Event], None]
) -> int:
    """Train on in this process without its terminal or its failed screen."""
    attach = f"ppo-tui attach {shlex.quote(str(directory.path))}"
    if failure is None:
        leave_terminal(log)
        _log.warning("the terminal is gone; the run continues: %s", attach)
    else:
        _log.error("the screen failed; the run continues: %s\n%s", attach, failure.details)
        publish(
            Alarm(
                level=Level.ERROR,
                message=f"the screen failed ({failure.summary}); the run continues without it, attach shows it again",
                details=failure.details,
            )
        )
        text = printable(
            f"ppo-tui: the screen failed ({failure.summary}); the run continues here without it. The traceback is in "
            f"{directory.log}; see the run again: {attach}; Ctrl+C saves and stops it"
        )
        with contextlib.suppress(OSError, ValueError):  # the terminal may have gone with the screen
            print(text, file=sys.stderr, flush=True)
    session.start()  # the screen may have gone before it did
    session.wait()
    return session.exit_code or 0


def hand_over(directory: RunDirectory, *, allow_import: bool, checkpoint: str = LATEST) -> int:
    """Continue a stopped and saved run of this process in the background.

    Args:
        allow_import: the run's configuration names outside parties, which this process was allowed.
        checkpoint: to continue from, where this process has not begun to.

    Raises:
        UsageError, RunFailedError: it could not continue; the message says why. Its checkpoint stays.
    """
    name = directory.name
    directory.release()
    try:
        arguments = ["resume", str(directory.path), "--headless", "--checkpoint", checkpoint]
        arguments += ["--allow-import"] * allow_import
        pid = start_process(directory, arguments)
    except PPOTuiError as error:
        message = f"{name} is saved, but could not continue in the background: {error}"
        raise type(error)(message, hint=f"try it here: ppo-tui resume {shlex.quote(name)}") from None
    _print_handed_over(name, pid)
    return 0


def _print_handed_over(name: str, pid: int | None) -> None:
    print(f"{name} continues in the background (pid {pid}); see it again: ppo-tui attach {shlex.quote(name)}")


@contextlib.contextmanager
def _served(directory: RunDirectory, send: Callable[[Command], None]) -> Iterator[ControlServer]:
    """Open the control socket of a run while the context lasts."""
    server = ControlServer(directory, send)
    server.start()
    try:
        yield server
    finally:
        server.close()
