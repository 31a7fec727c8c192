"""Learning from a rollout, perhaps while the next one is collected.

Learning happens in this thread, or then in a second one.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import torch

from ..ppo import Hyperparameters, Learner, RolloutBuffer
from ..protocol import UpdateProgress
from .controls import Controls
from .hub import RunContext
from .metrics import PhaseTimes

PATIENCE_SECONDS = 0.05
"""How long the training thread waits for the learner's thread between two checks for commands."""


class _Abandoned(Exception):
    """Raised to leave an abandoned update."""


class Learning:
    """The updates of a learner, with their progress published.

    All methods belong to the training thread.

    Args:
        threads: of PyTorch, while the learner learns.
        times: counts the time in the learner, and the time of waiting for it.
    """

    def __init__(self, context: RunContext, learner: Learner, *, threads: int, times: PhaseTimes) -> None:
        self._context, self._learner, self._threads, self._times = context, learner, threads, times
        self._stream = torch.cuda.Stream(learner.device) if learner.device.type == "cuda" else None
        self._progress: queue.SimpleQueue[UpdateProgress | None] = queue.SimpleQueue()
        self._may_continue = threading.Event()
        self._may_continue.set()
        self._abandoned = False
        self.under_way = False
        """Whether the learner learns in its own thread."""

    def update(
        self, experience: RolloutBuffer, hyper: Hyperparameters, number: int, controls: Controls
    ) -> dict[str, float]:
        """Learn from `experience` in update `number`; return its metrics, as `Learner.update` does."""

        def report(progress: UpdateProgress) -> None:
            self._context.publish(progress)
            controls.check(mid_update=True)

        with self._times.phase("learn"):
            return self._learn(experience, hyper, number, report)

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
        self._abandoned, self.under_way = False, True
        if self._stream is not None:
            self._stream.wait_stream(torch.cuda.current_stream(self._learner.device))
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="learner") as executor:
            learning = executor.submit(self._learn_beside, experience, hyper, number)
            learning.add_done_callback(lambda _: self._progress.put(None))  # ends a wait for progress
            try:
                collect()
                with self._times.phase("learn"):
                    while not learning.done():
                        self.publish_progress(wait=PATIENCE_SECONDS)
                        controls.check(mid_update=True)
                self.publish_progress()
                return learning.result()
            except BaseException:
                self._abandon(learning)
                raise
            finally:
                self.under_way = False

    def publish_progress(self, *, wait: float = 0.0) -> None:
        """Publish the progress of the learner's thread.

        Waits up to `wait` seconds for some.
        """
        with contextlib.suppress(queue.Empty):
            progress = self._progress.get(block=wait > 0, timeout=wait)
            while True:
                if progress is not None:
                    self._context.publish(progress)
                progress = self._progress.get_nowait()

    def pause(self, paused: bool) -> None:
        """Pause the learner's thread after its next minibatch, or let it continue."""
        if paused:
            self._may_continue.clear()
        else:
            self._may_continue.set()

    def _abandon(self, learning: Future) -> None:
        """End the learner's thread after its next minibatch, and wait."""
        self._abandoned = True
        self.pause(False)
        learning.exception()  # waits for the end; an error does not matter any more
        while not self._progress.empty():
            self._progress.get()

    def _learn_beside(self, experience: RolloutBuffer, hyper: Hyperparameters, number: int) -> dict[str, float]:
        """Learn in the learner's thread."""
        # A thread takes over the newest number of threads when it first asks, and keeps its own from then on.
        torch.get_num_threads()

        def report(progress: UpdateProgress) -> None:
            self._progress.put(progress)
            self._may_continue.wait()
            if self._abandoned:
                raise _Abandoned

        # On a stream of their own the learner's kernels do not delay those that choose actions.
        with contextlib.nullcontext() if self._stream is None else torch.cuda.stream(self._stream):
            metrics = self._learn(experience, hyper, number, report)
            if self._stream is not None:
                self._stream.synchronize()
            return metrics

    def _learn(
        self,
        experience: RolloutBuffer,
        hyper: Hyperparameters,
        number: int,
        report: Callable[[UpdateProgress], None],
    ) -> dict[str, float]:
        torch.set_num_threads(self._threads)
        minibatches = self._context.config.ppo.minibatches

        def on_minibatch(epoch: int, minibatch: int) -> None:
            report(
                UpdateProgress(
                    update=number, epoch=epoch, epochs=hyper.epochs, minibatch=minibatch, minibatches=minibatches
                )
            )

        return self._learner.update(experience, hyper, on_minibatch=on_minibatch)
