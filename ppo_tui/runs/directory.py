"""The directory of a run, and its lock.

::

    runs/<name>/  config.toml  run.json  events.jsonl  metrics.jsonl  checkpoints/  run.log  workers.log
                  run.lock  control.sock
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import subprocess
import time
from pathlib import Path
from typing import Any

from ..config import Config, to_toml
from ..errors import UsageError

RUNS_DIR = Path("runs")
"""Parent of the run directories that are not named explicitly."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

_LOCK_WAIT_SECONDS = 0.5
"""A lock may be taken for microseconds by a process that only looks at it (`RunLock.holder`)."""


class RunDirectory:
    """The directory of one run: its paths, its ``run.json`` and its lock."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._lock = RunLock(self.path / "run.lock")

    @classmethod
    def plan(cls, *, label: str, name: str | None = None, path: Path | None = None) -> RunDirectory:
        """Choose the directory of a new run; nothing is written yet.

        Args:
            label: the preset; an unnamed run is named after it and the time.
            name: of the run, below ``./runs``.
            path: the directory itself, anywhere.

        Raises:
            UsageError: the name is no file name, or the directory holds a run already.
        """
        if name is not None and not _NAME.fullmatch(name):
            raise UsageError(
                f"--name {name!r}: a run's name is letters, digits, '.', '_' and '-', starting with a letter or digit"
            )
        run_dir = cls(path or _free_path(label) if name is None else (path or RUNS_DIR / name))
        run_dir._refuse_second_run()
        return run_dir

    @classmethod
    def create(cls, config: Config, *, label: str, name: str | None = None, path: Path | None = None) -> RunDirectory:
        """Make and lock the directory of a new run.

        ``config.toml`` and ``run.json`` are written into it.

        Only its owner may enter the directory. The arguments are those of `plan`.

        Raises:
            UsageError: the name is no file name, the directory holds a run already, or cannot be written.
        """
        run_dir = cls.plan(label=label, name=name, path=path)
        try:
            run_dir.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            run_dir.acquire()
            run_dir._refuse_second_run()  # one may have come and gone before the lock was taken
            run_dir.checkpoints.mkdir(exist_ok=True)
            run_dir.write_config(config)
            run_dir.update(
                name=name or run_dir.path.name,
                preset=label,
                status="starting",
                pid=os.getpid(),
                seed=config.run.seed,
                env=config.env.id,
                total_steps=config.planned_steps,
                started=time.time(),
                git=_git_commit(),
            )
        except UsageError:
            run_dir.release()
            raise
        except OSError as error:
            run_dir.release()
            raise UsageError(
                f"the run directory {run_dir.path} cannot be written: {error.strerror}", hint="choose another --run-dir"
            ) from None
        return run_dir

    def reopen(self, config: Config) -> None:
        """Continue this run in this process, with `config`.

        Raises:
            UsageError: the directory cannot be written.
        """
        try:
            self.write_config(config)
            self.update(
                status="starting",
                pid=os.getpid(),
                total_steps=config.planned_steps,
                resumed=time.time(),
                exit_code=None,
                reason=None,
                ended=None,
            )
        except OSError as error:
            raise UsageError(f"the run directory {self.path} cannot be written: {error.strerror}") from None

    def write_config(self, config: Config) -> None:
        """Write ``config.toml``, and its checksum into ``run.json`` to detect edits by others."""
        text = to_toml(config)
        temporary = self.path / ".config.toml.tmp"
        temporary.write_text(text, "utf-8")
        temporary.replace(self.config_path)
        self.update(config_sha256=hashlib.sha256(text.encode()).hexdigest())

    @property
    def config_was_edited(self) -> bool:
        """Whether ``config.toml`` has been edited since `write_config`."""
        with contextlib.suppress(OSError):
            digest = hashlib.sha256(self.config_path.read_bytes()).hexdigest()
            return self.read().get("config_sha256", digest) != digest
        return True

    def _refuse_second_run(self) -> None:
        if self.json_path.exists():
            holder = self.holder
            raise UsageError(
                f"{self.path} is in use by pid {holder}" if holder else f"{self.path} already holds a run",
                hint="choose another --name or --run-dir; nothing was overwritten",
            )

    # ── The lock ────────────────────────────────────────────────────────────────────────────────────────────

    def acquire(self) -> None:
        """Lock the directory for this process, until it ends or calls `release`.

        Raises:
            UsageError: another process holds it; the message names its pid.
            OSError: the directory cannot be written.
        """
        self._lock.acquire()

    def release(self) -> None:
        """Unlock the directory."""
        self._lock.release()

    @property
    def holder(self) -> int | None:
        """The pid of the process with the lock, or None."""
        return self._lock.holder()

    # ── Files ───────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def name(self) -> str:
        return self.read()["name"]

    @property
    def config_path(self) -> Path:
        return self.path / "config.toml"

    @property
    def json_path(self) -> Path:
        return self.path / "run.json"

    @property
    def events(self) -> Path:
        return self.path / "events.jsonl"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def log(self) -> Path:
        return self.path / "run.log"

    @property
    def workers_log(self) -> Path:
        return self.path / "workers.log"

    @property
    def socket(self) -> Path:
        """Path of the control socket, unless another is needed (see `address`)."""
        return self.path / "control.sock"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def tensorboard(self) -> Path:
        return self.path / "tensorboard"

    def read(self) -> dict[str, Any]:
        """Contents of ``run.json``; empty if missing or damaged."""
        with contextlib.suppress(OSError, ValueError):
            content = json.loads(self.json_path.read_bytes())
            if isinstance(content, dict):
                return content
        return {}

    def update(self, **facts: Any) -> None:
        """Merge facts into ``run.json`` atomically.

        Readers find the old or the new contents.
        """
        temporary = self.path / ".run.json.tmp"
        temporary.write_text(json.dumps(self.read() | facts, indent=1) + "\n", "utf-8")
        temporary.replace(self.json_path)


def _free_path(label: str) -> Path:
    """``runs/<label>-<time>``, numbered if it exists already."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", label).strip("-._") or "run"
    stem = f"{stem[:60]}-{time.strftime('%Y%m%d-%H%M%S')}"
    path, number = RUNS_DIR / stem, 2
    while path.exists():
        path, number = RUNS_DIR / f"{stem}-{number}", number + 1
    return path


def _git_commit() -> str | None:
    """The commit of this source, if run from a clone."""
    source = Path(__file__).resolve().parents[2]
    if not (source / ".git").exists():
        return None
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        command = ["git", "-C", str(source), "rev-parse", "HEAD"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
        return done.stdout.strip()
    return None


class RunLock:
    """An advisory lock (``flock``) on a file with its holder's pid.

    The file stays when the lock is gone; only the lock counts, so a file left behind by a killed process is no
    obstacle.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock, until `release` or the end of this process.

        Raises:
            UsageError: another process holds it; the message names its pid.
            OSError: the file cannot be written.
        """
        # Not inheritable (PEP 446): no worker can hold the lock of a run that has ended.
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        deadline = time.monotonic() + _LOCK_WAIT_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    pid = _pid_in(descriptor)
                    os.close(descriptor)
                    raise UsageError(
                        f"{self._path.parent} is in use by pid {pid}",
                        hint=f"attach to it: ppo-tui attach {self._path.parent}; or choose another --name or --run-dir",
                    ) from None
                time.sleep(0.01)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the lock back; without the lock, do nothing."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def holder(self) -> int | None:
        """The pid of the lock's holder, or None when it is free.

        0 means that the holder has not written its pid yet.
        """
        try:
            descriptor = os.open(self._path, os.O_RDONLY)
        except OSError:
            return None
        with contextlib.closing(os.fdopen(descriptor, "rb")):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return _pid_in(descriptor)
        return None


def _pid_in(descriptor: int) -> int:
    text = os.pread(descriptor, 32, 0).strip()
    return int(text) if text.isdigit() else 0
