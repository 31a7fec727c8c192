"""The record of a run, played like the run itself."""

from __future__ import annotations

import time
from array import array
from bisect import bisect_right
from collections.abc import Callable
from pathlib import Path

import msgspec

from ...errors import UsageError
from ...files import read_lines
from ...plotting import formats
from ...protocol import Command, Event, decode_event
from .base import HistoryRestarted, Session

SHOW_SECONDS = 60.0
"""Duration of a replay by default; a shorter run takes as long as it did."""

SEEK_SHARE = 0.05
"""Share of the run skipped by one key press."""

_SLOWEST, _FASTEST = 2.0**-4, 2.0**20


class ReplaySession(Session):
    """The record of a run, ``events.jsonl``, played without commands.

    Args:
        events: the file.
        speed: how many times as fast as it was; None for a replay of about a minute.
        clock: seconds, monotonic.

    Raises:
        UsageError: there is no event in the file, or it is a link or no regular file.
    """

    owns_run = False
    can_steer = False
    shows_game = False
    is_record = True

    def __init__(
        self, events: Path, *, speed: float | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._lines, self._times = _read(events)
        self._next = 0  # the first line that has not been played
        self._position = 0.0  # seconds of the run
        self._looked_at: float | None = None
        self._restarted = False
        self.duration = self._times[-1]
        self.speed = speed or max(1.0, self.duration / SHOW_SECONDS)
        self.paused = False

    def start(self) -> None:
        if self._looked_at is None:
            self._looked_at = self._clock()

    @property
    def live(self) -> bool:
        return False

    @property
    def at_end(self) -> bool:
        return self._next == len(self._lines)

    @property
    def status(self) -> str:
        speed = formats.setting(float(f"{self.speed:.3g}"))
        return f"replay {'paused' if self.paused else 'at the end' if self.at_end else f'×{speed}'}"

    def poll(self) -> list[Event]:
        if self._looked_at is None:
            return []
        now = self._clock()
        if not self.paused:
            self._position = min(self.duration, self._position + (now - self._looked_at) * self.speed)
        self._looked_at = now
        until = bisect_right(self._times, self._position)
        due: list[Event] = [HistoryRestarted()] if self._restarted else []
        due += [decode_event(line) for line in self._lines[self._next : until]]
        self._next, self._restarted = until, False
        return due

    def send(self, command: Command) -> None:
        pass

    def close(self, timeout: float) -> bool:
        return True

    # ── Playing ─────────────────────────────────────────────────────────────────────────────────────────────

    def toggle_pause(self) -> None:
        """Pause the replay, or let it go on."""
        self.paused = not self.paused

    def change_speed(self, direction: int) -> None:
        """Twice as fast (+1) or half as fast (−1)."""
        self.speed = min(_FASTEST, max(_SLOWEST, self.speed * 2.0**direction))

    def seek(self, direction: int) -> None:
        """Skip a twentieth of the run forwards (+1) or backwards (−1)."""
        self.seek_to(self._position + direction * SEEK_SHARE * self.duration)

    def seek_to(self, seconds: float) -> None:
        """Go to this second of the run."""
        self._position = min(self.duration, max(0.0, seconds))
        if bisect_right(self._times, self._position) < self._next:
            # A view is a fold: going back is folding again from the beginning.
            self._next, self._restarted = 0, True


def _read(path: Path) -> tuple[list[bytes], array[float]]:
    """The undecoded events of a record, and their times.

    The times are in seconds of the run, never decreasing.
    """
    lines: list[bytes] = []
    times = array("d")
    latest = 0.0
    try:
        for line in read_lines(path, follow=False):
            try:
                latest = max(latest, decode_event(line).elapsed)
            except msgspec.DecodeError:  # cut off, damaged, or of a later version
                continue
            lines.append(line)
            times.append(latest)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    if not lines:
        raise UsageError(f"{path} holds no events", hint="nothing has happened in this run yet")
    return lines, times
