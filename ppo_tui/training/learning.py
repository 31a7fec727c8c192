"""Learning from one rollout, told minibatch by minibatch."""

from __future__ import annotations

from collections.abc import Callable

from ..ppo import Hyperparameters, Learner, RolloutBuffer
from ..protocol import Event, UpdateProgress
from .metrics import PhaseTimes


class Learning:
    """Lets a learner learn and says how far it is.

    Args:
        minibatches: of each epoch.
        times: is told how long it took.
        check: called after every minibatch; may raise to abandon the update.
    """

    def __init__(
        self,
        learner: Learner,
        *,
        minibatches: int,
        times: PhaseTimes,
        check: Callable[[], None],
        emit: Callable[[Event], None],
    ) -> None:
        self._learner, self._minibatches, self._times = learner, minibatches, times
        self._check, self._emit = check, emit

    def update(self, experience: RolloutBuffer, hyper: Hyperparameters, number: int) -> dict[str, float]:
        """Learn from `experience` in the update of this number; its metrics, as `Learner.update` gives them."""

        def on_minibatch(epoch: int, minibatch: int) -> None:
            self._emit(
                UpdateProgress(
                    update=number,
                    epoch=epoch,
                    epochs=hyper.epochs,
                    minibatch=minibatch,
                    minibatches=self._minibatches,
                )
            )
            self._check()

        with self._times.phase("learn"):
            return self._learner.update(experience, hyper, on_minibatch=on_minibatch)
