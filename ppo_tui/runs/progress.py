"""Progress of a run, read from its growing metrics."""

from __future__ import annotations

import contextlib
from typing import NamedTuple

import msgspec

from ..directories import Directory
from ..errors import UsageError
from ..files import decoded, lines_of
from ..protocol import Whole
from .entries import METRICS_FILE

MOST_POINTS = 256
"""Points of a short curve; of more, every second one is left out."""


class _Line(msgspec.Struct):
    """The part of an update's line of ``metrics.jsonl`` for a summary."""

    step: Whole = msgspec.field(name="time/total_timesteps")
    mean_return: float | None = msgspec.field(name="rollout/ep_rew_mean", default=None)
    seconds: float | None = msgspec.field(name="time/time_elapsed", default=None)


_decoder = msgspec.json.Decoder(_Line)


class Point(NamedTuple):
    """The mean return at a step."""

    step: int
    mean_return: float


class Progress:
    """Steps and returns of a run so far.

    Attributes:
        step: environment steps done.
        last, best: mean return over 100 episodes, as of the last update and at its best; None without any.
        seconds: of training, as of the last update.
        curve: at most `MOST_POINTS` points of the mean return, without abandoned branches.
    """

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self.step, self.seconds = 0, None
        self.last: float | None = None
        self.best: float | None = None
        self.curve: list[Point] = []
        self._identity: tuple[int, int] | None = None
        self._read_up_to = 0
        self._stride = self._skipped = 1

    def read(self, directory: Directory) -> None:
        """Read lines appended since the last time; all of another file."""
        try:
            file = directory.open_file(METRICS_FILE)
        except (OSError, UsageError):
            self._forget()
            return
        with file:
            facts = directory.stat(METRICS_FILE)
            identity = (facts.st_dev, facts.st_ino) if facts else None
            if identity != self._identity or (facts and facts.st_size < self._read_up_to):
                self._forget()
                self._identity = identity
            file.seek(self._read_up_to)
            for line in lines_of(file):
                if line.endswith(b"\n"):
                    self._read_up_to = file.tell()
                # An evaluation's line has no steps.
                with contextlib.suppress(msgspec.DecodeError):
                    self._take(decoded(_decoder, line))

    def _take(self, line: _Line) -> None:
        if line.step <= self.step:
            self.curve = [point for point in self.curve if point.step < line.step]
        self.step, self.last, self.seconds = line.step, line.mean_return, line.seconds
        if line.mean_return is None:
            return
        self.best = line.mean_return if self.best is None else max(self.best, line.mean_return)
        self._skipped += 1
        if self._skipped >= self._stride:
            self._skipped = 0
            self.curve.append(Point(line.step, line.mean_return))
        if len(self.curve) > MOST_POINTS:
            self.curve = self.curve[::2]
            self._stride *= 2
