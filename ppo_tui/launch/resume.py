"""Prepare to continue a run from a checkpoint."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..config import Config, build_config, complete_older, refuse_outsiders
from ..errors import UsageError
from ..runs import RunDirectory
from ..runs.going_back import describe_way_back, point_of
from ..runs.hangup import ignore_hangups
from ..runs.history import rebuilt_facts, set_aside_after
from ..runs.registry import LATEST
from ..runs.signals import HeldSignals
from ..sinks.tracker import check_tracking
from ..text import counted
from ..training import examine
from ..training.checkpoint.resume import ResumePoint, changed_settings
from ..training.stopping import settle_stop
from . import workers
from .prepared import PreparedRun, unwritable


def prepare_resume(
    directory: RunDirectory,
    *,
    checkpoint: str = LATEST,
    overrides: Sequence[str] = (),
    force: bool = False,
    allow_import: bool = False,
    screen: bool = False,
) -> PreparedRun:
    """Prepare to continue a run from its newest whole checkpoint, or another.

    Args:
        checkpoint: as for `checkpoint_of`; what came after it becomes an abandoned branch.
        overrides: settings to change, as on the command line.
        force: continue although the program or ``config.toml`` has changed since.
        allow_import: accept outside parties named by the run: code, a command, an address.
        screen: load the screen too, while the workers' server loads what they need.

    Raises:
        UsageError: nothing was started; the message says why.
        RunFailedError: there is no whole checkpoint.
    """
    ignore_hangups()
    try:
        directory.acquire()
    except OSError as error:
        raise unwritable(directory, error) from None
    try:
        point = point_of(directory, checkpoint)
        return _prepare_resume(directory, point, overrides, force=force, allow_import=allow_import, screen=screen)
    except BaseException:
        directory.release()
        raise


def _prepare_resume(
    directory: RunDirectory,
    point: ResumePoint,
    overrides: Sequence[str],
    *,
    force: bool,
    allow_import: bool,
    screen: bool,
) -> PreparedRun:
    if not force:
        point.check_code()
    notes = [f"skipped: {problem}" for problem in point.skipped]
    tables, source = _config_to_resume(directory, point, notes, force=force)
    if not allow_import:
        refuse_outsiders(tables, source, overrides=overrides)
    config = point.config(tables, overrides)
    check_tracking(config)
    workers.boot(config, screen)
    env_info = examine(config)
    config = settle_stop(config, env_info)
    point.refuse_reached(config)
    share = workers.own_share(config)
    evaluating = point.state.evaluating if config.eval.every else None
    held = HeldSignals()
    try:
        _reopen(directory, config, point, notes, evaluating)
        pool = workers.start(share, env_info, directory)
    except BaseException:
        held.release()
        raise
    return PreparedRun(config, directory, env_info, pool, point, notes=tuple(notes), held=held)


def _reopen(
    directory: RunDirectory, config: Config, point: ResumePoint, notes: list[str], evaluating: int | None
) -> None:
    """Cut the record back to the checkpoint; mark the run as starting.

    Args:
        notes: get a word about what was cut or rebuilt.
    """
    if point.abandoned:
        # The branch stays in the record; only a line cut short by a crash leaves it.
        set_aside_after(directory, math.inf)
        notes.append(describe_way_back(point))
        abandoned = 0
    else:
        abandoned = set_aside_after(directory, point.state.seconds, evaluating=evaluating)
    if problem := directory.facts().problem:
        notes.append(f"{problem}; it was rebuilt from what lies around it")
        directory.reopen(config, **rebuilt_facts(directory))
    else:
        directory.reopen(config)
    if abandoned:
        notes.append(
            f"{counted(abandoned, 'update')} after the checkpoint at step {point.state.step:,} "
            f"{'is' if abandoned == 1 else 'are'} trained again; "
            "their record is in metrics.abandoned.jsonl and events.abandoned.jsonl"
        )


def _config_to_resume(
    directory: RunDirectory, point: ResumePoint, notes: list[str], *, force: bool
) -> tuple[dict[str, Any], str]:
    """Read ``config.toml``: it has the settings of resumes since the checkpoint.

    A file that is missing, empty or no TOML at all is damaged: the checkpoint has the settings, too.

    Args:
        notes: get a word about a damaged file.

    Returns:
        The settings, and the file that they come from, in words.

    Raises:
        UsageError: someone has edited the file, and not `force`.
    """
    from_checkpoint = point.state.config, f"{directory.name}'s checkpoint {point.path.name}"
    try:
        tables = complete_older(directory.read_config())
    except (OSError, UsageError) as error:
        notes.append(f"{error}; the settings are those of the checkpoint")
        return from_checkpoint
    try:
        edits = changed_settings(build_config(point.state.config), build_config(tables))
    except UsageError:
        if not force:
            raise
        return from_checkpoint
    if directory.config_was_edited and edits and not force:
        key, (old, new) = next(iter(edits.items()))
        raise UsageError(
            f"config.toml was edited since the checkpoint: {key} = {old!r} → {new!r}",
            hint=f"undo the edit and use --set {key}=…, or continue with the file as it is: --force",
        )
    return tables, f"{directory.name}'s config.toml"
