"""The part of a checkpoint that is plain values, and finding the checkpoint to go on from. Imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from ...errors import RunFailedError, UsageError
from .files import list_checkpoints, read_checkpoint_files

STATE_FILE = "state.json"


class SavedSchedule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A live setting: what it was set to, and at which share (0..1) of the planned steps."""

    value: float | int | None
    since: float


class Origin(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a run computes on. Where any of it differs, the last bits of its numbers may.

    Attributes:
        code: fingerprint of the source that decides a run's numbers.
        act_threads, learn_threads: PyTorch's threads while the workers step, and while they wait.
        groups: environments whose actions are computed together, as start and stop.
        ranks: processes that learn together.
    """

    versions: dict[str, str]
    code: str
    cpu: str
    device: str
    act_threads: int
    learn_threads: int
    groups: tuple[tuple[int, int], ...]
    ranks: int = 1


class CheckpointState(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Counters, settings and facts of a run at an update boundary.

    Attributes:
        seconds: of training so far, as events have it in `elapsed`.
        config: the configuration that the run was started with, as nested tables.
        settings: the live settings in force, by dotted name.
        learner: what the learner keeps besides tensors.
        episodes: full games finished so far.
        best: the highest mean return that a checkpoint was saved for, or None.
        metrics: of the last update.
        env_sizes: bytes of each environment's state.
    """

    step: int
    update: int
    seconds: float
    config: dict[str, Any]
    settings: dict[str, SavedSchedule]
    learner: dict[str, Any]
    episodes: int
    best: float | None
    metrics: dict[str, float | None]
    env_sizes: tuple[int, ...]
    origin: Origin


def decode_state(path: Path, files: dict[str, bytes]) -> CheckpointState:
    """The state among the `files` of the checkpoint at `path`.

    Raises:
        UsageError: it is not one of this format.
    """
    try:
        return msgspec.json.decode(files[STATE_FILE], type=CheckpointState)
    except (KeyError, msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise UsageError(
            f"{path}: {STATE_FILE} has an unsupported format", hint="use a checkpoint that ppo-tui wrote"
        ) from None


def read_state(path: Path) -> CheckpointState:
    """The state of the checkpoint at `path`, all of whose files have been checked.

    Raises:
        UsageError: there is no whole checkpoint of this version.
    """
    return decode_state(path, read_checkpoint_files(path)[1])


def newest_checkpoint(directory: Path) -> tuple[Path, list[str]]:
    """The newest checkpoint in `directory` that is whole, and what is wrong with those passed over for it.

    Raises:
        RunFailedError: there is none.
    """
    candidates, problems = list_checkpoints(directory)
    for path, _ in candidates:
        try:
            read_state(path)
        except UsageError as error:
            problems.append(error.message)
        else:
            return path, problems
    raise RunFailedError(
        f"{directory} holds no whole checkpoint" + "".join(f"\n  {problem}" for problem in problems),
        hint="nothing was changed; start a new run, or name a checkpoint that was copied elsewhere",
    )
