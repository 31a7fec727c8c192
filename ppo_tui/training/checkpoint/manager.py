"""How a run survives: it marks each update boundary, saves itself in time, goes on from a checkpoint or back to one.

The policies that are evaluated while it trains are among those that are saved.
"""

from __future__ import annotations

import contextlib
import functools
import shutil
import threading
import time
from collections import deque
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
from ..evaluation.background import BackgroundEvaluation
from ..metrics import EpisodeWindow
from .files import (
    CheckpointState,
    list_checkpoints,
    newest_checkpoint,
    point_link,
    read_checkpoint_files,
    remove_unfinished,
)
from .resume import differences
from .snapshot import Snapshot, Snapshots, decode_checkpoint, write_checkpoint

FIRST_RETRY_SECONDS = 5.0
LONGEST_RETRY_SECONDS = 300.0
"""A checkpoint that failed is tried again after the first of these, then after twice that, up to the other."""

BEST_SHARE = 0.01
"""Share of the time that saving better and better policies may take; early in a run every update is the best so far."""

MIN_BEST_EPISODES = 20
"""Finished games before their mean says anything about which policy is the best."""


class CheckpointKeeper:
    """The checkpoints of one run, in one directory, with the links ``latest`` and ``best``.

    A checkpoint is written by a thread of its own, one at a time. All methods belong to the training thread.

    Args:
        seconds: of training that are lost at most when the process dies.
        keep: newest checkpoints that stay, besides the best and those saved by hand.
        emit: receives `CheckpointSaved` and `Alarm`, when `report` is called.
        on_written: called by the writing thread when there is something to `report`.
        best: the highest mean return that was saved so far.
        needed: asked for a checkpoint that somebody reads and that must stay, or None.
    """

    def __init__(
        self,
        directory: Path,
        *,
        seconds: float,
        keep: int,
        emit: Callable[[Event], None],
        on_written: Callable[[], None],
        best: float | None = None,
        needed: Callable[[], Path | None] = lambda: None,
    ) -> None:
        self.directory = directory
        self.best = best
        self._seconds, self._keep = seconds, keep
        self._emit, self._on_written, self._needed = emit, on_written, needed
        self._asked_at = time.monotonic()
        self._due = self._asked_at + seconds
        self._best_due = 0.0
        self._write_seconds = 0.0
        self._retry_seconds = FIRST_RETRY_SECONDS
        self._retrying = False
        self._writer: threading.Thread | None = None
        self._outcomes: deque[Event] = deque()
        self._newest_step: int | None = None
        remove_unfinished(directory)
        existing, _ = list_checkpoints(directory)
        self._serial = existing[0][1].serial + 1 if existing else 1
        if existing:
            self._newest_step = existing[0][1].step

    def due(self, score: float | None) -> str | None:
        """The reason to save now, if there is one; asked after each update.

        Args:
            score: the mean return of the newest episodes; None while they are too few to tell.
        """
        now = time.monotonic()
        pace, self._asked_at = now - self._asked_at, now
        if self._busy or (self._retrying and now < self._due):
            return None
        if score is not None and now >= self._best_due and (self.best is None or score > self.best):
            return "best"
        # The next chance comes an update later, and what is saved then is safe only once it is written.
        return "periodic" if now + pace + self._write_seconds >= self._due else None

    def save(self, snapshot: Snapshot, reason: str, *, score: float | None, waited: float) -> None:
        """Begin to write `snapshot`, after the one before is written.

        Args:
            score: as for `due`; where it is the best so far, the link ``best`` will name this checkpoint.
            waited: seconds that the training has waited for the snapshot.
        """
        self.wait()
        is_best = score is not None and (self.best is None or score > self.best)
        if is_best:
            self.best = score
        serial, self._serial = self._serial, self._serial + 1
        self._writer = threading.Thread(
            target=functools.partial(self._write, snapshot, reason, serial, is_best, waited), name="checkpoint"
        )
        self._writer.start()

    def note_score(self, path: Path, score: float) -> bool:
        """Point ``best`` to the checkpoint at `path`, if its score is the highest so far; returns whether it is."""
        if not path.is_dir() or (self.best is not None and score <= self.best):
            return False
        try:
            point_link(self.directory / "best", path)
        except OSError:  # the next one that is as good tries again
            return False
        self.best = score
        return True

    def wait(self) -> None:
        """Wait until what is being written is on the disk, and report it."""
        if self._writer is not None:
            self._writer.join()
            self._writer = None
        self.report()

    def report(self) -> None:
        """Say what has become of the checkpoints that were written since the last call."""
        while self._outcomes:
            self._emit(self._outcomes.popleft())

    @property
    def _busy(self) -> bool:
        return self._writer is not None and self._writer.is_alive()

    # ── In the writing thread ───────────────────────────────────────────────────────────────────────────────

    def _write(self, snapshot: Snapshot, reason: str, serial: int, is_best: bool, waited: float) -> None:
        began, state = time.monotonic(), snapshot.state
        path = self.directory / f"step-{state.step:012d}"
        try:
            write_checkpoint(path, snapshot, serial=serial, reason=reason)
            point_link(self.directory / "latest", path)
            if is_best:
                point_link(self.directory / "best", path)
        except Exception as error:
            self._outcomes.append(self._failed(error, state.step))
        else:
            now = time.monotonic()
            self._write_seconds = now - began
            self._due = began - waited + self._seconds
            self._best_due = now + (now - began + waited) / BEST_SHARE
            self._retrying, self._retry_seconds = False, FIRST_RETRY_SECONDS
            self._newest_step = state.step
            self._outcomes.append(
                CheckpointSaved(path=str(path), step=state.step, update=state.update, reason=reason, seconds=waited)
            )
            with contextlib.suppress(OSError):
                self._delete_old()
        self._on_written()

    def _failed(self, error: Exception, step: int) -> Alarm:
        """The alarm for a checkpoint that was not written; it is tried again later, and ever later."""
        delay, self._retrying = self._retry_seconds, True
        self._due = time.monotonic() + delay
        self._retry_seconds = min(2 * delay, LONGEST_RETRY_SECONDS)
        cause = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
        free = "?"
        with contextlib.suppress(OSError):
            free = f"{shutil.disk_usage(self.directory).free:,}"
        kept = "there is none on the disk yet" if self._newest_step is None else f"kept step {self._newest_step:,}"
        message = f"checkpoint of step {step:,} failed: {cause}, {free} bytes free; {kept}; next try in {delay:.0f} s"
        return Alarm(level=Level.ERROR, message=message)

    def _delete_old(self) -> None:
        """Delete the automatic checkpoints beyond the newest few, and never what a link names."""
        links = (self.directory / "latest", self.directory / "best", self._needed())
        kept = {path.resolve() for path in links if path}
        automatic = [path for path, manifest in list_checkpoints(self.directory)[0] if manifest.reason != "manual"]
        for path in automatic[self._keep :]:
            if path.resolve() not in kept:
                # Under another name first: what is half deleted must not look like a checkpoint.
                gone = path.rename(path.with_name(f".{path.name}.deleted.tmp"))
                shutil.rmtree(gone, ignore_errors=True)


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


class CheckpointManager:
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
        self._evaluation = BackgroundEvaluation(
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
