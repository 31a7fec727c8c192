"""The evaluation process: ``python -m ppo_tui.training.evaluation.process REQUEST``.

It uses one core at the lowest priority, and ends when its stdin is closed, as it is when the training process ends in
whatever way.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import msgspec

from ...errors import PPOTuiError

LOWEST_PRIORITY = 19

SIGN_SECONDS = 1.0
"""Time between two signs of life."""

SELECTION_SEED = 0x73656C65
"""Keeps these episodes apart from those of ``ppo-tui eval``, whose score of the chosen policy stays unbiased."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A checkpoint to evaluate; `greedy` is as for `ppo_tui.training.evaluation.evaluate.evaluate`."""

    checkpoint: str
    episodes: int
    greedy: bool | None
    max_steps: int


def main() -> int:
    """Print the `Evaluation` as JSON, and return the exit code.

    An error is printed on stderr instead. Empty lines before are signs of life.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # meant for the training, which then closes stdin
        signal.signal(number, signal.SIG_IGN)
    os.nice(LOWEST_PRIORITY)
    threading.Thread(target=_leave_with_the_training, daemon=True).start()
    request = msgspec.json.decode(sys.argv[1], type=Request)
    alive = _SignsOfLife()
    alive.give()
    from .evaluate import evaluate

    alive.give()

    try:
        evaluation = evaluate(
            Path(request.checkpoint),
            episodes=request.episodes,
            seed=SELECTION_SEED,
            greedy=request.greedy,
            device="cpu",
            cores=1,
            max_steps=request.max_steps,
            on_progress=lambda done, mean, steps: alive.give(),
            allow_import=True,  # which the training itself was allowed
        )
    except PPOTuiError as error:
        print(error.message, file=sys.stderr)
        return error.exit_code
    sys.stdout.buffer.write(msgspec.json.encode(evaluation))
    return 0


class _SignsOfLife:
    """Empty lines on stdout, one a second at most."""

    def __init__(self) -> None:
        self._due = 0.0

    def give(self) -> None:
        """Print a line, if the last was long enough ago."""
        if (now := time.monotonic()) >= self._due:
            self._due = now + SIGN_SECONDS
            sys.stdout.buffer.write(b"\n")
            sys.stdout.buffer.flush()


def _leave_with_the_training() -> None:
    os.read(0, 1)  # not by sys.stdin, whose lock this thread would hold when the interpreter ends
    os._exit(0)  # the workers notice that this process is gone


if __name__ == "__main__":
    sys.exit(main())
