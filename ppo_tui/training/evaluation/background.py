"""Evaluations while a run trains: which policies play, one at a time, in a process of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ...config import Config
from ...protocol import Alarm, CheckpointSaved, Evaluated, Event, Level
from .evaluate import Evaluation
from .process import Request

WAIT_SECONDS = 0.1
"""How long the training waits for an evaluation before it looks for commands again."""


@dataclass(frozen=True, eq=False)
class _Job:
    """An evaluation that is going on.

    Attributes:
        lifeline: the descriptor whose closing ends the process.
    """

    saved: CheckpointSaved
    process: subprocess.Popen[bytes]
    lifeline: int

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


class BackgroundEvaluation:
    """Lets policies of a running training play full games, every so many steps.

    The games are played by another process from a checkpoint on the disk: no number of the training depends on them.
    At most one evaluation goes on at a time; what is due meanwhile is left out, aloud. One that fails is an alarm.
    All methods belong to the training thread.

    Args:
        emit: receives `Evaluated` and `Alarm`.
        call_soon: lets the training thread call a function soon, from any thread.
        on_score: told the mean return of a checkpoint; returns whether it is the best.
    """

    def __init__(
        self,
        config: Config,
        *,
        emit: Callable[[Event], None],
        call_soon: Callable[[Callable[[], None]], None],
        on_score: Callable[[Path, float], bool],
    ) -> None:
        self._every, self._episodes = config.eval.every, config.eval.episodes
        self._greedy = None if config.eval.greedy == "auto" else config.eval.greedy
        self._last_step = config.planned_steps
        self._emit, self._call_soon, self._on_score = emit, call_soon, on_score
        self._next = self._every
        self._turn: int | None = None  # step of the policy whose turn it is, from when it is saved
        self._told_of: int | None = None
        self._job: _Job | None = None
        self._waiter: threading.Thread | None = None

    @property
    def active(self) -> bool:
        return self._every > 0

    @property
    def checkpoint(self) -> Path | None:
        """The one that is being played, and must stay."""
        return Path(self._job.saved.path) if self._job else None

    @property
    def step(self) -> int | None:
        """That of the policy that is being evaluated."""
        return self._job.saved.step if self._job else None

    def stand_at(self, step: int) -> None:
        """The run goes on from `step`: a policy of another branch, if one is playing, no longer counts."""
        self.cancel()
        if self.active:
            self._next = (step // self._every + 1) * self._every

    def due(self, step: int) -> bool:
        """Whether the policy of this step is to be saved and evaluated; where that has to be left out, this says so.

        That of the last step is not due: it is evaluated when the training has ended.
        """
        if not self.active or not self._next <= step < self._last_step:
            return False
        self._next = (step // self._every + 1) * self._every
        if self._turn is None:
            self._turn = step
            return True
        if self._told_of != self._turn:  # once for each evaluation that takes too long
            self._told_of = self._turn
            self._emit(
                Alarm(
                    level=Level.INFO,
                    message=f"step {step:,} is not evaluated while step {self._turn:,} still is: raise eval.every or "
                    "lower eval.episodes",
                )
            )
        return False

    def start(self, saved: CheckpointSaved) -> None:
        """Begin to evaluate this checkpoint."""
        request = Request(checkpoint=saved.path, episodes=self._episodes, greedy=self._greedy)
        stdin, lifeline = os.pipe()
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", "ppo_tui.training.evaluation.process", msgspec.json.encode(request).decode()],
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                # Ctrl+C is not for it. A session of its own would give it a share of the processor equal to that of
                # this one, whatever its priority, where the kernel schedules by sessions.
                process_group=0,
            )
        except OSError as error:
            os.close(lifeline)
            self._turn = None
            self._alarm(saved, error.strerror or str(error))
            return
        finally:
            os.close(stdin)
        self._turn, self._job = saved.step, _Job(saved, process, lifeline)
        self._waiter = threading.Thread(target=self._await, args=(self._job,), name="evaluation", daemon=True)
        self._waiter.start()

    def cancel_turn(self) -> None:
        """The policy that was due could not be saved."""
        if self._job is None:
            self._turn = None

    def wait(self) -> None:
        """Return when what is being evaluated is done, or after `WAIT_SECONDS`."""
        if self._job is not None:
            self._waiter.join(WAIT_SECONDS)

    def cancel(self) -> None:
        """End what is going on or was to begin; nothing will be said of it."""
        job, self._job, self._turn = self._job, None, None
        if job is not None:
            job.end()

    def _await(self, job: _Job) -> None:
        """In a thread of its own: until the process has ended."""
        output, errors = job.process.communicate()
        os.close(job.lifeline)
        self._call_soon(lambda: self._settle(job, output, errors.decode("utf-8", "replace")))

    def _settle(self, job: _Job, output: bytes, errors: str) -> None:
        if job is not self._job:
            return
        try:
            evaluation = msgspec.json.decode(output, type=Evaluation)
        except msgspec.DecodeError:
            lines = errors.strip().splitlines()
            self._alarm(job.saved, lines[-1] if lines else f"exit code {job.process.returncode}", errors)
        else:
            self._report(job.saved, evaluation)
        self._job = self._turn = None  # from here on its checkpoint may go

    def _report(self, saved: CheckpointSaved, evaluation: Evaluation) -> None:
        best = self._on_score(Path(saved.path), evaluation.score.mean)
        low, high = evaluation.score.interval or (None, None)
        metrics = {
            "eval/total_timesteps": saved.step,
            "eval/ep_rew_mean": evaluation.score.mean,
            "eval/ep_rew_std": evaluation.score.std,
            "eval/ep_rew_low": low,
            "eval/ep_rew_high": high,
            "eval/ep_len_mean": evaluation.length.mean,
            "eval/episodes": evaluation.episodes,
        }
        seconds = evaluation.seconds
        self._emit(
            Evaluated(
                path=saved.path, step=saved.step, update=saved.update, metrics=metrics, best=best, seconds=seconds
            )
        )

    def _alarm(self, saved: CheckpointSaved, reason: str, details: str = "") -> None:
        message = f"the evaluation of step {saved.step:,} failed: {reason}; the training goes on"
        self._emit(Alarm(level=Level.WARNING, message=message, details=details))
