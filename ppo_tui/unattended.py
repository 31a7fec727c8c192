"""Runs that nobody starts by hand: the same command begins one, goes on with it, and leaves it where it is done."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .config import Config, imports_code
from .errors import UsageError
from .launch import PreparedRun, prepare, prepare_resume
from .runs import RUNS_DIR, RunDirectory
from .training.checkpoint.files import list_checkpoints


def prepare_or_resume(
    config: Config,
    *,
    overrides: Sequence[str],
    label: str,
    name: str | None,
    run_dir: Path | None,
    allow_import: bool,
    screen: bool = False,
) -> PreparedRun | None:
    """Begin the run, or go on with it where its directory has a checkpoint; None where all its steps are done.

    A run that ended before its first checkpoint begins anew; what was recorded of it is put aside.

    Args:
        overrides: settings of the command line, which a run that goes on takes too.

    Raises:
        UsageError: neither `name` nor `run_dir` says which run it is; or as `prepare` and `prepare_resume` do.
        RunFailedError: there are checkpoints, and none of them is whole.
    """
    if name is None and run_dir is None:
        raise UsageError("--resume auto: which run is it?", hint="add --name NAME or --run-dir DIR")
    run = RunDirectory(run_dir or RUNS_DIR / str(name))
    if run.json_path.exists():
        if _is_done(run, config):
            return None
        if any(list_checkpoints(run.checkpoints)):
            # What this command line names or allows was allowed when the run began, too.
            allow_import = allow_import or imports_code(config)
            return prepare_resume(run, overrides=overrides, allow_import=allow_import, screen=screen)
        _put_aside(run)
    return prepare(config, label=label, name=name, run_dir=run_dir, screen=screen)


def _is_done(run: RunDirectory, config: Config) -> bool:
    facts = run.read()
    total = facts.get("total_steps")
    return facts.get("status") == "finished" and isinstance(total, int) and config.planned_steps <= total


def _put_aside(run: RunDirectory) -> None:
    """Move the record of a run without checkpoints out of the way, as long as no process is at it.

    Raises:
        UsageError: one is, or the directory cannot be written.
    """
    try:
        run.acquire()
        try:
            number = 1
            while (aside := run.path / f"abandoned-{number}").exists():
                number += 1
            aside.mkdir()
            for file in (run.json_path, run.config_path, run.events, run.metrics):
                if file.exists():
                    file.rename(aside / file.name)
        finally:
            run.release()
    except OSError as error:
        raise UsageError(f"the run directory {run.path} cannot be written: {error.strerror}") from None
