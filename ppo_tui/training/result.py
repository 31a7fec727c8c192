"""How a run ended."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import DivergedError, RunFailedError
from ..protocol import RunState


@dataclass(frozen=True)
class RunResult:
    """How a run ended.

    Attributes:
        state: FINISHED, STOPPED (by a command) or FAILED.
        exit_code: what a process that ran it should leave with (see `ppo_tui.errors`).
        metrics: those of the last update.
    """

    state: RunState
    exit_code: int
    reason: str
    step: int
    update: int
    metrics: dict[str, float | None]

    def raise_if_failed(self) -> None:
        """Raises: DivergedError or RunFailedError, when the run failed, with its reason."""
        if self.state is RunState.FAILED:
            raise (DivergedError if self.exit_code == DivergedError.exit_code else RunFailedError)(self.reason)
