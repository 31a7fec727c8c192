"""Learning from a rollout, told by minibatches; in a thread of its own while the next rollout is collected."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import torch

from ..ppo import Hyperparameters, Learner, RolloutBuffer
from ..protocol import Event, UpdateProgress
from .metrics import PhaseTimes

PATIENCE_SECONDS = 0.05
"""How long the training thread waits for the learner's before it looks for commands again."""


class _Abandoned(Exception):
    """Leaves an update that nobody wants any more."""


class Learning:
    """Lets a learner learn and says how far it is. All methods belong to the training thread.

    Args:
        minibatches: of each epoch.
        threads: of PyTorch, while the learner learns.
        times: is told how long was waited for it.
        check: called after every minibatch; may raise to abandon the update.
    """

    def __init__(
        self,
        learner: Learner,
        *,
        minibatches: int,
        threads: int,
        times: PhaseTimes,
        check: Callable[[], None],
        emit: Callable[[Event], None],
    ) -> None:
        self._learner, self._minibatches, self._threads, self._times = learner, minibatches, threads, times
        self._check, self._emit = check, emit
        self._stream = torch.cuda.Stream(learner.device) if learner.device.type == "cuda" else None
        self._progress: queue.SimpleQueue[UpdateProgress | None] = queue.SimpleQueue()
        self._may_go_on = threading.Event()
        self._may_go_on.set()
        self._abandoned = False
        self.under_way = False
        """Whether the learner learns in its own thread."""

    def update(self, experience: RolloutBuffer, hyper: Hyperparameters, number: int) -> dict[str, float]:
        """Learn from `experience` in the update of this number; its metrics, as `Learner.update` gives them."""

        def tell(progress: UpdateProgress) -> None:
            self._emit(progress)
            self._check()

        with self._times.phase("learn"):
            return self._learn(experience, hyper, number, tell)

    def update_during(
        self, collect: Callable[[], None], experience: RolloutBuffer, hyper: Hyperparameters, number: int
    ) -> dict[str, float]:
        """As `update`, in a thread of its own while `collect` runs in this one, which is to call `tell` often.

        What `collect` raises abandons the update.
        """
        self._abandoned, self.under_way = False, True
        if self._stream is not None:
            self._stream.wait_stream(torch.cuda.current_stream(self._learner.device))
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="learner") as executor:
            learning = executor.submit(self._learn_aside, experience, hyper, number)
            learning.add_done_callback(lambda _: self._progress.put(None))  # ends a wait for progress
            try:
                collect()
                with self._times.phase("learn"):
                    while not learning.done():
                        self.tell(wait=PATIENCE_SECONDS)
                        self._check()
                self.tell()
                return learning.result()
            except BaseException:
                self._abandon(learning)
                raise
            finally:
                self.under_way = False

    def tell(self, *, wait: float = 0.0) -> None:
        """Emit the progress of the learner's thread, after up to `wait` seconds in which there is none."""
        with contextlib.suppress(queue.Empty):
            progress = self._progress.get(block=wait > 0, timeout=wait)
            while True:
                if progress is not None:
                    self._emit(progress)
                progress = self._progress.get_nowait()

    def hold(self, paused: bool) -> None:
        """Keep the learner's thread where it is after its next minibatch, or let it go on."""
        if paused:
            self._may_go_on.clear()
        else:
            self._may_go_on.set()

    def _abandon(self, learning: Future) -> None:
        """End the learner's thread after its next minibatch, and wait for that."""
        self._abandoned = True
        self.hold(False)
        learning.exception()  # waits for the end, and nobody wants to know what else it raises
        while not self._progress.empty():
            self._progress.get()

    def _learn_aside(self, experience: RolloutBuffer, hyper: Hyperparameters, number: int) -> dict[str, float]:
        """What the learner's thread does."""
        # A thread takes over the newest number of threads when it first asks, and keeps its own from then on.
        torch.get_num_threads()

        def tell(progress: UpdateProgress) -> None:
            self._progress.put(progress)
            self._may_go_on.wait()
            if self._abandoned:
                raise _Abandoned

        # With a stream of its own the learner's kernels do not stand before those that choose actions.
        with contextlib.nullcontext() if self._stream is None else torch.cuda.stream(self._stream):
            metrics = self._learn(experience, hyper, number, tell)
            if self._stream is not None:
                self._stream.synchronize()
            return metrics

    def _learn(
        self,
        experience: RolloutBuffer,
        hyper: Hyperparameters,
        number: int,
        tell: Callable[[UpdateProgress], None],
    ) -> dict[str, float]:
        torch.set_num_threads(self._threads)

        def on_minibatch(epoch: int, minibatch: int) -> None:
            tell(
                UpdateProgress(
                    update=number,
                    epoch=epoch,
                    epochs=hyper.epochs,
                    minibatch=minibatch,
                    minibatches=self._minibatches,
                )
            )

        return self._learner.update(experience, hyper, on_minibatch=on_minibatch)
