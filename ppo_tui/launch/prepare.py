"""Prepare a new run, or with --resume auto an existing one."""

from __future__ import annotations

import contextlib
import os
import time

from ..config import Config, build_config, replace_value
from ..config.stopping import SOLVED
from ..errors import UsageError
from ..exchange.initial import with_source, without_source
from ..protocol import BY_RULE
from ..runs import RUNS_DIR, RunDirectory
from ..runs.entries import CHECKPOINTS, CONFIG_FILE, EVENTS_FILE, METRICS_FILE, holds_run
from ..runs.facts import JSON_FILE
from ..runs.hangup import ignore_hangups
from ..runs.signals import HeldSignals
from ..sinks.tracker import check_tracking
from ..training import examine
from ..training.checkpoint.files import list_checkpoints
from ..training.stopping import settle_stop
from . import workers
from .prepared import PreparedRun, unwritable
from .request import TrainRequest
from .resume import prepare_resume


def prepare(request: TrainRequest, *, again: bool = False) -> PreparedRun:
    """Check the configuration, make the run directory and start the workers.

    The workers need not be ready when this returns: they make their environments while the engine loads PyTorch.

    Args:
        again: see `RunDirectory.create`.

    Raises:
        UsageError: nothing was started; the message says why.
    """
    ignore_hangups()
    config = request.config
    check_tracking(config)
    workers.boot(config, request.screen)
    env_info = examine(config)
    config = settle_stop(config, env_info)
    config, source, notes = with_source(config)
    share = workers.own_share(config)
    held, directory = HeldSignals(), None
    try:
        directory = RunDirectory.create(
            config, label=request.label, name=request.name, path=request.run_dir, again=again
        )
        pool = workers.start(share, env_info, directory)
        return PreparedRun(config, directory, env_info, pool, source=source, notes=notes, held=held)
    except BaseException as error:
        if directory is not None:
            with contextlib.suppress(OSError):
                directory.update(status="failed", reason=str(error), ended=time.time())
        held.release()
        raise


def prepare_or_resume(request: TrainRequest) -> PreparedRun | None:
    """Prepare the run, or with `request.resume` continue it.

    A resumed run continues from its newest checkpoint, and needs the source of its first weights no more. One that
    ended before the first starts over; its record is set aside.

    Returns:
        None if all steps of the run are done, or it has ended by these stop rules.

    Raises:
        UsageError: to resume, neither a name nor a directory is given; or as `prepare` and `prepare_resume` do.
        RunFailedError: there are checkpoints, and all of them are damaged.
    """
    if not request.resume:
        return prepare(request)
    if request.name is None and request.run_dir is None:
        raise UsageError("--resume auto: which run is it?", hint="add --name NAME or --run-dir DIR")
    directory = RunDirectory(request.run_dir or RUNS_DIR / str(request.name))
    if holds_run(directory.path):
        if _is_done(directory, request.config):
            return None
        with directory.opened() as held:
            begun = any(list_checkpoints(held / CHECKPOINTS))
        if begun:
            return prepare_resume(
                directory,
                overrides=without_source(request.overrides),
                allow_import=request.allow_import,
                screen=request.screen,
            )
        _set_aside(directory)
        return prepare(request, again=True)
    return prepare(request)


def _is_done(directory: RunDirectory, config: Config) -> bool:
    facts = directory.read()
    total = facts.get("total_steps")
    if facts.get("status") != "finished" or not isinstance(total, int) or config.planned_steps > total:
        return False
    return facts.get("stopped_by") != BY_RULE or _has_rules_of(directory, config)


def _has_rules_of(directory: RunDirectory, config: Config) -> bool:
    """Whether the run in `directory` has the stop rules of `config`."""
    try:
        stop = build_config(directory.read_config()).stop
    except (OSError, UsageError):
        return True
    return config.stop == stop or (config.stop.at == SOLVED and replace_value(config, "stop.at", stop.at).stop == stop)


def _set_aside(directory: RunDirectory) -> None:
    """Move the record of a run without checkpoints into a subdirectory.

    Raises:
        UsageError: a process still uses the directory, or it cannot be written.
    """
    try:
        directory.acquire()
        try:
            held, number = directory.held, 1
            while held.stat(f"abandoned-{number}"):
                number += 1
            with held.subdirectory(f"abandoned-{number}", make=True) as aside:
                for name in (JSON_FILE, CONFIG_FILE, EVENTS_FILE, METRICS_FILE):
                    if held.stat(name):
                        os.rename(name, name, src_dir_fd=held.descriptor, dst_dir_fd=aside.descriptor)
        finally:
            directory.release()
    except OSError as error:
        raise unwritable(directory, error) from None
