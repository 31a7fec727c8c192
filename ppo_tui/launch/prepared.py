"""A prepared run: its directory and its workers, before PyTorch is loaded."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from ..boundary import leave_at_once
from ..config import Config
from ..envs import EnvInfo
from ..errors import PPOTuiError, RunFailedError, UsageError
from ..protocol import TRANSIENT, Alarm, Event, Level, RunFinished, RunState
from ..runs import RunDirectory
from ..runs.entries import CHECKPOINTS
from ..runs.signals import HeldSignals
from ..sinks.tracker import tracking_sinks
from ..training.checkpoint.resume import ResumePoint
from ..training.checkpoint.source import Source
from ..training.hub import SinkBehind
from ..training.inbox import Inbox
from ..training.milestones import find_reference
from ..workers import WorkerPool
from ..workers.process import remove_temporary_files

if TYPE_CHECKING:
    from ..distributed.ranks import Ranks
    from ..sinks import EventLog
    from ..sinks.starting import StartWatch
    from ..training import Trainer
    from ..training.hub import Sink


LET_GO_SECONDS = 120.0
"""Time for the thread of an engine that was stopped early to notice it: it may be loading PyTorch."""


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
        from ..sinks import EventLog

        return EventLog(self.directory)

    @property
    def _seconds(self) -> float:
        """Seconds of training before this process."""
        return self.resume.seconds if self.resume else 0.0

    def watch_start(
        self, inbox: Inbox, sinks: Sequence[Sink], then: Callable[[RunFinished], None] | None = None
    ) -> StartWatch:
        """Begin to watch for an early stop; see `StartWatch`."""
        from ..sinks.starting import StartWatch

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
        from ..sinks.notifier import notifying_sinks
        from ..training.trainer import Trainer

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
            raise
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
            UsageError: the directory cannot be written; the trainer is closed.
        """
        if trainer.config == self.config:
            return
        try:
            self.directory.write_config(trainer.config)
        except OSError as error:
            trainer.close()
            raise unwritable(self.directory, error) from None

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

    def leave_at_once(self, exit_code: int) -> NoReturn:
        """End this process although a thread of it is loading a library.

        Python's own end would pull modules away from under that thread, and wait for it.
        """
        try:
            self.close(at_once=True)
            remove_temporary_files()
        finally:
            leave_at_once(exit_code)


class _Recorder:
    """A sink of a run's record, opened with the first durable event."""

    def __init__(self, prepared: PreparedRun) -> None:
        self._prepared = prepared

    def emit(self, event: Event) -> None:
        if not isinstance(event, TRANSIENT):
            with contextlib.suppress(OSError):
                self._prepared.record.emit(event)


def unwritable(directory: RunDirectory, error: OSError) -> UsageError:
    """The error for a run directory without write access or space."""
    return UsageError(f"the run directory {directory.path} cannot be written: {error.strerror}")
