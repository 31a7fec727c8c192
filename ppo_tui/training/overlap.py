"""Learning from a rollout, perhaps while the next one is collected.

Learning happens in this thread, or then in a second one.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import torch

from ..ppo import Hyperparameters, Learner, RolloutBuffer
from ..ppo.observer import Learned, Observer
from ..protocol import Alarm, Event, Level, UpdateProgress
from .controls import Controls
from .hub import RunContext
from .inspection.inspection import Inspection
from .metrics import PhaseTimes

PATIENCE_SECONDS = 0.05
"""How long the training thread waits for the learner's thread between two checks for commands."""


class _Abandoned(Exception):
    """Raised to leave an abandoned update."""


class Gate:
    """The gate between two minibatches, for the learner's thread.

    It is open, or closed by a pause, or lets a number of minibatches pass. Any thread may call any method.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._left: int | None = None
        self._paused = self._abandoned = self._waiting = False

    @property
    def spent(self) -> bool:
        """Whether the minibatches allowed are done."""
        return self._left == 0

    @property
    def waiting(self) -> bool:
        """Whether a thread waits here for more minibatches to be allowed."""
        return self._waiting and self.spent

    def allow(self, minibatches: int | None) -> None:
        """Let so many more minibatches pass; None sets no limit."""
        with self._changed:
            self._left = minibatches
            self._changed.notify_all()

    def pause(self, paused: bool) -> None:
        with self._changed:
            self._paused = paused
            self._changed.notify_all()

    def abandon(self, abandoned: bool = True) -> None:
        """Raise in every `pass_through`, or no more."""
        with self._changed:
            self._abandoned = abandoned
            self._changed.notify_all()

    def count(self) -> None:
        """Count a minibatch."""
        with self._changed:
            if self._left:
                self._left -= 1

    def pass_through(self) -> None:
        """Wait while it is closed.

        Raises:
            _Abandoned: nobody wants the update any more.
        """
        with self._changed:
            self._waiting = True
            self._changed.wait_for(lambda: self._abandoned or not (self._paused or self.spent))
            self._waiting = False
            if self._abandoned:
                raise _Abandoned


class _Watched(Observer):
    """Inspects an update while somebody looks, and reports each minibatch.

    Args:
        report: takes the events of a minibatch, and may wait or raise.

    Attributes:
        failure: of the inspection, which ends with it; None without one. The update goes on.
    """

    def __init__(
        self,
        inspection: Inspection | None,
        progress: Callable[[Learned], UpdateProgress],
        report: Callable[[list[Event]], None],
        gate: Gate,
        controls: Controls,
    ) -> None:
        self._inspection, self._progress, self._report = inspection, progress, report
        self._gate, self._controls = gate, controls
        self.failure: Exception | None = None

    @property
    def _present(self) -> Inspection | None:
        return self._inspection if self._controls.watchers.present else None

    def looking(self) -> contextlib.AbstractContextManager[None]:
        return inspection.looking() if (inspection := self._present) else super().looking()

    def learned(self, result: Learned) -> None:
        self._gate.count()
        events: list[Event] = [self._progress(result)]
        if inspection := self._present:
            try:
                inspection.learned(result)
                if self._gate.spent:
                    events.append(inspection.event(done=False))
            except Exception as error:
                self.failure, self._inspection = error, None
        self._report(events)

    def last(self) -> list[Event]:
        """The event after the update, if somebody has looked."""
        inspection = self._inspection
        return [inspection.event(done=True)] if inspection and inspection.measured else []


class Learning:
    """The updates of a learner, with their progress published.

    All methods belong to the training thread.

    Args:
        threads: of PyTorch, while the learner learns.
        times: counts the time in the learner, and the time of waiting for it.
        action_names: of the discrete actions; may be empty.
    """

    def __init__(
        self,
        context: RunContext,
        learner: Learner,
        *,
        threads: int,
        times: PhaseTimes,
        action_names: Sequence[str] = (),
    ) -> None:
        self._context, self._learner, self._threads, self._times = context, learner, threads, times
        self._action_names = tuple(action_names)
        self._stream = torch.cuda.Stream(learner.device) if learner.device.type == "cuda" else None
        self._progress: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._gate = Gate()
        self._failure_told = False
        self.under_way = False
        """Whether the learner learns in its own thread."""

    def update(
        self, experience: RolloutBuffer, hyper: Hyperparameters, number: int, controls: Controls
    ) -> dict[str, float]:
        """Learn from `experience` in update `number`; return its metrics, as `Learner.update` does."""

        def report(events: list[Event]) -> None:
            for event in events:
                self._context.publish(event)
            if self._gate.spent:
                controls.pause_between_minibatches()
            controls.check(mid_update=True)

        with self._times.phase("learn"):
            metrics, last = self._learn(experience, hyper, number, controls, report)
        for event in last:
            self._context.publish(event)
        return metrics

    def update_during(
        self,
        collect: Callable[[], None],
        experience: RolloutBuffer,
        hyper: Hyperparameters,
        number: int,
        controls: Controls,
    ) -> dict[str, float]:
        """Learn in a second thread while `collect` runs in this one.

        The other arguments and the result are those of `update`.

        `collect` has to call `publish_progress` often. An exception that it raises abandons the update.
        """
        self._gate.abandon(False)
        self.under_way = True
        if self._stream is not None:
            self._stream.wait_stream(torch.cuda.current_stream(self._learner.device))
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="learner") as executor:
            learning = executor.submit(self._learn_beside, experience, hyper, number, controls)
            learning.add_done_callback(lambda _: self._progress.put(None))  # ends a wait for progress
            try:
                collect()
                with self._times.phase("learn"):
                    while not learning.done():
                        self.publish_progress(controls, wait=PATIENCE_SECONDS)
                        controls.check(mid_update=True)
                self.publish_progress(controls)
                return learning.result()
            except BaseException:
                self._abandon(learning)
                raise
            finally:
                self.under_way = False

    def publish_progress(self, controls: Controls, *, wait: float = 0.0) -> None:
        """Publish the progress of the learner's thread.

        Waits up to `wait` seconds for some. Where the learner waits at its gate, the run pauses.
        """
        waiting = self._gate.waiting  # then all that it has to say is in the queue already
        with contextlib.suppress(queue.Empty):
            progress = self._progress.get(block=wait > 0, timeout=wait)
            while True:
                if progress is not None:
                    self._context.publish(progress)
                progress = self._progress.get_nowait()
        if waiting:
            controls.pause_between_minibatches()

    def pause(self, paused: bool) -> None:
        """Pause the learner's thread after its next minibatch, or let it continue."""
        self._gate.pause(paused)

    def allow(self, minibatches: int | None) -> None:
        """Learn from so many more minibatches, then wait; None sets no limit."""
        self._gate.allow(minibatches)

    def _abandon(self, learning: Future) -> None:
        """End the learner's thread after its next minibatch, and wait."""
        self._gate.abandon()
        learning.exception()  # waits for the end; an error does not matter any more
        while not self._progress.empty():
            self._progress.get()

    def _learn_beside(
        self, experience: RolloutBuffer, hyper: Hyperparameters, number: int, controls: Controls
    ) -> dict[str, float]:
        """Learn in the learner's thread."""
        # A thread takes over the newest number of threads when it first asks, and keeps its own from then on.
        torch.get_num_threads()

        def report(events: list[Event]) -> None:
            for event in events:
                self._progress.put(event)
            self._gate.pass_through()

        # On a stream of their own the learner's kernels do not delay those that choose actions.
        with contextlib.nullcontext() if self._stream is None else torch.cuda.stream(self._stream):
            metrics, last = self._learn(experience, hyper, number, controls, report)
            if self._stream is not None:
                self._stream.synchronize()
        for event in last:
            self._progress.put(event)
        return metrics

    def _learn(
        self,
        experience: RolloutBuffer,
        hyper: Hyperparameters,
        number: int,
        controls: Controls,
        report: Callable[[list[Event]], None],
    ) -> tuple[dict[str, float], list[Event]]:
        """The metrics of the update, and the events after it."""
        torch.set_num_threads(self._threads)
        config = self._context.config

        def progress(result: Learned) -> UpdateProgress:
            return UpdateProgress(
                update=number,
                epoch=result.epoch,
                epochs=hyper.epochs,
                minibatch=result.minibatch,
                minibatches=config.ppo.minibatches,
            )

        # The first rank measures its own samples, and all ranks learn the same.
        inspection = Inspection(
            self._learner.policy, config, hyper, experience, update=number, action_names=self._action_names
        )
        watched = _Watched(inspection if self._context.ranks.leads else None, progress, report, self._gate, controls)
        metrics = self._learner.update(experience, hyper, observer=watched)
        events = watched.last()
        if watched.failure and not self._failure_told:
            self._failure_told = True
            events.append(_failed_look(watched.failure))
        return metrics, events


def _failed_look(error: Exception) -> Alarm:
    """The alarm of a failed inspection."""
    details = "".join(traceback.format_exception(error))
    return Alarm(level=Level.WARNING, message=f"an update could not be looked at: {error}", details=details)
