"""``python -m benchmarks.results``: train and score presets, write ``docs/results.md``.

With several seeds each.

Nothing is done twice: a finished run is left alone, an interrupted one is resumed, and a scored checkpoint keeps its
score. Training and scoring go through the command line of a user.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.experiments import Experiment, find_experiments
from benchmarks.results_table import Score, check_page, write_results
from benchmarks.terminal import ROOT
from ppo_tui.errors import PPOTuiError, RunFailedError

STOPPED = 143
"""Exit code of a run after SIGTERM, with its checkpoint written."""

LOOK_SECONDS = 5.0
"""Interval of the checks whether a run has reached its last step."""


def main(
    presets: Annotated[str, typer.Option(metavar="A,B,…", help="Presets to train (default: all).")] = "",
    seeds: Annotated[str, typer.Option(metavar="1,2,…", help="Seeds of each preset.")] = "1,2,3",
    runs: Annotated[Path, typer.Option(metavar="DIR", help="Directory of the runs.")] = ROOT / ".benchmarks" / "runs",
    episodes: Annotated[int, typer.Option(min=2, help="Episodes in the score of each run.")] = 100,
    docs: Annotated[Path, typer.Option(metavar="DIR", help="Directory of results.md and results/.")] = ROOT / "docs",
    table_only: Annotated[bool, typer.Option("--table", help="Train nothing: write the present scores.")] = False,
) -> None:
    """Train and score, then write the table, scores and curves."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(STOPPED))
    try:
        chosen = find_experiments(presets.split(",") if presets else [])
        check_page(docs)
        if not table_only:
            for seed in map(int, seeds.split(",")):
                for experiment in chosen:
                    train(experiment, seed, runs)
                    score(experiment, seed, runs, episodes)
        write_results(read_scores(runs), runs, docs)
    except PPOTuiError as error:
        print(f"results: {error}", file=sys.stderr)
        raise typer.Exit(error.exit_code) from None


def run_directory(experiment: Experiment, seed: int, runs: Path) -> Path:
    return runs.absolute() / experiment.preset / f"seed-{seed}"


def train(experiment: Experiment, seed: int, runs: Path) -> None:
    """Train to the end of the experiment, or resume it.

    Raises:
        RunFailedError: the run failed.
    """
    path = run_directory(experiment, seed, runs)
    facts = _read_json(path / "run.json")
    if facts.get("status") == "finished" or (facts and _is_far_enough(experiment, path)):
        return
    print(f"{experiment.preset}, seed {seed}: training", flush=True)
    if any((path / "checkpoints").glob("step-*")):
        arguments = ["resume", str(path), "--headless"]
    else:
        arguments = [*training_command(experiment, seed)[1:], "--run-dir", str(path)]
        if experiment.one_core:
            arguments += ["--workers", "1", "--set", "run.torch_threads=1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "ppo_tui", *arguments],
        cwd=ROOT,
        env=_environment(),
        stdout=subprocess.DEVNULL,
        process_group=0,  # a signal to this process group must not reach it twice
    )
    try:
        code = _wait(process, experiment, path)
    except (KeyboardInterrupt, SystemExit):
        process.terminate()
        process.wait()  # it saves a checkpoint, from which another call resumes
        raise
    if code not in (0, STOPPED):
        raise RunFailedError(f"{experiment.preset}, seed {seed}: exit code {code}", hint=f"see {path}/run.log")
    if code == STOPPED and not _is_far_enough(experiment, path):
        raise typer.Exit(STOPPED)


def training_command(experiment: Experiment, seed: int | str) -> list[str]:
    """The command line of a user for this."""
    return ["ppo-tui", "--preset", experiment.preset, "--seed", str(seed), "--headless"]


def _wait(process: subprocess.Popen[bytes], experiment: Experiment, path: Path) -> int:
    """Wait for the run; stop it at the end of the experiment."""
    while True:
        try:
            return process.wait(LOOK_SECONDS)
        except subprocess.TimeoutExpired:
            if _is_far_enough(experiment, path):
                process.terminate()
                return process.wait()


def _is_far_enough(experiment: Experiment, path: Path) -> bool:
    return experiment.until is not None and _steps_done(path) >= experiment.until


def _steps_done(path: Path) -> int:
    """Of the last whole line of the run's metrics."""
    try:
        lines = (path / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return 0
    whole = [line for line in lines[-2:] if line.endswith(b"\n")]
    return int(json.loads(whole[-1])["time/total_timesteps"]) if whole else 0


def score(experiment: Experiment, seed: int, runs: Path, episodes: int) -> None:
    """Score the newest checkpoint by episodes, unless they are on record.

    Atari's actions are sampled as well, like those of the published scores.

    Raises:
        RunFailedError: the evaluation failed.
    """
    path = run_directory(experiment, seed, runs)
    for actions in ("greedy", "sampled") if experiment.atari else ("greedy",):
        file = path / f"eval-{actions}.json"
        newest = (path / "checkpoints" / "latest").resolve().name
        known = _read_json(file)
        if known.get("episodes") == episodes and Path(known["checkpoint"]).name == newest:
            continue
        print(f"{experiment.preset}, seed {seed}: {episodes} {actions} episodes", flush=True)
        command = [
            sys.executable,
            "-m",
            "ppo_tui",
            "eval",
            str(path),
            f"--{actions}",
            "--episodes",
            str(episodes),
            "--json",
        ]
        done = subprocess.run(command, cwd=ROOT, env=_environment(), capture_output=True, text=True)
        if done.returncode != 0:
            raise RunFailedError(f"{experiment.preset}, seed {seed}: eval failed", hint=done.stderr[-2000:])
        file.write_text(done.stdout, "utf-8")


def read_scores(runs: Path) -> list[Score]:
    """All scores, in the order of experiments and seeds."""
    return [
        Score.read(experiment, file)
        for experiment in find_experiments([])
        for file in sorted((runs / experiment.preset).glob("seed-*/eval-*.json"))
    ]


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def _read_json(file: Path) -> dict[str, Any]:
    try:
        return json.loads(file.read_bytes())
    except FileNotFoundError:
        return {}


if __name__ == "__main__":
    typer.run(main)
