"""The commands of a run."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from .states import Cause, Gaze


class Command(msgspec.Struct, frozen=True, kw_only=True, tag_field="command"):
    """Base of all commands.

    `by` names the sender in the audit trail.
    """

    by: str = "user"


class Pause(Command, frozen=True, kw_only=True, tag="pause"):
    """Pause at the next vector step or minibatch."""


class Resume(Command, frozen=True, kw_only=True, tag="resume"):
    """Resume after a pause."""


class StepUpdates(Command, frozen=True, kw_only=True, tag="step"):
    """Run until `updates` more updates are done, then pause."""

    updates: Annotated[int, msgspec.Meta(ge=1, le=10**9)] = 1


class StepMinibatches(Command, frozen=True, kw_only=True, tag="step-minibatches"):
    """Learn from `minibatches` more minibatches, then pause between two of them.

    Such a pause lasts while its sender, or anybody else, watches (see `WatchUpdate`); then the run continues. A save
    and a rewind wait for the update to end, and so end the pause too.
    """

    minibatches: Annotated[int, msgspec.Meta(ge=1, le=10**9)] = 1


class SaveCheckpoint(Command, frozen=True, kw_only=True, tag="save"):
    """Write a checkpoint at the next update boundary."""


class Rewind(Command, frozen=True, kw_only=True, tag="rewind"):
    """Return to a checkpoint of this run, at the next update boundary.

    Attributes:
        path: the checkpoint's directory, or its name below the run's ``checkpoints``.
    """

    path: str


class SetValue(Command, frozen=True, kw_only=True, tag="set"):
    """Change a live setting at the next update boundary.

    Attributes:
        key: its dotted name.
    """

    key: str
    value: Any
    cause: Cause = Cause.EDIT


class WithdrawValue(Command, frozen=True, kw_only=True, tag="withdraw"):
    """Withdraw a pending change of a live setting."""

    key: str


WATCH_SECONDS = 15.0
"""Duration of a `WatchGame` or `WatchUpdate`: a watcher that vanishes costs nothing for longer than this."""


MOST_BESIDE = 15
"""Environments that can be watched beside a first one."""


class WatchGame(Command, frozen=True, kw_only=True, tag="watch-game"):
    """Publish `GameClip`s of an environment for the next `WATCH_SECONDS`.

    A watcher repeats the command in time.

    Attributes:
        env: which environment; None to end the clips.
        fps: frames a second of the player, of all environments together.
        gaze: the output whose gradient the clips show.
        beside: further environments to show at the same time.
    """

    env: int | None
    fps: float = 15.0
    gaze: Gaze = Gaze.NONE
    beside: Annotated[tuple[int, ...], msgspec.Meta(max_length=MOST_BESIDE)] = ()


class WatchUpdate(Command, frozen=True, kw_only=True, tag="watch-update"):
    """Publish an `UpdateInspected` for each update of the next `WATCH_SECONDS`.

    A watcher repeats the command in time.

    Attributes:
        open: False ends it for this sender.
    """

    open: bool = True


class Stop(Command, frozen=True, kw_only=True, tag="stop"):
    """End the run at the next vector step or minibatch.

    Attributes:
        save: write a checkpoint before.
        exit_code: of the process; 130 and 143 stand for SIGINT and SIGTERM.
    """

    save: bool = True
    exit_code: Annotated[int, msgspec.Meta(ge=0, le=255)] = 0
    reason: str = "stopped by the user"


AnyCommand = (
    Pause
    | Resume
    | StepUpdates
    | StepMinibatches
    | SaveCheckpoint
    | Rewind
    | SetValue
    | WithdrawValue
    | WatchGame
    | WatchUpdate
    | Stop
)

PASSIVE: tuple[type[Command], ...] = (WatchGame, WatchUpdate)
"""Commands without effect on training: every client may send them, without control of the run."""
