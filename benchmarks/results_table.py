"""From scores to ``docs/results.md`` and the CSV files beside it."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from benchmarks.experiments import Experiment
from benchmarks.reference_curves import course_lines, read_course, read_reference
from ppo_tui.comparison.curves import group_curve
from ppo_tui.comparison.export import write_csv
from ppo_tui.comparison.groups import group_runs, read_run
from ppo_tui.errors import UsageError
from ppo_tui.runs import RunDirectory
from ppo_tui.statistics import Estimate, bootstrap

BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"
"""Lines of ``results.md`` around the generated part."""

CURVE = "rollout/ep_rew_mean"


@dataclass(frozen=True)
class Score:
    """The score of one run.

    Attributes:
        actions: ``greedy`` or ``sampled``.
        step: environment steps of training.
        returns, lengths: of each episode.
    """

    experiment: Experiment
    seed: int
    actions: str
    step: int
    returns: tuple[float, ...]
    lengths: tuple[int, ...]

    @classmethod
    def read(cls, experiment: Experiment, file: Path) -> Score:
        """Read ``seed-N/eval-ACTIONS.json``, the output of ``ppo-tui eval --json``."""
        report = json.loads(file.read_bytes())
        return cls(
            experiment,
            seed=int(file.parent.name.removeprefix("seed-")),
            actions=report["protocol"]["actions"],
            step=report["step"],
            returns=tuple(report["returns"]),
            lengths=tuple(report["lengths"]),
        )

    @property
    def mean(self) -> float:
        return float(np.mean(self.returns))


def check_page(docs: Path) -> Path:
    """The page of the tables, ``results.md``.

    Raises:
        UsageError: the file is missing, or has no such lines.
    """
    page = docs / "results.md"
    text = page.read_text("utf-8") if page.is_file() else ""
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise UsageError(f"{page} has no lines {BEGIN} and {END}, between which the tables go")
    return page


def write_results(scores: Sequence[Score], runs: Path, docs: Path) -> None:
    """The table in ``results.md``, ``results/scores.csv``, ``results/games.csv`` and a curve for each preset.

    Raises:
        UsageError: as `check_page`.
    """
    page = check_page(docs)
    before, rest = page.read_text("utf-8").split(BEGIN)
    folder = docs / "results"
    folder.mkdir(exist_ok=True)
    tables = "\n".join([*table_lines(scores), *_courses(runs, folder / "reference.csv")])
    page.write_text(f"{before}{BEGIN}\n{tables}\n{END}{rest.split(END)[1]}", "utf-8")
    _write_scores(folder / "scores.csv", scores)
    _write_games(folder / "games.csv", scores)
    for preset in dict.fromkeys(score.experiment.preset for score in scores):
        found = [read_run(RunDirectory(path), CURVE) for path in sorted((runs / preset).glob("seed-*"))]
        write_csv(folder / f"{preset}.csv", [group_curve(group) for group in group_runs(found, "env")])


def _courses(runs: Path, reference: Path) -> Iterator[str]:
    """A table for each preset with a reference."""
    if not reference.is_file():
        return
    for preset, stretches in read_reference(reference).items():
        if found := sorted((runs / preset).glob("seed-*/events.jsonl")):
            yield ""
            yield from course_lines(preset, [read_course(events) for events in found], stretches)


def table_lines(scores: Sequence[Score]) -> Iterator[str]:
    """A Markdown table of scores, by preset and choice of actions."""
    yield "| preset | steps | actions | mean return of all seeds [95 % interval] | each seed | target | published |"
    yield "|---|--:|---|--:|---|--:|---|"
    by_kind = sorted(scores, key=lambda score: score.actions)
    for experiment in dict.fromkeys(score.experiment for score in scores):
        members = [score for score in by_kind if score.experiment == experiment]
        for actions, same in groupby(members, key=lambda score: score.actions):
            yield _line(experiment, actions, list(same))


def _line(experiment: Experiment, actions: str, scores: Sequence[Score]) -> str:
    estimate = over_seeds(scores)
    shown = _number(float(estimate.value))
    if len(scores) > 1:
        shown += f" [{_number(float(estimate.low))}, {_number(float(estimate.high))}]"
    target = ""
    if experiment.target is not None and actions == "greedy":
        reached = "reached" if estimate.value >= experiment.target else "missed"
        target = f"{_number(experiment.target)}: {reached}"
    seeds = " · ".join(_number(score.mean) for score in sorted(scores, key=lambda score: score.seed))
    published = f"{experiment.published}, {experiment.source}" if experiment.source else experiment.published
    steps = max(score.step for score in scores)
    return f"| `{experiment.preset}` | {steps:,} | {actions} | {shown} | {seeds} | {target} | {published} |"


def over_seeds(scores: Sequence[Score]) -> Estimate:
    """The mean of the seeds' means, with its bootstrap interval.

    The seeds are resampled: the interval is of training, not of episodes.
    """
    return bootstrap([np.array([score.mean for score in scores])])


def _number(value: float) -> str:
    return f"{value:,.1f}".replace("-", "−")


def _write_scores(file: Path, scores: Sequence[Score]) -> None:
    """Write a line for each run.

    The interval is of its mean over episodes.
    """
    with file.open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(("preset", "seed", "actions", "step", "games", "mean", "low", "high", "std", "min", "max"))
        for score in scores:
            returns = np.array(score.returns)
            numbers = (*bootstrap([returns]), returns.std(ddof=1), returns.min(), returns.max())
            facts = (score.experiment.preset, score.seed, score.actions, score.step, len(returns))
            table.writerow((*facts, *(f"{number:.6g}" for number in numbers)))


def _write_games(file: Path, scores: Sequence[Score]) -> None:
    """Write a line for each episode, raw."""
    with file.open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(("preset", "seed", "actions", "game", "return", "length"))
        for score in scores:
            facts = (score.experiment.preset, score.seed, score.actions)
            for game, (number, length) in enumerate(zip(score.returns, score.lengths, strict=True)):
                table.writerow((*facts, game, f"{number:.6g}", length))
