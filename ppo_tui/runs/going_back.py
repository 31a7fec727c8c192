"""Continue a run from an earlier checkpoint, leaving a branch."""

from __future__ import annotations

import contextlib

from ..training.checkpoint.resume import Abandoned, ResumePoint
from .directory import RunDirectory
from .entries import CHECKPOINTS
from .history import recorded_so_far
from .registry import LATEST
from .select import checkpoint_of


def point_of(run_dir: RunDirectory, name: str = LATEST) -> ResumePoint:
    """The checkpoint to resume a run from, with its abandoned branch.

    Args:
        name: as for `checkpoint_of`.

    Raises:
        UsageError: there is no such checkpoint, or it is damaged.
        RunFailedError: none is whole.
    """
    with run_dir.opened() as directory:
        newest = ResumePoint.newest(directory / CHECKPOINTS)
        if name == LATEST:
            return newest
        checkpoint = checkpoint_of(run_dir, name).checkpoint
        if checkpoint.path.name == newest.path.name:
            return newest
        abandoned = Abandoned(newest.state.step, newest.state.seconds, newest.state.best)
        with contextlib.suppress(FileNotFoundError):
            abandoned = recorded_so_far(run_dir, newest.state.best)
        return ResumePoint(checkpoint, newest.skipped, abandoned)


def describe_way_back(point: ResumePoint) -> str:
    """The abandoned steps of a run in words; empty without any."""
    if point.abandoned is None:
        return ""
    left = max(0, point.abandoned.step - point.state.step)
    return (
        f"the {left:,} steps after step {point.state.step:,} leave the run; their record stays, and their checkpoints "
        "until newer ones take their place"
    )
