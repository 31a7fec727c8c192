"""Lines of a run's log, and their kinds."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Kind(enum.Enum):
    """The subject of a line of the log."""

    STATE = "state"
    EPISODE = "episode"
    CHECKPOINT = "checkpoint"
    REWIND = "rewind"
    EVALUATION = "evaluation"
    EDIT = "edit"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True)
class LogEntry:
    """One line of the log.

    Attributes:
        elapsed: seconds of the run.
        topic: the key of its explanation, where its kind does not tell.
        slot: of lines with the same one only the newest is kept; empty for a line that stays.
    """

    elapsed: float
    kind: Kind
    text: str
    topic: str = ""
    slot: str = ""
