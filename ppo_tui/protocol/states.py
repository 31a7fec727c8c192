"""The words of the protocol: states, causes, levels."""

from __future__ import annotations

import enum

PROTOCOL_VERSION = 1


class RunState(enum.StrEnum):
    """State of a run, as in the header of the screen.

    `LOST` is set by a screen alone, when the run no longer answers.
    """

    STARTING = "starting"
    TRAINING = "training"
    PAUSED = "paused"
    SAVING = "saving"
    FINISHED = "finished"
    STOPPED = "stopped"
    FAILED = "failed"
    LOST = "lost"

    @property
    def is_final(self) -> bool:
        return self in (RunState.FINISHED, RunState.STOPPED, RunState.FAILED)


class WorkerState(enum.StrEnum):
    """State of a worker process."""

    STARTING = "starting"
    STEPPING = "stepping"
    WAITING = "waiting"
    DEAD = "dead"


class Cause(enum.StrEnum):
    """Why a setting changes.

    Undo and redo are kept apart from edits, so that every screen has the same history of edits.
    """

    EDIT = "edit"
    UNDO = "undo"
    REDO = "redo"


class Level(enum.StrEnum):
    """Severity of an alarm."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Gaze(enum.StrEnum):
    """An output of the policy, followed back by a gradient.

    ``action`` is the log-probability of the chosen action, ``value`` the value of the state.
    """

    NONE = "none"
    ACTION = "action"
    VALUE = "value"
