"""Evaluations in a separate process while a run trains.

One policy is evaluated at a time.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import msgspec

from ...errors import RunFailedError
from ...protocol import Alarm, CheckpointSaved, Evaluated, Level
from ...system.processes import CoreWaits, family, own_command
from ..hub import RunContext
from .evaluate import Evaluation
from .process import Request

SLACK_SECONDS = 60.0
"""Time without a sign of life, beyond the timeouts of its workers, that ends an evaluation."""

LOOK_SECONDS = 1.0
"""Least time between two looks at an evaluation's silence."""

WAIT_SECONDS = 0.1
"""How long the training waits for an evaluation between two checks for commands."""


class EvaluationFailed(RunFailedError):
    """An evaluation without a score.

    The details are the process's output on stderr.
    """

    def __init__(self, reason: str, details: str) -> None:
        super().__init__(reason)
        self.details = details


@dataclass(eq=False)
class Job:
    """An evaluation under way.

    Attributes:
        lifeline: the descriptor whose closing ends the process.
        errors: the process's stderr.
        outcome: the evaluation, or an `EvaluationFailed`; cancelled if it is not wanted any more.
        heard_at: time of the last sign of life, later by what the evaluation has waited for a core since.
        checked_at: time of the last look for one.
        core_waits: those of its processes.
        silence: seconds without one that ended the process, or None.
    """

    saved: CheckpointSaved
    process: subprocess.Popen[bytes]
    lifeline: int
    errors: IO[bytes]
    outcome: Future[Evaluation] = field(default_factory=Future)
    heard_at: float = field(default_factory=time.monotonic)
    checked_at: float = field(default_factory=time.monotonic)
    core_waits: CoreWaits = field(default_factory=CoreWaits)
    silence: float | None = None

    def await_process(self) -> None:
        """Wait for the process to end, and settle `outcome`.

        Runs in a thread of its own.
        """
        assert self.process.stdout is not None, "it is a pipe"
        output = b""
        with self.process.stdout as lines, self.errors:
            for line in lines:
                self.heard_at = time.monotonic()
                output = line
            self.process.wait()
            os.close(self.lifeline)
            self.errors.seek(0)
            details = self.errors.read().decode("utf-8", "replace")
        if not self.outcome.set_running_or_notify_cancel():
            return
        try:
            self.outcome.set_result(msgspec.json.decode(output, type=Evaluation))
        except msgspec.DecodeError:
            self.outcome.set_exception(EvaluationFailed(self._reason(details), details))

    def _reason(self, details: str) -> str:
        """The reason for an end without a result."""
        if self.silence is not None:
            return f"no sign of life for {self.silence:.0f} s"
        lines = details.strip().splitlines()
        return lines[-1] if lines else f"exit code {self.process.returncode}"

    def end_if_silent(self, seconds: float) -> None:
        """End the process after so long without a sign of life.

        What it waits for a core does not count: the training may leave it none for long.
        """
        now = time.monotonic()
        elapsed = now - self.checked_at
        if elapsed < LOOK_SECONDS:
            return
        self.checked_at = now
        if elapsed > seconds:  # this process has slept, and the other perhaps, too
            self.heard_at = now
        elif now - self.heard_at > LOOK_SECONDS:
            waits = [self.core_waits.within(pid, elapsed) for pid in family(self.process.pid)]
            self.heard_at = min(now, self.heard_at + max(waits, default=0.0))
        if self.silence is None and now - self.heard_at > seconds:
            self.silence = seconds
            self.process.kill()

    def cancel(self) -> None:
        """End the process; the outcome is not wanted any more."""
        self.outcome.cancel()
        self.process.kill()
        self.process.wait()


class BackgroundEvaluation:
    """Evaluations of a running training's policies, at regular intervals.

    Every so many steps another process lets the policy play whole episodes, from a checkpoint on the disk: no number of
    the training depends on them. At most one evaluation is under way; one that falls due meanwhile is left out, with a
    message. All methods belong to the training thread.
    """

    def __init__(self, context: RunContext) -> None:
        config = context.config
        self._context = context
        self._every, self._episodes = config.eval.every, config.eval.episodes
        self._greedy = None if config.eval.greedy == "auto" else config.eval.greedy
        self._max_steps = config.eval.max_steps
        self._patience = config.workers.start_timeout + config.workers.step_timeout + SLACK_SECONDS
        self._last_step = config.planned_steps
        self._next = self._every
        self._turn: int | None = None
        """Step of the policy to evaluate, from the decision to save it until its score is there."""
        self._reported_turn: int | None = None
        self._job: Job | None = None
        self._waiter: threading.Thread | None = None

    @property
    def active(self) -> bool:
        return self._every > 0

    @property
    def turn(self) -> int | None:
        """The step of the policy under evaluation, or about to be."""
        return self._turn

    def take_turn(self, step: int) -> None:
        """Announce the evaluation of a policy about to be saved."""
        if self.active:
            self._turn = step

    @property
    def checkpoint(self) -> Path | None:
        """The checkpoint under evaluation, not to be deleted, or None."""
        return Path(self._job.saved.path) if self._job else None

    @property
    def step(self) -> int | None:
        """The step of the policy under evaluation, or None."""
        return self._job.saved.step if self._job else None

    def stand_at(self, step: int) -> None:
        """Continue from `step`.

        A policy of later steps, of another branch, is not evaluated any more.
        """
        if self._turn is not None and self._turn > step:
            self.cancel()
        if self.active:
            self._next = (step // self._every + 1) * self._every

    def due(self, step: int) -> bool:
        """Whether to save and evaluate the policy of this step.

        A message is published if it is due and has to be left out.

        The policy of the last step is not due: it is evaluated after the training.
        """
        if self._job:
            self._job.end_if_silent(self._patience)
        if not self.active or not self._next <= step < self._last_step:
            return False
        self._next = (step // self._every + 1) * self._every
        if self._turn is None:
            self._turn = step
            return True
        if self._reported_turn != self._turn:  # once for each evaluation that takes too long
            self._reported_turn = self._turn
            message = (
                f"step {step:,} is not evaluated while step {self._turn:,} still is: raise eval.every or "
                "lower eval.episodes"
            )
            self._context.publish(Alarm(level=Level.INFO, message=message))
        return False

    def start(self, saved: CheckpointSaved) -> Job | None:
        """Begin to evaluate this checkpoint.

        Returns None, after an alarm, if the process cannot start.
        """
        request = Request(
            checkpoint=saved.path, episodes=self._episodes, greedy=self._greedy, max_steps=self._max_steps
        )
        stdin, lifeline = os.pipe()
        errors = tempfile.TemporaryFile()  # noqa: SIM115 - the job closes it
        try:
            process = subprocess.Popen(
                own_command("ppo_tui.training.evaluation.process", msgspec.json.encode(request).decode()),
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                # Ctrl+C is not for it. A session of its own would give it a share of the processor equal to that of
                # this one, whatever its priority, where the kernel schedules by sessions.
                process_group=0,
            )
        except OSError as error:
            os.close(lifeline)
            errors.close()
            self._turn = None
            self._context.publish(failure_alarm(saved, error.strerror or str(error)))
            return None
        finally:
            os.close(stdin)
        job = Job(saved, process, lifeline, errors)
        self._turn, self._job = saved.step, job
        self._waiter = threading.Thread(target=job.await_process, name="evaluation", daemon=True)
        self._waiter.start()
        return job

    def is_wanted(self, job: Job) -> bool:
        """Whether `job` was not cancelled."""
        return job is self._job

    def done(self) -> None:
        """Forget the job after its outcome was taken.

        Its checkpoint may be deleted then.
        """
        self._job = self._turn = None

    def cancel_turn(self) -> None:
        """Give up the evaluation of a policy not saved."""
        if self._job is None:
            self._turn = None

    def wait(self) -> None:
        """Wait for the evaluation under way, for up to `WAIT_SECONDS`."""
        if self._waiter is not None and self._job is not None:
            self._job.end_if_silent(self._patience)
            self._waiter.join(WAIT_SECONDS)

    def cancel(self) -> None:
        """End the evaluation under way, and forget the next.

        Nothing is published about them.
        """
        job, self._job, self._turn = self._job, None, None
        if job is not None:
            job.cancel()


def evaluated_event(saved: CheckpointSaved, evaluation: Evaluation, *, best: bool) -> Evaluated:
    """The event for the score of a checkpoint.

    Args:
        best: whether it is the highest score so far.
    """
    low, high = evaluation.score.interval or (None, None)
    metrics = {
        "eval/total_timesteps": saved.step,
        "eval/ep_rew_mean": evaluation.score.mean,
        "eval/ep_rew_std": evaluation.score.std,
        "eval/ep_rew_low": low,
        "eval/ep_rew_high": high,
        "eval/ep_len_mean": evaluation.length.mean,
        "eval/episodes": evaluation.episodes,
        "eval/limited_episodes": evaluation.limited,
        **{f"eval/env/end/{name}": summary.mean for name, summary in evaluation.numbers.items()},
    }
    return Evaluated(
        path=saved.path,
        step=saved.step,
        update=saved.update,
        metrics=metrics,
        best=best,
        seconds=evaluation.seconds,
    )


def failure_alarm(saved: CheckpointSaved, reason: str, details: str = "") -> Alarm:
    """The alarm for an evaluation without a score."""
    message = f"the evaluation of step {saved.step:,} failed: {reason}; the training continues"
    return Alarm(level=Level.WARNING, message=message, details=details)
