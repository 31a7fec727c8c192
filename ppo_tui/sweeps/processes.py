"""A run of a sweep: a headless process on one core."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import UsageError
from ..plotting.series import Series
from ..runs import RunDirectory
from ..runs.history import recorded_metrics
from ..system.processes import own_command
from .definition import MILESTONES


class RunProcess:
    """A run of a sweep, resumed if its directory has a checkpoint.

    Args:
        arguments: of ``ppo-tui``, without the directory.
        steps: of the whole run.
        metric: of the milestones and the score.

    Attributes:
        code: exit code of the process; None before its end.
    """

    def __init__(self, path: Path, arguments: Sequence[str], *, steps: int, metric: str) -> None:
        self.run_dir = RunDirectory(path)
        self._arguments, self._steps, self._metric = arguments, steps, metric
        self._process: subprocess.Popen[bytes] | None = None
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `join`)
        self._read_at: tuple[int, int] | None = None
        self._milestones: list[float] = []
        self.code: int | None = None

    @property
    def free(self) -> bool:
        """Whether no process uses its directory.

        One of a killed sweep may still be saving.
        """
        return self.run_dir.holder is None

    @property
    def started(self) -> bool:
        return self._process is not None

    def start(self) -> None:
        """Start the process.

        Raises:
            UsageError: a link is where its directory should be.
        """
        if self.run_dir.path.is_symlink():
            raise UsageError(f"{self.run_dir.path} is a symbolic link", hint="remove it, or choose another --name")
        command = own_command("ppo_tui.sweeps.trial_process", str(os.getpid()), *self._arguments)
        command += ["--run-dir", str(self.run_dir.path)]
        self._process = subprocess.Popen(
            [*command, "--headless", "--quiet", "--resume", "auto"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            start_new_session=True,  # Ctrl+C reaches the sweep alone, which stops its runs
        )

    def poll(self) -> bool:
        """Whether it has ended."""
        if self.code is None and self._process is not None:
            self.code = self._process.poll()
        return self.code is not None

    def stop(self) -> None:
        """Ask it to save and end."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def join(self) -> None:
        """Wait for its end and close its files."""
        if self._process is not None:
            self._process.wait()
        self._errors.close()

    def milestones(self) -> list[float]:
        """The metric at each milestone so far; NaN before its first value."""
        try:
            facts = self.run_dir.metrics.stat()
            if (at := (facts.st_mtime_ns, facts.st_size)) != self._read_at:
                curves = recorded_metrics(self.run_dir)
                self._read_at = at
                self._milestones = self._values(curves)
        except (OSError, UsageError):  # there are no metrics yet
            pass
        return self._milestones

    def _values(self, curves: dict[str, Series]) -> list[float]:
        steps, series = curves.get("time/total_timesteps"), curves.get(self._metric)
        if not steps:
            return []
        done = steps.last
        at = np.arange(1, MILESTONES + 1) / MILESTONES * self._steps
        return [_last(series.values[series.steps <= step]) if series else float("nan") for step in at[at <= done]]

    def score(self) -> float:
        """The last value of the metric; NaN without any."""
        try:
            series = recorded_metrics(self.run_dir).get(self._metric)
        except (OSError, UsageError):
            return float("nan")
        return _last(series.values) if series else float("nan")

    def failure(self) -> str:
        """The reason for its failure, in one line."""
        self._errors.seek(0)
        printed = self._errors.read().decode("utf-8", "replace").strip().splitlines()
        reason = self.run_dir.read().get("reason")
        return str(reason or (printed[-1] if printed else f"exit code {self.code}")).splitlines()[0]


def _last(values: np.ndarray) -> float:
    """The last finite value; NaN without any."""
    known = values[np.isfinite(values)]
    return float(known[-1]) if len(known) else float("nan")
