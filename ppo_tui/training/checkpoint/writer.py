"""The writing thread of checkpoints, with its due times, retries and links."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from ...config import RunConfig
from ...directories import Directory, Place, opened
from ...errors import UsageError
from ...protocol import Alarm, CheckpointSaved, Level
from ..inbox import Inbox
from .files import checkpoint_name, list_checkpoints, remove_checkpoint, remove_unfinished
from .snapshot import Snapshot, write_checkpoint

BEST_SHARE = 0.01
"""Share of the time for saving better and better policies; early in a run every update is the best so far."""

FIRST_RETRY_SECONDS = 5.0
LONGEST_RETRY_SECONDS = 300.0
"""A checkpoint that failed is tried again after the first of these, then after twice that, up to the other."""


class _Saving(NamedTuple):
    """A checkpoint on its way to the disk.

    Attributes:
        waited: seconds that the training has waited for its snapshot.
        spare: a checkpoint not to delete.
    """

    snapshot: Snapshot
    reason: str
    serial: int
    is_best: bool
    waited: float
    spare: Path | None


class CheckpointWriter:
    """A writer of checkpoints, one at a time, in its own thread.

    It knows when the next one is due, tries a failed one again later, keeps the links ``latest`` and ``best``, and
    deletes old ones. All methods belong to the training thread.

    Args:
        directory: of the checkpoints and the links.
        settings: how often to save, and how many to keep.
        inbox: calls `report` in the training thread after each checkpoint.
        best: the highest score so far.

    Attributes:
        best: the same, with the checkpoints since.
    """

    def __init__(
        self,
        directory: Place,
        settings: RunConfig,
        inbox: Inbox,
        report: Callable[[], None],
        *,
        best: float | None = None,
    ) -> None:
        self._directory, self._inbox, self._report = directory, inbox, report
        self._seconds, self._keep_newest = settings.checkpoint_seconds, settings.keep_checkpoints
        self.best = best
        self._asked_at = time.monotonic()
        self._due = self._asked_at + self._seconds
        self._next_best_at = 0.0
        self._write_seconds = 0.0
        self._retry_seconds = FIRST_RETRY_SECONDS
        self._retrying = False
        self._thread: threading.Thread | None = None
        self._outcomes: deque[CheckpointSaved | Alarm] = deque()
        self._newest_step: int | None = None
        self._serial = 1
        with contextlib.suppress(OSError), opened(directory) as held:
            remove_unfinished(held)
        existing, _ = list_checkpoints(directory)
        if existing:
            self._serial, self._newest_step = existing[0][1].serial + 1, existing[0][1].step

    def due(self, score: float | None) -> str | None:
        """The reason to save now, or None; asked after each update.

        Args:
            score: the mean return of the newest episodes; None while there are too few of them.
        """
        now = time.monotonic()
        pace, self._asked_at = now - self._asked_at, now
        busy = self._thread is not None and self._thread.is_alive()
        if busy or (self._retrying and now < self._due):
            return None
        if now >= self._next_best_at and self.is_best(score):
            return "best"
        # The next chance comes an update later, and what is saved then is safe only once it is written.
        return "periodic" if now + pace + self._write_seconds >= self._due else None

    def is_best(self, score: float | None) -> bool:
        """Whether `score` is higher than every one before."""
        return score is not None and (self.best is None or score > self.best)

    def write(
        self, snapshot: Snapshot, reason: str, *, score: float | None, waited: float, spare: Path | None = None
    ) -> None:
        """Begin to write `snapshot`, after the one before is written.

        Args:
            score: as for `due`; the link ``best`` will name this checkpoint if it is the highest so far.
            waited: seconds that the training has waited for the snapshot.
            spare: a checkpoint not to delete, however old.
        """
        self.wait()
        is_best = self.is_best(score)
        state = msgspec.structs.replace(snapshot.state, best=score if is_best else self.best)
        snapshot = dataclasses.replace(snapshot, state=state)
        saving = _Saving(snapshot, reason, self._serial, is_best, waited, spare)
        self._serial += 1
        self._thread = threading.Thread(target=self._run, args=(saving,), name="checkpoint")
        self._thread.start()

    def wait(self) -> None:
        """Wait until the current write is on disk."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def take_outcomes(self) -> Iterator[CheckpointSaved | Alarm]:
        """The outcomes of writing since the last call, one by one."""
        while self._outcomes:
            yield self._outcomes.popleft()

    def link_best(self, path: Path, score: float) -> bool:
        """Point ``best`` to a checkpoint with the highest score so far.

        Returns whether the checkpoint at `path` has it and the link was written.
        """
        if not self.is_best(score):
            return False
        try:
            with opened(self._directory) as directory:
                if not directory.is_directory(path.name):
                    return False
                directory.link("best", path.name)
        except (OSError, UsageError):  # the next one that is as good tries again
            return False
        self.best = score
        return True

    # ── The writing thread ───────────────────────────────────────────────────────────────────────────────────

    def _run(self, saving: _Saving) -> None:
        """Write a checkpoint, in the writing thread."""
        began, state = time.monotonic(), saving.snapshot.state
        name = checkpoint_name(state.step)
        try:
            with opened(self._directory, make=True) as directory:
                path = directory.path / name
                write_checkpoint(directory / name, saving.snapshot, serial=saving.serial, reason=saving.reason)
                directory.link("latest", name)
                if saving.is_best:
                    directory.link("best", name)
                    self.best = state.best
        except Exception as error:
            self._outcomes.append(self._failed(error, state.step))
        else:
            now = time.monotonic()
            self._write_seconds = now - began
            self._due = began - saving.waited + self._seconds
            self._next_best_at = now + (now - began + saving.waited) / BEST_SHARE
            self._retrying, self._retry_seconds = False, FIRST_RETRY_SECONDS
            self._newest_step = state.step
            self._outcomes.append(
                CheckpointSaved(
                    path=str(path), step=state.step, update=state.update, reason=saving.reason, seconds=saving.waited
                )
            )
            with contextlib.suppress(OSError, UsageError), opened(self._directory) as directory:
                self._delete_old(directory, saving.spare)
        self._inbox.call_soon(self._report)

    def _failed(self, error: Exception, step: int) -> Alarm:
        """Plan the next try of a failed checkpoint; return its alarm.

        The delay doubles with each failure, up to `LONGEST_RETRY_SECONDS`.
        """
        delay, self._retrying = self._retry_seconds, True
        self._due = time.monotonic() + delay
        self._retry_seconds = min(2 * delay, LONGEST_RETRY_SECONDS)
        cause = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
        free = "?"
        with contextlib.suppress(OSError, UsageError), opened(self._directory) as directory:
            disk = os.statvfs(directory.descriptor)
            free = f"{disk.f_bavail * disk.f_frsize:,}"
        kept = "there is none on the disk yet" if self._newest_step is None else f"kept step {self._newest_step:,}"
        message = f"checkpoint of step {step:,} failed: {cause}, {free} bytes free; {kept}; next try in {delay:.0f} s"
        return Alarm(level=Level.ERROR, message=message)

    def _delete_old(self, directory: Directory, spare: Path | None) -> None:
        """Delete automatic checkpoints beyond the newest few.

        Those that a link names, and `spare`, stay.
        """
        kept = {spare.name} if spare else set()
        for link in ("latest", "best"):
            with contextlib.suppress(OSError, UsageError):
                kept.add(directory.target(link))
        checkpoints, _ = list_checkpoints(directory)
        automatic = [path.name for path, manifest in checkpoints if manifest.reason != "manual"]
        for name in automatic[self._keep_newest :]:
            if name not in kept:
                remove_checkpoint(directory, name)
