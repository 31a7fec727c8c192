"""The checkpoints of a running training: saving, pruning, rewinding."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec
import torch

from ...config import build_config
from ...directories import Place, is_plain, opened
from ...errors import RunFailedError, UsageError
from ...protocol import Alarm, CheckpointSaved, CommandRefused, Level, Rewound, RunResumed, RunState, StateChanged
from ..collect import CollectorState
from ..controls import Controls
from ..evaluation.background import BackgroundEvaluation, EvaluationFailed, Job, evaluated_event, failure_alarm
from ..hub import RunContext
from ..inbox import Inbox
from .files import (
    CheckpointState,
    OpenedCheckpoint,
    checkpoint_name,
    newest_checkpoint,
    read_manifest,
)
from .resume import Abandoned, differences
from .snapshot import Position, RunParts, Snapshot, of_all_envs
from .writer import CheckpointWriter

KEEP_SHARE = 0.005
"""Share of the time for keeping the weights in memory."""

MIN_BEST_EPISODES = 20
"""Finished episodes before their mean decides which policy is the best."""


class _Found(msgspec.Struct):
    """The files of a checkpoint to rewind to, or a problem."""

    path: str = ""
    files: dict[str, bytes] = {}
    problem: str | None = None


class CheckpointManager:
    """A manager of the checkpoints of a running training.

    It decides what to save, has the policy evaluated, and goes back to a checkpoint. All methods belong to the training
    thread; a `CheckpointWriter` writes in another. If several ranks train together, rank 0 decides and writes; the
    others make the same calls at the same time.

    Args:
        parts: the parts of the run that snapshots contain.
        inbox: takes the reports of the writing thread.
        directory: of the checkpoints and the links ``latest`` and ``best``; None keeps none.
        resumed: the snapshot that the run continues from, if any.
        abandoned: what the run leaves when that is not the newest.

    Raises:
        UsageError: policies are to be evaluated, and no checkpoints are kept.
    """

    def __init__(
        self,
        context: RunContext,
        parts: RunParts,
        inbox: Inbox,
        directory: Place | None,
        resumed: Snapshot | None = None,
        abandoned: Abandoned | None = None,
    ) -> None:
        config, ranks = context.config, context.ranks
        if config.eval.every and directory is None and ranks.leads:
            raise UsageError(
                f"eval.every = {config.eval.every}: evaluations need checkpoints, and this trainer keeps none",
                hint="give it a checkpoint_dir, or set eval.every to 0",
            )
        self._context, self._parts, self._inbox, self._directory = context, parts, inbox, directory
        self._keeps = ranks.agree(lambda: directory is not None, bool)
        self._evaluation = BackgroundEvaluation(context)
        self._boundary: CollectorState | None = None
        self._weights_whole = True
        self._kept: Snapshot | None = None
        self._keep_again_at = 0.0
        self._warned_about: set[int] = set()
        self._abandoned = abandoned
        self._saved: CheckpointSaved | None = None
        self._writer: CheckpointWriter | None = None
        if directory is not None:
            best = _best_before(resumed, abandoned, context)
            self._writer = CheckpointWriter(directory, config.run, inbox, self._report, best=best)

    # ── Boundaries ──────────────────────────────────────────────────────────────────────────────────────────

    def begin(self, resumed: Snapshot | None = None, path: Path | None = None) -> None:
        """Start the first episodes, or continue those of a checkpoint.

        The event for the checkpoint at `path` names the differences from the saved run. Where the run leaves a branch,
        the events of a rewind come first.
        """
        restarted = self._begin_environments(resumed)
        if resumed:
            self._evaluation.stand_at(resumed.state.step)
            found = differences(resumed.state, self._context.config, self._parts.origin)
            if self._abandoned:
                self._publish_rewound(resumed.state, str(path), restarted)
            else:
                self._make_up_evaluation(resumed.state)
            self._context.publish(
                RunResumed(
                    path=str(path),
                    step=resumed.state.step,
                    update=resumed.state.update,
                    restarted_envs=tuple(restarted),
                    exact=not (found or restarted),
                    differences=found,
                )
            )
        self._warn(restarted, "could not be restored and begin new episodes")

    def _begin_environments(self, snapshot: Snapshot | None) -> dict[int, str]:
        """Bring the environments to the start of the next rollout.

        Returns the environments that begin new episodes instead, with the reasons.
        """
        if snapshot is None or not snapshot.envs:
            self._parts.rollouts.reset()
            restarted = {}
        else:
            restarted = self._parts.rollouts.load_state(snapshot.environments(self._context.ranks))
        self.mark_boundary()
        return of_all_envs(restarted, self._context)

    def mark_boundary(self) -> None:
        """Remember the start of the next rollout.

        A snapshot that is taken within that rollout leaves it out. This costs a millisecond or two for eight Atari
        environments, and lets a run stop in the middle of a rollout at once and still resume bit for bit: the resumed
        run plays the rollout again.
        """
        self._boundary = self._parts.rollouts.save_state()
        self._weights_whole = True

    def learning_begins(self) -> None:
        """Mark the weights as changing.

        Until the next boundary they belong to none.
        """
        self._weights_whole = False

    def keep_in_memory(self, position: Position) -> None:
        """Keep the weights in memory before a rollout, at little cost.

        `KEEP_SHARE` limits how often. They are saved if the update after the rollout fails. Several ranks keep none:
        when one of them fails, the others cannot send their part any more.
        """
        began = time.monotonic()
        if self._writer and self._context.ranks.size == 1 and began >= self._keep_again_at:
            self._kept = self.take(position)
            now = time.monotonic()
            self._keep_again_at = now + (now - began) / KEEP_SHARE

    # ── Saving ──────────────────────────────────────────────────────────────────────────────────────────────

    def take(self, position: Position) -> Snapshot | None:
        """Take a snapshot of the run at the last boundary.

        Rank 0 gets it, the others None. The weights are the present ones: not to be called while the learner learns.
        """
        return Snapshot.take(self._context, self._parts, self._boundary, position, best=self._best)

    def save_if_due(self, position: Position) -> None:
        """Save if there is a reason to.

        Reasons are an evaluation that is due, the age of the last checkpoint, and a policy that is the best so far.
        """
        if self._keeps and (reason := self._context.ranks.agree(lambda: self._reason_to_save(position), str | None)):
            self.save(position, reason)

    def _reason_to_save(self, position: Position) -> str | None:
        assert self._writer is not None, "rank 0 writes where checkpoints are kept"
        return "evaluation" if self._evaluation.due(position.step) else self._writer.due(self._score)

    def save(self, position: Position, reason: str, *, wait: bool = False) -> None:
        """Save the last boundary, if checkpoints are kept.

        A failure to save is an alarm, not the end of the run.

        Args:
            wait: return only when it is on the disk.
        """
        if not self._keeps:
            return
        if wait:
            self._context.publish(StateChanged(state=RunState.SAVING))
        began = time.perf_counter()
        snapshot = self.take(position)
        if self._writer and snapshot:
            self._write(self._writer, snapshot, reason, score=self._score, waited=time.perf_counter() - began)
        unsaved = self._boundary.unsaved() if self._boundary else {}
        self._warn(of_all_envs(unsaved, self._context), "will begin new episodes when this checkpoint is resumed")
        if wait:
            self.wait()

    def save_after_failure(self, position: Position) -> None:
        """Save the last whole update, after a failure since.

        The failure was in the rollout or the update that followed. Several ranks save nothing (see `keep_in_memory`):
        their newest checkpoint has to do.
        """
        if self._writer is None or self._context.ranks.size > 1 or self._boundary is None:
            return
        snapshot = self.take(position) if self._weights_whole else self._kept
        if snapshot and all(bool(torch.isfinite(weights).all()) for weights in snapshot.policy.values()):
            self._write(self._writer, snapshot, "failure", score=None, waited=0.0)
            self.wait()

    def finish(self, position: Position, controls: Controls) -> None:
        """Save the last policy, and wait for its evaluation if any.

        Raises:
            StopTraining: a command ended the wait.
        """
        self._await_evaluation(controls)
        self._evaluation.take_turn(position.step)
        self.save(position, "final", wait=True)
        if self._evaluation.active and self._saved and self._saved.step == position.step:
            self._evaluate(self._saved)
        self._await_evaluation(controls)

    def close(self) -> None:
        """Finish writing, and end the evaluation under way."""
        self.wait()
        self._evaluation.cancel()

    def wait(self) -> None:
        """Wait until the current write is on disk, and report it."""
        if self._writer is not None:
            self._writer.wait()
        self._report()

    def _write(
        self, writer: CheckpointWriter, snapshot: Snapshot, reason: str, *, score: float | None, waited: float
    ) -> None:
        """Begin to write `snapshot`, after the one before is written and reported."""
        self.wait()
        state = msgspec.structs.replace(snapshot.state, evaluating=self._evaluation.turn)
        snapshot = dataclasses.replace(snapshot, state=state)
        writer.write(snapshot, reason, score=score, waited=waited, spare=self._evaluation.checkpoint)

    def _report(self) -> None:
        """Publish the outcomes of writing since the last call."""
        for outcome in self._writer.take_outcomes() if self._writer else ():
            self._context.publish(outcome)
            if isinstance(outcome, Alarm):
                self._evaluation.cancel_turn()
                continue
            self._saved = outcome
            if outcome.reason == "evaluation":
                self._evaluate(outcome)

    @property
    def _best(self) -> float | None:
        return self._writer.best if self._writer else None

    @property
    def _score(self) -> float | None:
        """The score to choose the best policy by.

        None if evaluations choose it, or if too few episodes have finished.
        """
        return None if self._evaluation.active else self._parts.episodes.score(MIN_BEST_EPISODES)

    # ── Evaluating ──────────────────────────────────────────────────────────────────────────────────────────

    def _evaluate(self, saved: CheckpointSaved) -> None:
        if job := self._evaluation.start(saved):
            job.outcome.add_done_callback(lambda _: self._inbox.call_soon(functools.partial(self._take_score, job)))

    def _make_up_evaluation(self, state: CheckpointState) -> None:
        """Begin again the evaluation left unfinished by the former process.

        ``best`` and the record of the run are then those of a run that was never interrupted.
        """
        if self._directory is None or state.evaluating is None or not self._evaluation.active:
            return
        name = checkpoint_name(state.evaluating)
        try:
            with opened(self._directory) as directory:
                path, manifest = directory.path / name, read_manifest(directory / name)
        except (OSError, UsageError) as error:
            message = f"the evaluation of step {state.evaluating:,} cannot be made up for: {error}"
            self._context.publish(Alarm(level=Level.WARNING, message=message))
            return
        self._evaluate(
            CheckpointSaved(
                path=str(path), step=manifest.step, update=manifest.update, reason=manifest.reason, seconds=0.0
            )
        )

    def _take_score(self, job: Job) -> None:
        """Publish the outcome of an evaluation."""
        if not self._evaluation.is_wanted(job):
            return
        try:
            evaluation = job.outcome.result()
        except EvaluationFailed as failed:
            self._context.publish(failure_alarm(job.saved, failed.message, failed.details))
        else:
            best = self._writer is not None and self._writer.link_best(Path(job.saved.path), evaluation.score.mean)
            event = evaluated_event(job.saved, evaluation, best=best)
            self._parts.stop.evaluated(event.step, event.metrics)
            self._context.publish(event)
        self._evaluation.done()

    def _await_evaluation(self, controls: Controls) -> None:
        self.wait()
        published = False
        while (step := self._context.ranks.agree(lambda: self._evaluation.step, int | None)) is not None:
            if not published:
                reason = f"the evaluation of step {step:,} is awaited"
                self._context.publish(StateChanged(state=RunState.SAVING, reason=reason))
                published = True
            self._evaluation.wait()
            controls.meet()
            controls.check()

    # ── Going back ──────────────────────────────────────────────────────────────────────────────────────────

    def rewind(self, text: str) -> CheckpointState | None:
        """Go back to the checkpoint named `text`.

        `text` is a path, or a name among the run's own checkpoints.

        Returns:
            The state of the run now; None if the command was refused, and nothing has changed.
        """
        self.wait()
        return self._go_back(self._context.ranks.agree(lambda: self._find(text), _Found))

    def rewind_to_newest(self) -> CheckpointState | None:
        """Go back to the newest whole checkpoint; None if there is none."""
        self.wait()
        if self._directory is None:
            return None
        try:
            newest, _ = newest_checkpoint(self._directory)
        except RunFailedError:
            return None
        return self._go_back(_Found(path=str(newest.path), files=newest.files))

    def _go_back(self, found: _Found) -> CheckpointState | None:
        path = Path(found.path)
        try:
            if found.problem is not None:
                raise UsageError(found.problem)
            snapshot = Snapshot.decode(path, found.files)
            snapshot.restore(self._context.config, self._parts)
        except UsageError as error:
            self._context.publish(CommandRefused(message=str(error)))
            return None
        restarted = self._begin_environments(snapshot)
        self._kept, self._keep_again_at = None, 0.0
        self._evaluation.stand_at(snapshot.state.step)
        self._publish_rewound(snapshot.state, str(path), restarted)
        self._warn(restarted, "could not be restored and begin new episodes")
        return snapshot.state

    def _publish_rewound(self, state: CheckpointState, path: str, restarted: Mapping[int, str]) -> None:
        self._context.publish(
            Rewound(
                path=path,
                step=state.step,
                update=state.update,
                restarted_envs=tuple(restarted),
                exact=not restarted,
            )
        )

    def _find(self, text: str) -> _Found:
        try:
            if self._directory and is_plain(text):
                with opened(self._directory) as directory:
                    checkpoint = OpenedCheckpoint.open(directory / directory.target(text))
            else:
                checkpoint = OpenedCheckpoint.open(Path(text).resolve())
        except UsageError as error:
            return _Found(problem=str(error))
        except (OSError, ValueError, RuntimeError):  # of a path that no file can have, too
            return _Found(problem=f"there is no checkpoint {text!r}")
        return _Found(path=str(checkpoint.path), files=checkpoint.files)

    def _warn(self, envs: dict[int, str], consequence: str) -> None:
        """Warn about these environments, with a reason; once for each of them."""
        if envs.keys() - self._warned_about:
            self._warned_about |= envs.keys()
            names = ", ".join(map(str, envs))
            message = f"environments {names} {consequence}: {next(iter(envs.values()))}"
            self._context.publish(Alarm(level=Level.WARNING, message=message))


def _best_before(resumed: Snapshot | None, abandoned: Abandoned | None, context: RunContext) -> float | None:
    """The resumed run's highest score, if comparable.

    It is comparable if the scores to come are of the same kind: of evaluations, or of training episodes.
    """
    if resumed is None:
        return None
    evaluated = build_config(resumed.state.config).eval.every > 0
    best = abandoned.best if abandoned else resumed.state.best
    return best if evaluated == (context.config.eval.every > 0) else None
