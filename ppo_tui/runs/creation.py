"""The place of a new run: free, or numbered."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from pathlib import Path

from ..directories import Directory
from ..errors import UsageError
from ..text import printable
from .entries import AS_GOOD_AS_NOTHING, LOCK_FILE, is_own_output
from .facts import JSON_FILE
from .lock import holder_of

RUNS_DIR = Path("runs")
"""Parent of the run directories that are not named explicitly."""

_COMMIT = re.compile(rb"[0-9a-f]{40,64}")

ANOTHER = "choose another --name or --run-dir"


def make_numbered(label: str) -> Path:
    """Make ``runs/<label>-<number>``, with the number after the highest.

    Raises:
        UsageError: it cannot be made.
    """
    stem = (re.sub(r"[^A-Za-z0-9._-]+", "-", label).strip("-._") or "run")[:60]
    number = re.compile(rf"{re.escape(stem)}-(\d{{1,9}})", re.IGNORECASE | re.ASCII)
    try:
        RUNS_DIR.mkdir(parents=True, exist_ok=True)
        while True:
            taken = (number.fullmatch(name) for name in os.listdir(RUNS_DIR))
            path = RUNS_DIR / f"{stem}-{1 + max((int(found[1]) for found in taken if found), default=0)}"
            with contextlib.suppress(FileExistsError):  # another process was quicker
                path.mkdir(mode=0o700)
                return path
    except OSError as error:
        raise unusable(RUNS_DIR, error) from None


def refuse_unless_free(directory: Directory, path: Path) -> None:
    """Refuse a directory with a run, or with anything else, in it.

    Args:
        path: as messages name it.

    Raises:
        UsageError: naming what is there.
    """
    names = [name for name in directory.names() if name not in AS_GOOD_AS_NOTHING | {LOCK_FILE}]
    if JSON_FILE in names:
        pid = holder_of(directory)
        raise UsageError(
            f"{path} is in use by pid {pid}" if pid else f"{path} already holds a run",
            hint=f"{ANOTHER}; nothing was overwritten",
        )
    if strangers := [name for name in names if not is_own_output(directory, name)]:
        others = f" and {len(strangers) - 1} more" if len(strangers) > 1 else ""
        raise UsageError(
            f"{path} is not empty, and holds no run: {printable(strangers[0])!r}{others}",
            hint=f"{ANOTHER}; nothing was changed",
        )


def unusable(path: Path, error: OSError | ValueError) -> UsageError:
    """The error of a run directory without a place to write."""
    reason = error.strerror if isinstance(error, OSError) else str(error)
    shown = printable(str(path))
    return UsageError(
        f"the run directory {shown if len(shown) <= 300 else shown[:299] + '…'} cannot be written: {reason}",
        hint="choose another --run-dir",
    )


def git_commit() -> str | None:
    """The commit of this source, if run from a clone."""
    source = Path(__file__).resolve().parents[2]
    if not (source / ".git").exists():
        return None
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        command = ["git", "-C", str(source), "rev-parse", "HEAD"]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=5, check=True)
        commit = done.stdout.strip()
        return commit.decode() if _COMMIT.fullmatch(commit) else None  # whatever is called git on this PATH
    return None
