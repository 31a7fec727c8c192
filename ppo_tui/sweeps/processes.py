"""One run of a sweep: a headless process with one core's threads, and what its metrics say so far."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..plotting.series import read_metrics
from ..runs import RunDirectory
from ..system import signal_when_parent_dies
from .definition import MILESTONES


class RunProcess:
    """A run that begins, or goes on where its directory has a checkpoint, once it is started.

    Args:
        arguments: of ``ppo-tui``, but for the directory.
        steps: of the whole run.
        metric: the one that is watched.
    """

    def __init__(self, path: Path, arguments: Sequence[str], *, steps: int, metric: str) -> None:
        self.run = RunDirectory(path)
        self._arguments, self._steps, self._metric = arguments, steps, metric
        self._process: subprocess.Popen | None = None
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (it lives as long as this)
        self._read_at: tuple[int, int] | None = None
        self._milestones: list[float] = []
        self.code: int | None = None
        """What the process has left with; None before it has."""

    @property
    def free(self) -> bool:
        """Whether no process is in its directory: one of a sweep that was killed may still be saving."""
        return self.run.holder is None

    @property
    def started(self) -> bool:
        return self._process is not None

    def start(self) -> None:
        command = [sys.executable, "-m", "ppo_tui", *self._arguments, "--run-dir", str(self.run.path)]
        self._process = subprocess.Popen(
            [*command, "--headless", "--quiet", "--resume", "auto"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            start_new_session=True,  # ctrl+C is the sweep's business
            preexec_fn=_end_with_sweep,
        )

    def poll(self) -> bool:
        """Whether it is over."""
        if self.code is None and self._process is not None:
            self.code = self._process.poll()
        return self.code is not None

    def stop(self) -> None:
        """Ask it to save and to end."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def join(self) -> None:
        """Wait for its end, after which nothing more is asked of this."""
        if self._process is not None:
            self._process.wait()
        self._errors.close()

    def milestones(self) -> list[float]:
        """The metric when 1/20, 2/20, … of the steps were done, as far as the run is; NaN where it had no value yet."""
        try:
            facts = self.run.metrics.stat()
            if (at := (facts.st_mtime_ns, facts.st_size)) != self._read_at:
                curves = read_metrics(self.run.metrics)
                self._read_at = at
                self._milestones = self._values(curves)
        except OSError:  # not there yet
            pass
        return self._milestones

    def _values(self, curves: dict) -> list[float]:
        steps, series = curves.get("time/total_timesteps"), curves.get(self._metric)
        if not steps:
            return []
        done = steps.last
        at = np.arange(1, MILESTONES + 1) / MILESTONES * self._steps
        return [_last(series.values[series.steps <= step]) if series else float("nan") for step in at[at <= done]]

    def score(self) -> float:
        """The metric's last value; NaN where it never had one."""
        try:
            series = read_metrics(self.run.metrics).get(self._metric)
        except OSError:
            return float("nan")
        return _last(series.values) if series else float("nan")

    def failure(self) -> str:
        """Why it failed, in a line."""
        self._errors.seek(0)
        said = self._errors.read().decode("utf-8", "replace").strip().splitlines()
        reason = self.run.read().get("reason")
        return str(reason or (said[-1] if said else f"exit code {self.code}")).splitlines()[0]


def _last(values: np.ndarray) -> float:
    """The last number among them; NaN without any."""
    known = values[np.isfinite(values)]
    return float(known[-1]) if len(known) else float("nan")


def _end_with_sweep() -> None:
    """Let the run save and end when the sweep is killed; other systems than Linux let it go on, and it is awaited."""
    signal_when_parent_dies(signal.SIGTERM)
