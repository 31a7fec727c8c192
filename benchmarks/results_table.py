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
"""What lies between these lines of ``results.md`` is written anew."""

CURVE = "rollout/ep_rew_mean"


@dataclass(frozen=True)
class Score:
    """How one run played.

    Attributes:
        actions: ``greedy`` or ``sampled``.
        step: environment steps that the run had been trained for.
        returns, lengths: of each full game.
    """

    experiment: Experiment
    seed: int
    actions: str
    step: int
    returns: tuple[float, ...]
    lengths: tuple[int, ...]

    @classmethod
    def read(cls, experiment: Experiment, file: Path) -> Score:
        """From what ``ppo-tui eval --json`` has written into ``seed-N/eval-ACTIONS.json``."""
        said = json.loads(file.read_bytes())
        return cls(
            experiment,
            seed=int(file.parent.name.removeprefix("seed-")),
            actions=said["protocol"]["actions"],
            step=said["step"],
            returns=tuple(said["returns"]),
            lengths=tuple(said["lengths"]),
        )

    @property
    def mean(self) -> float:
        return float(np.mean(self.returns))


def check_page(docs: Path) -> Path:
    """The file that the tables go into.

    Raises:
        UsageError: it is not there, or has no place for them.
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
    """A table beside the reference's for each preset that has one."""
    if not reference.is_file():
        return
    for preset, stretches in read_reference(reference).items():
        if found := sorted((runs / preset).glob("seed-*/events.jsonl")):
            yield ""
            yield from course_lines(preset, [read_course(events) for events in found], stretches)


def table_lines(scores: Sequence[Score]) -> Iterator[str]:
    """A Markdown table with a line for each preset and way of choosing actions."""
    yield "| preset | steps | actions | mean return of all seeds [95 % interval] | each seed | target | published |"
    yield "|---|--:|---|--:|---|--:|---|"
    by_kind = sorted(scores, key=lambda score: score.actions)
    for experiment in dict.fromkeys(score.experiment for score in scores):
        members = [score for score in by_kind if score.experiment == experiment]
        for actions, same in groupby(members, key=lambda score: score.actions):
            yield _line(experiment, actions, list(same))


def _line(experiment: Experiment, actions: str, scores: Sequence[Score]) -> str:
    estimate = over_seeds(scores)
    shown = _number(estimate.value)
    if len(scores) > 1:
        shown += f" [{_number(estimate.low)}, {_number(estimate.high)}]"
    target = ""
    if experiment.target is not None and actions == "greedy":
        reached = "reached" if estimate.value >= experiment.target else "missed"
        target = f"{_number(experiment.target)}: {reached}"
    seeds = " · ".join(_number(score.mean) for score in sorted(scores, key=lambda score: score.seed))
    published = f"{experiment.published}, {experiment.source}" if experiment.source else experiment.published
    steps = max(score.step for score in scores)
    return f"| `{experiment.preset}` | {steps:,} | {actions} | {shown} | {seeds} | {target} | {published} |"


def over_seeds(scores: Sequence[Score]) -> Estimate:
    """The mean of the seeds' means, with the interval that resampling the seeds gives: of training, not of games."""
    return bootstrap([np.array([score.mean for score in scores])])


def _number(value: float) -> str:
    return f"{value:,.1f}".replace("-", "−")


def _write_scores(file: Path, scores: Sequence[Score]) -> None:
    """A line for each run; the interval is of its mean over games."""
    with file.open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(("preset", "seed", "actions", "step", "games", "mean", "low", "high", "std", "min", "max"))
        for score in scores:
            returns = np.array(score.returns)
            numbers = (*bootstrap([returns]), returns.std(ddof=1), returns.min(), returns.max())
            facts = (score.experiment.preset, score.seed, score.actions, score.step, len(returns))
            table.writerow((*facts, *(f"{number:.6g}" for number in numbers)))


def _write_games(file: Path, scores: Sequence[Score]) -> None:
    """A line for each game, raw."""
    with file.open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(("preset", "seed", "actions", "game", "return", "length"))
        for score in scores:
            facts = (score.experiment.preset, score.seed, score.actions)
            for game, (number, length) in enumerate(zip(score.returns, score.lengths, strict=True)):
                table.writerow((*facts, game, f"{number:.6g}", length))
