"""Keeping checkpoints of a run: when to save, writing in the background, and which to delete."""

from __future__ import annotations

import contextlib
import functools
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from ...protocol import Alarm, CheckpointSaved, Event, Level
from .contents import Snapshot, write_checkpoint
from .files import list_checkpoints, point_link, remove_unfinished

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
