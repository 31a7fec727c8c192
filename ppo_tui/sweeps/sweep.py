"""Run a sweep: start trials, prune them, record their scores."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import optuna
from optuna.trial import TrialState

from ..config import load_preset
from ..directories import Directory
from ..errors import ConfigError
from ..plotting import formats
from ..runs.entries import RESULTS_FILE
from .definition import MILESTONES, Definition
from .processes import RunProcess
from .space import Choice, Span
from .trials import INDEX, Result, ask, open_study, settled

LOOK_SECONDS = 0.5
"""Time between two looks at the runs."""


class _Active:
    """A trial under way, with one run for each seed."""

    def __init__(self, trial: optuna.Trial, settings: dict[str, str], runs: Sequence[RunProcess]) -> None:
        self.trial, self.settings, self.runs = trial, settings, runs
        self.index: int = trial.user_attrs[INDEX]
        self.pruned = False
        self._reported = self._quarters = 0

    @property
    def failed(self) -> RunProcess | None:
        return next((run for run in self.runs if run.code), None)

    @property
    def over(self) -> bool:
        """Whether none of its runs is running or will start."""
        if self.pruned or self.failed:
            return all(run.poll() for run in self.runs if run.started)
        return all(run.poll() for run in self.runs)

    @property
    def waiting(self) -> RunProcess | None:
        """Its next run to start."""
        if self.pruned or self.failed:
            return None
        return next((run for run in self.runs if not run.started), None)

    def stop(self) -> None:
        for run in self.runs:
            run.stop()

    def join(self) -> None:
        for run in self.runs:
            run.join()

    def progress(self) -> str:
        """A line when another quarter of the trial is done, else nothing."""
        milestones = [run.milestones() for run in self.runs]
        quarters = 4 * sum(map(len, milestones)) // (MILESTONES * len(self.runs))
        if not self._quarters < quarters < 4:
            return ""
        self._quarters = quarters
        score = formats.score(statistics.fmean(values[-1] for values in milestones if values))
        return f"trial {self.index}: {25 * quarters} % done, {score} so far"

    def prune_if_hopeless(self) -> None:
        """Report milestones passed by all seeds; stop if others were better."""
        for step, values in enumerate(zip(*(run.milestones() for run in self.runs), strict=False)):
            if step < self._reported:
                continue
            self._reported = step + 1
            if (mean := statistics.fmean(values)) == mean:
                self.trial.report(mean, step)
                if self.trial.should_prune():
                    self.pruned = True
                    self.stop()
                    return


class Sweep:
    """A sweep in a directory locked by this process.

    Args:
        search: the search space.
        trials: number of trials, including those of earlier commands.
        processes: runs at a time.
        prune: stop trials early that are worse than others.
        log: receives a line about each trial that begins or ends.
    """

    def __init__(
        self,
        directory: Path,
        definition: Definition,
        search: Sequence[Span | Choice],
        *,
        trials: int,
        processes: int,
        prune: bool = True,
        allow_import: bool = False,
        log: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._directory, self._definition, self._search = directory, definition, search
        self._trials, self._processes, self._prune, self._log = trials, processes, prune, log
        self._allow_import = allow_import
        self._study = open_study(directory / "study.db", seed=definition.seeds[0])
        self._active: list[_Active] = []

    def run(self) -> None:
        """Run all trials to their end.

        If this raises, the runs are saved, and the same command continues them.
        """
        try:
            while self._start_some() or self._active:
                for active in self._active:
                    if line := active.progress():
                        self._log(line)
                    if self._prune and not active.pruned and not active.failed:
                        active.prune_if_hopeless()
                    if active.failed:
                        active.stop()
                for active in [active for active in self._active if active.over]:
                    self._active.remove(active)
                    self._settle(active)
                if self._active:
                    time.sleep(LOOK_SECONDS)
        finally:
            for active in self._active:
                active.stop()
            for active in self._active:
                active.join()

    def results(self) -> list[Result]:
        """Results of the ended trials, best first."""
        names = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned"}
        return [
            Result(
                trial=trial.user_attrs[INDEX],
                score=trial.value,
                state=names.get(trial.state, "failed"),
                settings=trial.params,
                runs=tuple(str(path) for path in self._paths(trial.user_attrs[INDEX]) if path.exists()),
            )
            for trial in settled(self._study)
        ]

    # ── Starting ────────────────────────────────────────────────────────────────────────────────────────────

    def _start_some(self) -> bool:
        """Start runs up to the limit; return whether any was started."""
        started = False
        running = sum(run.started and not run.poll() for active in self._active for run in active.runs)
        while running < self._processes:
            active = next((active for active in self._active if active.waiting), None) or self._begin()
            run = active.waiting if active else None
            if run is None or not run.free:
                break
            run.start()
            running, started = running + 1, True
        return started

    def _begin(self) -> _Active | None:
        trial = ask(self._study, self._trials)
        if trial is None:
            return None
        settings = {one.key: one.suggest(trial) for one in self._search}
        index = trial.user_attrs[INDEX]
        try:
            runs = [
                self._process(path, settings, seed)
                for path, seed in zip(self._paths(index), self._definition.seeds, strict=True)
            ]
        except ConfigError as error:  # each value is valid alone, but not with the others
            self._study.tell(trial, state=TrialState.FAIL)
            self._log(f"trial {index} failed: {error.message}")
            return self._begin()
        active = _Active(trial, settings, runs)
        self._active.append(active)
        self._log(f"trial {index} begins{_described(settings)}")
        return active

    def _paths(self, index: int) -> list[Path]:
        seeds = self._definition.seeds
        stem = self._directory / f"trial-{index:03}"
        return [stem] if len(seeds) == 1 else [stem.with_name(f"{stem.name}-seed-{seed}") for seed in seeds]

    def _process(self, path: Path, settings: dict[str, str], seed: int) -> RunProcess:
        definition = self._definition
        overrides = [*definition.overrides, *(f"{key}={value}" for key, value in settings.items()), f"run.seed={seed}"]
        config = load_preset(definition.preset, overrides=overrides, allow_import=self._allow_import)
        # One core for each run, as `processes` counts them.
        overrides += ["run.torch_threads=1"] if config.run.torch_threads == "auto" else []
        overrides += ["workers.count=1"] if config.workers.count == "auto" and config.run.algorithm == "ppo" else []
        arguments = ["--preset", definition.preset, *(part for one in overrides for part in ("--set", one))]
        arguments += ["--allow-import"] if self._allow_import else []
        return RunProcess(path, arguments, steps=config.planned_steps, metric=definition.metric)

    # ── Ending ──────────────────────────────────────────────────────────────────────────────────────────────

    def _settle(self, active: _Active) -> None:
        """Give the outcome of a trial to the study."""
        name = f"trial {active.index}"
        if active.pruned:
            self._study.tell(active.trial, state=TrialState.PRUNED)
            self._log(f"{name} pruned: others had better scores at that point")
        elif failed := active.failed:
            self._study.tell(active.trial, state=TrialState.FAIL)
            self._log(f"{name} failed: {failed.failure()}")
        elif math.isfinite(score := statistics.fmean(run.score() for run in active.runs)):
            self._study.tell(active.trial, score)
            self._log(f"{name}: {formats.score(score)}{_described(active.settings)}")
        else:
            self._study.tell(active.trial, state=TrialState.FAIL)
            self._log(f"{name} failed: it has no {self._definition.metric}")
        active.join()
        self._publish()

    def _publish(self) -> None:
        """Write the results so far, for lists of runs."""
        try:
            with Directory.open(self._directory) as directory:
                directory.write(RESULTS_FILE, msgspec.json.encode(self.results()), through=False)
        except OSError as error:
            self._log(f"{self._directory / RESULTS_FILE} cannot be written: {error.strerror}")


def _described(settings: dict[str, str]) -> str:
    return f" with {', '.join(f'{key}={value}' for key, value in settings.items())}" if settings else ""
