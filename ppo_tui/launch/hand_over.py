"""Hand a run of this process over to one in the background."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from ..errors import PPOTuiError, RunFailedError
from ..runs import RunDirectory
from ..runs.background import start_detached, start_process
from ..runs.registry import LATEST
from .prepared import LET_GO_SECONDS, PreparedRun

if TYPE_CHECKING:
    from ..tui.session import LocalSession


def start_elsewhere(prepared: PreparedRun, session: LocalSession) -> int:
    """Start an untrained run of this process anew in the background.

    Raises:
        RunFailedError: this process does not let go of it in time.
        UsageError: as `start_detached`.
    """
    directory, facts = prepared.directory, prepared.directory.read()
    name, label = directory.name, str(facts.get("preset") or "run")
    if not session.wait_for_engine(LET_GO_SECONDS):
        raise RunFailedError(
            f"{name} was stopped, but could not be started in the background: this process is still busy",
            hint=f"start it again with --resume auto --run-dir {shlex.quote(str(directory.path))}",
        )
    directory.discard()
    pid = start_detached(prepared.config, label=label, name=name, run_dir=directory.path).holder
    _print_handed_over(name, pid)
    return 0


def hand_over(directory: RunDirectory, *, allow_import: bool, checkpoint: str = LATEST) -> int:
    """Continue a stopped and saved run of this process in the background.

    Args:
        allow_import: the run's configuration names outside parties, which this process was allowed.
        checkpoint: to continue from, where this process has not begun to.

    Raises:
        UsageError, RunFailedError: it could not continue; the message says why. Its checkpoint stays.
    """
    name = directory.name
    directory.release()
    try:
        arguments = ["resume", str(directory.path), "--headless", "--checkpoint", checkpoint]
        arguments += ["--allow-import"] * allow_import
        pid = start_process(directory, arguments)
    except PPOTuiError as error:
        message = f"{name} is saved, but could not continue in the background: {error}"
        raise type(error)(message, hint=f"try it here: ppo-tui resume {shlex.quote(name)}") from None
    _print_handed_over(name, pid)
    return 0


def _print_handed_over(name: str, pid: int | None) -> None:
    print(f"{name} continues in the background (pid {pid}); see it again: ppo-tui attach {shlex.quote(name)}")
