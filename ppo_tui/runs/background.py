"""Runs in the background: started so that no terminal and no shell is left that could end them."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from ..config import Config, imports_code, to_toml
from ..errors import RunFailedError, UsageError
from ..protocol import RunState
from .client import ControlClient
from .directory import RunDirectory

START_SECONDS = 300.0
"""How long a run may take from its start to its first step. Workers with heavy environments take a while."""

_LOOK_SECONDS = 0.05


def start_detached(config: Config, *, label: str, name: str | None, run_dir: Path | None) -> RunDirectory:
    """Start a new run in the background and return its directory once it trains.

    Raises:
        UsageError: the run cannot start as it was asked for; nothing of it is left.
        RunFailedError: it failed while it started; its directory tells more.
    """
    run = RunDirectory.plan(label=label, name=name, path=run_dir)
    ours = not run.path.exists()
    try:
        run.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        run.config_path.write_text(to_toml(config), "utf-8")
    except OSError as error:
        raise UsageError(
            f"the run directory {run.path} cannot be written: {error.strerror}", hint="choose another --run-dir"
        ) from None
    arguments = ["--preset", str(run.config_path), "--run-dir", str(run.path), "--headless"]
    arguments += ["--name", name] if name is not None else []
    arguments += ["--allow-import"] if imports_code(config) else []
    try:
        start_process(run, arguments)
    except UsageError:
        if ours and not run.json_path.exists():
            shutil.rmtree(run.path, ignore_errors=True)
        raise
    return run


def start_process(run: RunDirectory, arguments: Sequence[str]) -> int:
    """Start ``ppo-tui ARGUMENTS``, which trains in the directory of `run`, and return its pid once it does.

    The process has a session of its own, no terminal, and ``run.log`` for what it prints.

    Raises:
        UsageError: it refused to start; the message is its own.
        RunFailedError: it failed, or has not begun to train within `START_SECONDS`.
    """
    with run.log.open("ab") as log:
        printed_before = log.tell()
        process = subprocess.Popen(
            [sys.executable, "-m", "ppo_tui", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None:
        if _trains(run, process.pid):
            return process.pid
        if time.monotonic() > deadline:
            raise RunFailedError(
                f"{run.path.name} (pid {process.pid}) has not begun to train within {START_SECONDS:.0f} s",
                hint=f"see what it does: ppo-tui attach {run.path}, or {run.log}",
            )
        time.sleep(_LOOK_SECONDS)
    if process.returncode == 0:  # as short as that
        return process.pid
    failure = UsageError if process.returncode == UsageError.exit_code else RunFailedError
    raise failure(_printed(run.log, printed_before) or f"the run ended with exit code {process.returncode}")


def _trains(run: RunDirectory, pid: int) -> bool:
    with contextlib.suppress(UsageError, OSError), ControlClient(run) as client:
        return client.hello.pid == pid and client.hello.state is not RunState.STARTING
    return False


def _printed(log: Path, offset: int) -> str:
    """What a process that has ended printed last."""
    lines = log.read_bytes()[offset:].decode("utf-8", "replace").strip().splitlines()
    return "\n".join(line.removeprefix("ppo-tui: ") for line in lines[-20:])
