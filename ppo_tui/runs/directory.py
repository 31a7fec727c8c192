"""The directory of a run, and its lock.

::

    runs/<name>/  config.toml  run.json  events.jsonl  metrics.jsonl  checkpoints/  run.log  workers.log
                  run.lock  control.sock
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shlex
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..config import Config, to_toml
from ..config.presets import MAX_PRESET_BYTES, parse_preset
from ..directories import Directory
from ..errors import UsageError
from ..files import RefusedFileError, decode_text
from .creation import ANOTHER, RUNS_DIR, git_commit, make_numbered, refuse_unless_free, unusable
from .entries import (
    CHECKPOINTS,
    CONFIG_FILE,
    EVENTS_FILE,
    LOCK_FILE,
    LOG_FILE,
    METRICS_FILE,
    TENSORBOARD,
    WORKERS_LOG_FILE,
    check_name,
    is_own_output,
    refuse_strangers,
    remove_unfinished,
)
from .facts import JSON_FILE, Facts, read_facts
from .lock import DirectoryLock, holder_of, last_holder_of
from .watch import DirectoryWatch


class RunDirectory:
    """The directory of one run: its paths, its ``run.json`` and its lock.

    A process with the lock holds the directory itself: it reads and writes wherever the directory is moved. Paths are
    for messages and for other programs.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()
        self._held: Directory | None = None
        self._lock = DirectoryLock(LOCK_FILE)
        self._facts: Facts | None = None
        self._watch: DirectoryWatch | None = None
        self._is_made = False
        self._updating = threading.RLock()

    @classmethod
    def plan(cls, *, label: str, name: str | None = None, path: Path | None = None) -> RunDirectory:
        """Choose the directory of a new run.

        That of an unnamed run is made at once, so that no other process takes its number; others are not written yet.

        Args:
            label: the preset; an unnamed run is named after it, with the next number.
            name: of the run, below ``./runs``.
            path: the directory itself, anywhere.

        Raises:
            UsageError: the name is no file name, or something else is in the directory already.
        """
        check_name(name)
        if path is None and name is None:
            run_dir = cls(make_numbered(label))
            run_dir._is_made = True
            return run_dir
        run_dir = cls(path or RUNS_DIR / str(name))
        try:
            with run_dir.opened() as directory:
                refuse_unless_free(directory, run_dir.path)
        except FileNotFoundError:
            if run_dir.path.is_symlink():
                raise UsageError(f"{run_dir.path} is a link that leads nowhere", hint=ANOTHER) from None
        except (OSError, ValueError) as error:
            raise unusable(run_dir.path, error) from None
        return run_dir

    @classmethod
    def create(
        cls,
        config: Config,
        *,
        label: str,
        name: str | None = None,
        path: Path | None = None,
        again: bool = False,
    ) -> RunDirectory:
        """Make and lock the directory of a new run.

        ``config.toml`` and ``run.json`` are written into it.

        Only its owner may enter the directory. The arguments are those of `plan`.

        Args:
            again: there was a run before, whose record has been set aside; the rest may stay.

        Raises:
            UsageError: the name is no file name, something else is in the directory, or it cannot be written.
        """
        run_dir = cls(path or RUNS_DIR / str(name)) if again else cls.plan(label=label, name=name, path=path)
        try:
            run_dir._is_made = run_dir._is_made or not run_dir.path.exists()
            run_dir.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            run_dir.acquire(new=not again)
            text = to_toml(config).encode()
            run_dir.update(
                name=name or run_dir.path.name,
                preset=label,
                status="starting",
                pid=os.getpid(),
                seed=config.run.seed,
                env=config.env.id,
                total_steps=config.planned_steps,
                started=time.time(),
                git=git_commit(),
                config_sha256=hashlib.sha256(text).hexdigest(),
            )
            run_dir._write(CONFIG_FILE, text)
            run_dir.held.subdirectory(CHECKPOINTS, make=True).close()
        except UsageError:
            run_dir._give_up()
            raise
        except (OSError, ValueError) as error:
            run_dir._give_up()
            raise unusable(run_dir.path, error) from None
        return run_dir

    def _give_up(self) -> None:
        """Release the directory; remove a new, empty one."""
        self.release()
        if self._is_made:
            with contextlib.suppress(OSError):
                self.path.rmdir()

    def reopen(self, config: Config, **rebuilt: Any) -> None:
        """Continue this run in this process, with `config`.

        Args:
            rebuilt: facts for ``run.json``, where it has lost them.

        Raises:
            UsageError: the directory cannot be written.
        """
        known = {"name": self.path.name, "seed": config.run.seed, "env": config.env.id, "started": self.started}
        facts = known | rebuilt | {key: value for key, value in self.read().items() if value is not None}
        facts |= {"status": "starting", "pid": os.getpid(), "total_steps": config.planned_steps}
        facts |= {"resumed": time.time(), "exit_code": None, "reason": None, "ended": None}
        try:
            self.update(**facts)
            self.write_config(config)
        except OSError as error:
            raise UsageError(f"the run directory {self.path} cannot be written: {error.strerror}") from None

    def write_config(self, config: Config) -> None:
        """Write ``config.toml``, and its checksum into ``run.json`` to detect edits by others."""
        text = to_toml(config).encode()
        self._write(CONFIG_FILE, text)
        self.update(config_sha256=hashlib.sha256(text).hexdigest())

    def read_config(self) -> dict[str, Any]:
        """The tables of ``config.toml``.

        Raises:
            UsageError: it is damaged: a link, no regular file, empty, or no TOML.
            OSError: it is missing, or cannot be read.
        """
        with self.opened() as directory:
            return parse_preset(
                decode_text(directory.read(CONFIG_FILE, MAX_PRESET_BYTES), self.config_path), self.config_path
            )

    @property
    def config_was_edited(self) -> bool:
        """Whether ``config.toml`` has been edited since `write_config`."""
        with contextlib.suppress(OSError, RefusedFileError), self.opened() as directory:
            digest = hashlib.sha256(directory.read(CONFIG_FILE, MAX_PRESET_BYTES)).hexdigest()
            return self.read().get("config_sha256", digest) != digest
        return True

    # ── Holding and locking ─────────────────────────────────────────────────────────────────────────────────

    @property
    def held(self) -> Directory:
        """The directory, held by this process since `acquire`."""
        assert self._held is not None, "acquire comes first"
        return self._held

    @contextlib.contextmanager
    def opened(self) -> Iterator[Directory]:
        """The directory, held at least while the context lasts.

        Raises:
            OSError: there is none, or it cannot be entered.
        """
        if self._held is not None:
            yield self._held
            return
        with Directory.open(self._path) as directory:
            yield directory

    @contextlib.contextmanager
    def reader(self) -> Iterator[RunDirectory]:
        """This run for several readings, with the directory opened once.

        Raises:
            OSError: there is none, or it cannot be entered.
        """
        with self.opened() as directory:
            reader = RunDirectory(self.path)
            reader._held, reader._facts = directory, read_facts(directory)
            yield reader

    def acquire(self, *, new: bool = False) -> None:
        """Hold and lock the directory, until `release` or the process's end.

        Args:
            new: for a new run.

        Raises:
            UsageError: another process holds it; the message names its pid. Or links and special files lie where the
                run's own files belong, or, for a new run, anything else does.
            OSError: the directory cannot be written.
        """
        directory = Directory.open(self._path)
        try:
            refuse_strangers(directory)
            if new:
                refuse_unless_free(directory, self.path)
            self._lock.acquire(directory)
            if new:  # a run may have come and gone before the lock was taken
                refuse_unless_free(directory, self.path)
            remove_unfinished(directory)
        except BaseException as error:
            self._lock.release()
            with directory:
                if isinstance(error, BlockingIOError):
                    raise self._in_use(directory) from None
            raise
        self._held = directory

    def release(self) -> None:
        """Unlock the directory."""
        self.stop_watching()
        self._lock.release()
        if self._held is not None:
            self._path = self._held.locate() or self._held.path
            self._held.close()
            self._held = self._facts = None

    def discard(self) -> None:
        """Remove a new run with its files."""
        for name in self.held.names():
            if self.held.is_directory(name):
                self.held.remove_tree(name)
            elif not is_own_output(self.held, name):
                self.held.remove(name)
        self._give_up()

    @property
    def holder(self) -> int | None:
        """Pid of the process with the lock, or None; 0 if unknown."""
        with contextlib.suppress(OSError), self.opened() as directory:
            return holder_of(directory)
        return None

    def _in_use(self, directory: Directory) -> UsageError:
        pid = last_holder_of(directory)
        return UsageError(
            f"{self.path} is in use by " + (f"pid {pid}" if pid else "another process"),
            hint=f"attach to it: ppo-tui attach {shlex.quote(str(self.path))}; or choose another --name or --run-dir",
        )

    def watch(self, report: Callable[[str], None]) -> None:
        """Report, from a thread, each move or removal of the directory."""
        self.stop_watching()
        self._watch = DirectoryWatch(self.held, report)

    def stop_watching(self) -> None:
        """End `watch`."""
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    # ── Files ───────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def path(self) -> Path:
        """Its path, as last known."""
        return self._held.path if self._held is not None else self._path

    @property
    def is_made(self) -> bool:
        """Whether this process has made the directory."""
        return self._is_made

    @property
    def name(self) -> str:
        return self.read().get("name") or self.path.name

    @property
    def argument(self) -> str:
        """Its shortest RUN for a command given here."""
        return self.path.name if self.path.parent == RUNS_DIR.absolute() else str(self.path)

    @property
    def started(self) -> float:
        """Start of the run, in seconds since the epoch; 0 if unknown.

        Without a record of it, it is the age of the oldest file.
        """
        started = self.read().get("started")
        if started is not None:
            return float(started)
        with contextlib.suppress(OSError), self.opened() as directory:
            found = (directory.stat(name) for name in (CONFIG_FILE, EVENTS_FILE, METRICS_FILE, JSON_FILE))
            return min((facts.st_mtime for facts in found if facts), default=0.0)
        return 0.0

    @property
    def config_path(self) -> Path:
        return self.path / CONFIG_FILE

    @property
    def json_path(self) -> Path:
        return self.path / JSON_FILE

    @property
    def events(self) -> Path:
        return self.path / EVENTS_FILE

    @property
    def metrics(self) -> Path:
        return self.path / METRICS_FILE

    @property
    def log(self) -> Path:
        return self.path / LOG_FILE

    @property
    def workers_log(self) -> Path:
        """Path of the workers' output, for other processes after a move too."""
        return (self._held.for_children if self._held else self.path) / WORKERS_LOG_FILE

    @property
    def socket(self) -> Path:
        """Path of the control socket, unless another is needed (see `address`)."""
        return self.path / "control.sock"

    @property
    def checkpoints(self) -> Path:
        return self.path / CHECKPOINTS

    @property
    def tensorboard(self) -> Path:
        return self.path / TENSORBOARD

    def append_to(self, name: str) -> int:
        """Open a file of the record for appending; return its descriptor.

        Raises:
            RefusedFileError: it is a link, or no regular file.
            OSError: it cannot be opened.
        """
        with self.opened() as directory:
            return directory.append_to(name)

    def read(self) -> dict[str, Any]:
        """Facts of ``run.json``, without damaged ones."""
        return self.facts().values

    def facts(self) -> Facts:
        """Facts of ``run.json``, and its damage."""
        if self._facts is not None:
            return self._facts
        try:
            with self.opened() as directory:
                return read_facts(directory)
        except OSError as error:
            return Facts({}, f"it cannot be read: {error.strerror}")

    def update(self, **facts: Any) -> None:
        """Merge facts into ``run.json`` atomically, from any thread.

        Readers find the old or the new contents, after a power failure too.

        Raises:
            OSError: the disk refuses.
        """
        with self._updating:
            merged = self.read() | facts
            if self._held is not None:
                self._facts = Facts(merged)
            self._write(JSON_FILE, (json.dumps(merged, indent=1) + "\n").encode())

    def _write(self, name: str, content: bytes) -> None:
        with self.opened() as directory:
            if directory.is_directory(name):
                directory.set_aside(name, "damaged")
            directory.write(name, content)
