"""One family of errors. Each carries the exit code that the command line leaves with.

Exit codes: 0 finished, 2 bad usage or configuration, 3 the run failed, 4 the training diverged,
130 and 143 after SIGINT and SIGTERM.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any


class PPOTuiError(Exception):
    """Something that the user should read as one message, never as a traceback.

    Args:
        message: what is wrong, with the value that is.
        hint: what to do about it, or None where the message says so already.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message


class UsageError(PPOTuiError):
    """The command line asks for something impossible."""

    exit_code = 2


class ConfigError(UsageError):
    """A preset, an override or their combination is not a valid configuration."""


class RunFailedError(PPOTuiError):
    """The run cannot go on: its environments or workers are beyond recovery."""

    exit_code = 3


class WorkerError(RunFailedError):
    """A worker process died, hung or raised; names it and carries its traceback."""


class WorkerFailedError(WorkerError):
    """Worker processes died, hang or talk nonsense; nothing can be asked of them any more, but they can be replaced.

    Args:
        causes: what befell each of them in a few words, by the worker's index.

    Attributes:
        replies: what the other workers had to say, by their index.
    """

    def __init__(self, message: str, causes: Mapping[int, str], *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.causes = dict(causes)
        self.replies: dict[int, Any] = {}


class RankLostError(RunFailedError):
    """Another process of those that train together is gone; the rest of them cannot go on without it."""


class DivergedError(PPOTuiError):
    """The training produced NaN or infinite losses."""

    exit_code = 4


def nearest(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate that `name` was most likely meant to be, or None when nothing is near."""
    by_folded = {candidate.lower(): candidate for candidate in candidates}
    matches = difflib.get_close_matches(name.lower(), by_folded, n=1, cutoff=0.6)
    return by_folded[matches[0]] if matches else None


def did_you_mean(name: str, candidates: Iterable[str], *, otherwise: str | None = None) -> str | None:
    """A hint such as ``did you mean 'breakout'?``, or `otherwise` when nothing is near."""
    match = nearest(name, candidates)
    return f"did you mean {match!r}?" if match else otherwise
