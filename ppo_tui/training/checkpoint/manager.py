"""How a run survives: it marks each update boundary, saves itself in time, goes on from a checkpoint or back to one.

The policies that are evaluated while it trains are among those that are saved.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
import torch

from ...config import Config, build_config
from ...distributed.ranks import ALONE, Ranks
from ...errors import RunFailedError, UsageError
from ...protocol import (
    Alarm,
    CheckpointSaved,
    CommandRefused,
    Event,
    Level,
    Rewound,
    RunResumed,
    RunState,
    StateChanged,
)
from ..controls import Controls
from ..evaluation.background import PeriodicEvaluation
from ..metrics import EpisodeWindow
from .contents import Snapshot, decode_checkpoint
from .files import read_checkpoint_files
from .keeper import MIN_BEST_EPISODES, CheckpointKeeper
from .resume import differences
from .snapshot import Snapshots
from .state import CheckpointState, newest_checkpoint

KEEP_SHARE = 0.005
"""Share of the time that keeping the weights in memory may take."""


class Position(NamedTuple):
    """Where a run is: steps and updates done, seconds trained, and the metrics of the last update."""

    step: int
    update: int
    seconds: float
    metrics: dict[str, float | None]


class _Found(msgspec.Struct):
    """The files of a checkpoint to go back to, or why there is none."""

    path: str = ""
    files: dict[str, bytes] = {}
    problem: str | None = None


class Durability:
    """The checkpoints of a run in progress. All methods belong to the training thread.

    Where several ranks train together, rank 0 decides and writes; the others make the same calls at the same time.

    Args:
        directory: where checkpoints go; None keeps none.
        position: asked whenever the run is saved.
        resumed: the checkpoint that the run goes on from, which `snapshots` has loaded.
        ranks: those who train together.

    Raises:
        UsageError: policies are to be evaluated, and no checkpoints are kept.
    """

    def __init__(
        self,
        config: Config,
        snapshots: Snapshots,
        episodes: EpisodeWindow,
        directory: Path | None,
        *,
        emit: Callable[[Event], None],
        controls: Controls,
        position: Callable[[], Position],
        resumed: Snapshot | None,
        ranks: Ranks = ALONE,
    ) -> None:
        if config.eval.every and directory is None and ranks.leads:
            raise UsageError(
                f"eval.every = {config.eval.every}: checkpoints are what is evaluated, and this trainer keeps none",
                hint="give it a checkpoint_dir, or set eval.every to 0",
            )
        self._config, self._snapshots, self._episodes = config, snapshots, episodes
        self._emit, self._position, self._controls, self._ranks = emit, position, controls, ranks
        self._weights_whole = True
        self._kept: Snapshot | None = None
        self._keep_again_at = 0.0
        self._warned_about: set[int] = set()
        self._keeper: CheckpointKeeper | None = None
        if directory is not None:
            self._keeper = CheckpointKeeper(
                directory,
                seconds=config.run.checkpoint_seconds,
                keep=config.run.keep_checkpoints,
                emit=self._note_checkpoint,
                on_written=lambda: controls.call_soon(self._keeper.report),
                best=_best_before(resumed, config) if resumed else None,
                needed=lambda: self._evaluation.checkpoint,
            )
        self._keeps = ranks.agree(lambda: directory is not None, bool)
        self._saved: CheckpointSaved | None = None
        self._evaluation = PeriodicEvaluation(
            config,
            emit=emit,
            call_soon=controls.call_soon,
            on_score=lambda path, score: self._keeper.note_score(path, score),
        )

    # ── Boundaries ──────────────────────────────────────────────────────────────────────────────────────────

    def begin(self, resumed: Snapshot | None = None, path: Path | None = None) -> None:
        """Start the first episodes, or go on with those of the checkpoint at `path`, and say what is not as it was."""
        restarted = self._snapshots.begin(resumed)
        if resumed:
            self._evaluation.stand_at(resumed.state.step)
            found = differences(resumed.state, self._config, self._snapshots.origin)
            self._emit(
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

    def keep(self) -> None:
        """A rollout begins: keep what was learnt until now in memory, as often as that costs next to no time.

        It is what remains of the run when the update fails that follows the rollout. Several ranks do not: when one of
        them fails, the others cannot be asked for their part any more.
        """
        began = time.monotonic()
        if self._keeper and self._ranks.size == 1 and began >= self._keep_again_at:
            self._kept = self.take()
            now = time.monotonic()
            self._keep_again_at = now + (now - began) / KEEP_SHARE

    def learning(self) -> None:
        """The weights are about to change: until the next `mark` they belong to no boundary."""
        self._weights_whole = False

    def mark(self) -> None:
        """An update is done: remember where the next rollout starts from."""
        self._snapshots.mark()
        self._weights_whole = True

    # ── Saving ──────────────────────────────────────────────────────────────────────────────────────────────

    def take(self) -> Snapshot | None:
        """The run as it was at the last boundary; rank 0 has it."""
        best = self._keeper.best if self._keeper else None
        return self._snapshots.take(**self._position()._asdict(), best=best)

    def save(self, reason: str, *, wait: bool = False) -> None:
        """Save the last boundary, if checkpoints are kept; failing to is an alarm, not the end of the run.

        Args:
            wait: return only when it is on the disk.
        """
        if not self._keeps:
            return
        if wait:
            self._emit(StateChanged(state=RunState.SAVING))
        began = time.perf_counter()
        snapshot = self.take()
        if self._keeper:
            self._keeper.save(snapshot, reason, score=self._score, waited=time.perf_counter() - began)
        self._warn(self._snapshots.unsaved(), "will begin new episodes when the run goes on from this checkpoint")
        if wait:
            self._wait_for_disk()

    def save_if_due(self) -> None:
        """Save if the policy is to be evaluated, the last checkpoint is old enough, or the policy better than ever."""
        if self._keeps and (reason := self._ranks.agree(self._reason_to_save, str | None)):
            self.save(reason)

    def _reason_to_save(self) -> str | None:
        if self._evaluation.due(self._position().step):
            return "evaluation"
        return self._keeper.due(self._score)

    def finish(self) -> None:
        """All steps are done: save the last policy, and wait for its score where policies are evaluated.

        Raises:
            StopTraining: somebody would not wait.
        """
        self._await_evaluation()
        self.save("final", wait=True)
        if self._evaluation.active and self._saved and self._saved.step == self._position().step:
            self._evaluation.start(self._saved)
        self._await_evaluation()

    def _await_evaluation(self) -> None:
        self._wait_for_disk()
        told = False
        while (step := self._ranks.agree(lambda: self._evaluation.step, int | None)) is not None:
            if not told:
                self._emit(StateChanged(state=RunState.SAVING, reason=f"the evaluation of step {step:,} is awaited"))
                told = True
            self._evaluation.wait()
            self._controls.meet()
            self._controls.check()

    def _note_checkpoint(self, event: Event) -> None:
        """A checkpoint is on the disk, or could not be written."""
        self._emit(event)
        if not isinstance(event, CheckpointSaved):
            self._evaluation.cancel_turn()
            return
        self._saved = event
        if event.reason == "evaluation":
            self._evaluation.start(event)

    def save_after_failure(self) -> None:
        """Keep what the last whole update has learnt, after a failure in the rollout or the update that followed it.

        Several ranks do not (see `keep`): their newest checkpoint is what there is.
        """
        if self._keeper is None or self._ranks.size > 1 or not self._snapshots.marked:
            return
        snapshot = self.take() if self._weights_whole else self._kept
        if snapshot and all(bool(torch.isfinite(weights).all()) for weights in snapshot.policy.values()):
            self._keeper.save(snapshot, "failure", score=None, waited=0.0)
            self._keeper.wait()

    def close(self) -> None:
        """Wait until everything is on the disk; nothing is evaluated any more."""
        self._wait_for_disk()
        self._evaluation.cancel()

    def _wait_for_disk(self) -> None:
        if self._keeper:
            self._keeper.wait()

    @property
    def _score(self) -> float | None:
        """What decides which policy is the best, where evaluations do not."""
        return None if self._evaluation.active else self._episodes.score(MIN_BEST_EPISODES)

    # ── Going back ──────────────────────────────────────────────────────────────────────────────────────────

    def rewind(self, text: str) -> CheckpointState | None:
        """Go back to the checkpoint at the path `text`, or of that name among the run's own.

        Returns:
            Where the run is now; None where the command was refused, and nothing has changed.
        """
        self._wait_for_disk()
        found = self._ranks.agree(lambda: self._find(text), _Found)
        path = Path(found.path)
        try:
            if found.problem is not None:
                raise UsageError(found.problem)
            snapshot = decode_checkpoint(path, found.files)
            self._snapshots.load(snapshot)
        except UsageError as error:
            self._emit(CommandRefused(message=str(error)))
            return None
        restarted = self._snapshots.begin(snapshot)
        self._kept, self._keep_again_at = None, 0.0
        self._evaluation.stand_at(snapshot.state.step)
        self._emit(Rewound(path=str(path), step=snapshot.state.step, update=snapshot.state.update))
        self._warn(restarted, "could not be restored and begin new episodes")
        return snapshot.state

    def rewind_to_newest(self) -> CheckpointState | None:
        """As `rewind`, to the newest whole checkpoint; None where there is none."""
        self._wait_for_disk()
        try:
            path, _ = newest_checkpoint(self._keeper.directory) if self._keeper else (None, ())
        except RunFailedError:
            return None
        return self.rewind(str(path)) if path else None

    def _find(self, text: str) -> _Found:
        path = Path(text)
        if self._keeper and not path.is_absolute() and not path.exists():
            path = self._keeper.directory / text
        path = path.resolve()
        try:
            return _Found(path=str(path), files=read_checkpoint_files(path)[1])
        except UsageError as error:
            return _Found(problem=str(error))

    def _warn(self, envs: dict[int, str], what: str) -> None:
        """One warning about these environments, each with its reason; none where they have been warned about."""
        if envs.keys() - self._warned_about:
            self._warned_about |= envs.keys()
            names = ", ".join(map(str, envs))
            message = f"environments {names} {what}: {next(iter(envs.values()))}"
            self._emit(Alarm(level=Level.WARNING, message=message))


def _best_before(resumed: Snapshot, config: Config) -> float | None:
    """The score of the best policy so far, where it was of the same kind as those to come."""
    evaluated = build_config(resumed.state.config).eval.every > 0
    return resumed.state.best if evaluated == (config.eval.every > 0) else None
