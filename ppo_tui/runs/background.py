"""Start runs in the background, independent of any terminal and shell."""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from ..config import Config, names_outsiders, to_toml
from ..errors import RunFailedError, UsageError
from ..protocol import RunState
from ..system.processes import own_command
from .client import ControlClient
from .directory import RunDirectory
from .entries import LOG_FILE

START_SECONDS = 300.0
"""Time for a run from its start to its first step; workers with heavy environments take a while."""

_POLL_SECONDS = 0.05

_MOST_PRINTED_BYTES = 100_000


def start_detached(config: Config, *, label: str, name: str | None, run_dir: Path | None) -> RunDirectory:
    """Start a new run in the background; return once it trains.

    Raises:
        UsageError: the run was refused; nothing of it is left.
        RunFailedError: it failed while it started; its directory has the details.
    """
    directory = RunDirectory.plan(label=label, name=name, path=run_dir)
    ours = directory.is_made or not directory.path.exists()
    with tempfile.TemporaryDirectory(prefix="ppo-tui-") as temporary:
        try:
            # Not in the run directory, which is the new run's to fill.
            preset = Path(temporary) / f"{label}.toml"
            preset.write_text(to_toml(config), "utf-8")
            directory.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"the run directory {directory.path} cannot be written: {error.strerror}",
                hint="choose another --run-dir",
            ) from None
        arguments = ["--preset", str(preset), "--run-dir", str(directory.path), "--headless"]
        arguments += ["--name", name] if name is not None else []
        arguments += ["--allow-import"] if names_outsiders(config) else []
        try:
            start_process(directory, arguments)
        except UsageError:
            if not directory.json_path.exists():
                _leave_nothing(directory, ours)
            raise
    return directory


def resume_detached(run_dir: RunDirectory, arguments: Sequence[str] = ()) -> str:
    """Continue an ended run in the background; return the outcome.

    Args:
        arguments: further ones of ``ppo-tui resume``.

    Raises:
        UsageError: it is running, or refused to start; the message is its own.
        RunFailedError: it failed while it started.
    """
    name = run_dir.path.name
    if (pid := run_dir.holder) is not None:
        raise UsageError(f"{name} is running already" + (f" (pid {pid})" if pid else ""))
    pid = start_process(run_dir, ["resume", str(run_dir.path), "--headless", *arguments])
    if run_dir.holder is None:
        return f"{name} had little left to train: it has ended again"
    return f"{name} continues in the background (pid {pid})"


def _leave_nothing(run_dir: RunDirectory, ours: bool) -> None:
    """Remove the log of a refused start, and its own directory."""
    with contextlib.suppress(OSError), run_dir.opened() as directory:
        directory.remove(LOG_FILE)
    if ours:
        with contextlib.suppress(OSError):
            run_dir.path.rmdir()


def start_process(run_dir: RunDirectory, arguments: Sequence[str]) -> int:
    """Start ``ppo-tui ARGUMENTS``, and return its pid once it trains in `run_dir`.

    The process has a session of its own, no terminal, and prints into ``run.log``.

    Raises:
        UsageError: it refused to start; the message is its own.
        RunFailedError: it failed, or has not begun to train within `START_SECONDS`.
    """
    with os.fdopen(run_dir.append_to(LOG_FILE), "ab") as log:
        printed_before = log.seek(0, os.SEEK_END)
        process = subprocess.Popen(
            own_command("ppo_tui", *arguments),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None:
        if _trains(run_dir, process.pid):
            return process.pid
        if time.monotonic() > deadline:
            raise RunFailedError(
                f"{run_dir.path.name} (pid {process.pid}) has not begun to train within {START_SECONDS:.0f} s",
                hint=f"see what it does: ppo-tui attach {shlex.quote(str(run_dir.path))}, or {run_dir.log}",
            )
        time.sleep(_POLL_SECONDS)
    if process.returncode == 0:  # it has finished already
        return process.pid
    failure = UsageError if process.returncode == UsageError.exit_code else RunFailedError
    raise failure(_printed(run_dir, printed_before) or f"the run ended with exit code {process.returncode}")


def _trains(run_dir: RunDirectory, pid: int) -> bool:
    with contextlib.suppress(UsageError, OSError), ControlClient(run_dir) as client:
        return client.hello.pid == pid and client.hello.state is not RunState.STARTING
    return False


def _printed(run_dir: RunDirectory, offset: int) -> str:
    """The last lines of the log, from `offset` on."""
    with run_dir.opened() as directory, directory.open_file(LOG_FILE) as log:
        log.seek(max(offset, log.seek(0, os.SEEK_END) - _MOST_PRINTED_BYTES))
        lines = log.read(_MOST_PRINTED_BYTES).decode("utf-8", "replace").strip().splitlines()
    return "\n".join(line.removeprefix("ppo-tui: ") for line in lines[-20:])
