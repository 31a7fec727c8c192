"""The family of errors, each with its exit code.

Exit codes: 0 finished, 2 bad usage or configuration, 3 the run or the machine failed, 4 the training diverged, 130 and
143 after SIGINT and SIGTERM.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any


class PPOTuiError(Exception):
    """An error shown to the user as one message, without traceback.

    Args:
        message: what is wrong, with the offending value.
        hint: what to do about it, or None where the message says so already.
    """

    exit_code = 3

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message


class UsageError(PPOTuiError):
    """An impossible request on the command line."""

    exit_code = 2


class DamagedRunError(UsageError):
    """A run with an unreadable record, beside others."""


class ConfigError(UsageError):
    """An invalid preset, override or combination of settings."""


class RunFailedError(PPOTuiError):
    """The end of a run by environments or workers beyond recovery."""

    exit_code = 3


class WorkerError(RunFailedError):
    """Death, hang or exception of a worker; the message names it.

    The traceback of an exception is among the error's notes.
    """


class WorkerFailedError(WorkerError):
    """Death, hang or protocol error of workers; the pool can replace them.

    Args:
        causes: worker → the reason in a few words.
        replies: worker → the reply, of those that have not failed.
    """

    def __init__(
        self,
        message: str,
        causes: Mapping[int, str],
        *,
        hint: str | None = None,
        replies: Mapping[int, Any] | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.causes = dict(causes)
        self.replies = dict(replies or {})

    def after_restarts(self, count: int, period: str) -> WorkerFailedError:
        """This failure, as the end of the run after `count` restarts."""
        if not count:
            return self
        return WorkerFailedError(f"{self.message}, after {count} restarts {period}", self.causes, hint=self.hint)


class NetworkError(RunFailedError):
    """Exception of the user's own network."""


class ScreenFailedError(PPOTuiError):
    """Failure of a screen in front of another process's run."""


class RankLostError(RunFailedError):
    """Death of another rank; the rest cannot train on without it."""


class DivergedError(PPOTuiError):
    """NaN or infinite losses in training."""

    exit_code = 4


def nearest(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate most similar to `name`, or None when none is near."""
    by_folded = {candidate.lower(): candidate for candidate in candidates}
    matches = difflib.get_close_matches(name.lower(), by_folded, n=1, cutoff=0.6)
    return by_folded[matches[0]] if matches else None


def did_you_mean(name: str, candidates: Iterable[str], *, otherwise: str | None = None) -> str | None:
    """A hint such as ``did you mean 'breakout'?``, or `otherwise`."""
    match = nearest(name, candidates)
    return f"did you mean {match!r}?" if match else otherwise
