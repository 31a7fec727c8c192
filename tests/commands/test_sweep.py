"""`ppo-tui sweep`: many short runs, pruned, killed and continued; best first."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ppo_tui.directories import Directory
from ppo_tui.errors import UsageError
from ppo_tui.sweeps import Choice, Definition, Span, read_search, read_seeds
from tests.conftest import ROOT

TINY = (
    "sweep", "--preset", "cartpole", "--processes", "2",
    "--set", "run.total_steps=1024", "--set", "ppo.epochs=2", "--set", "env.kwargs.max_episode_steps=100",
)  # fmt: skip
RATES = (
    "--search", "optim.learning_rate=log:1e-5..1e-1",
    "--set", "run.total_steps=4096", "--set", "ppo.epochs=10",
)  # fmt: skip


def results(done: subprocess.CompletedProcess[str]) -> list[dict]:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_seeds_are_runs_that_compare_averages(ppo_tui):
    done = ppo_tui(*TINY, "--seeds", "1,2", "--name", "pair", "--json")
    (result,) = results(done)
    assert result["state"] == "complete"
    names = ["trial-000-seed-1", "trial-000-seed-2"]
    assert [Path(run).name for run in result["runs"]] == names
    compared = ppo_tui("compare", *(f"pair/{name}" for name in names))
    assert compared.returncode == 0, compared.stderr
    assert "cartpole" in compared.stdout
    again = ppo_tui("sweep", "cartpole", *TINY[3:], "--seeds", "1,2", "--name", "pair", "--json")
    assert results(again) == [result], "what is done is done"
    other = ppo_tui(*TINY, "--seeds", "1,3", "--name", "pair")
    assert other.returncode == 2
    assert "seeds is 1, 2 there, and 1, 3 here" in other.stderr


@pytest.mark.slow
def test_a_sweep_that_is_killed_half_way_goes_on_and_ends_with_the_best_first(ppo_tui, tmp_path):
    command = [sys.executable, "-m", "ppo_tui", *TINY, *RATES, "--trials", "12", "--name", "rates"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
    ended = 0
    assert process.stderr
    for line in process.stderr:
        ended += line.startswith("trial") and "begins" not in line and "% done" not in line
        if ended == 5:
            break
    process.kill()
    process.wait()
    process.stderr.close()
    runs_before = {path.name for path in (tmp_path / "runs" / "rates").glob("trial-*")}
    assert 5 <= len(runs_before) < 12

    done = ppo_tui(*TINY, *RATES, "--trials", "12", "--name", "rates", "--json", timeout=300)
    found = results(done)
    assert sorted(result["trial"] for result in found) == list(range(12)), "none is lost, none is there twice"
    assert all(result["state"] in ("complete", "pruned") for result in found)
    scores = [result["score"] for result in found if result["state"] == "complete"]
    assert scores == sorted(scores, reverse=True)
    assert found[0]["score"] > 1.2 * min(scores)
    assert 1e-4 < found[0]["settings"]["optim.learning_rate"] < 5e-2, "not the extremes"
    assert done.stderr.count("begins") < 12, "those that were done are not done again"
    table = ppo_tui(*TINY, *RATES, "--trials", "12", "--name", "rates")
    first = table.stdout.splitlines()[3].split()
    assert first[:2] == ["1", str(found[0]["trial"])]
    assert "ppo-tui compare rates/trial-" in table.stdout


@pytest.mark.slow
def test_a_stopped_sweep_leaves_no_process_and_saved_runs(ppo_tui, tmp_path):
    endless = [*TINY, *RATES, "--set", "run.total_steps=10_000_000", "--trials", "2", "--name", "long"]
    process = subprocess.Popen(
        [sys.executable, "-m", "ppo_tui", *endless],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    )
    runs = [tmp_path / "runs" / "long" / f"trial-00{index}" for index in range(2)]
    deadline = time.monotonic() + 90
    while not all((run / "metrics.jsonl").exists() for run in runs) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, printed = process.communicate(timeout=60)
    assert process.returncode == 143, printed
    assert "the same command continues" in printed
    for run in runs:
        facts = json.loads((run / "run.json").read_text())
        assert (facts["status"], facts["exit_code"]) == ("stopped", 143)
        assert (run / "checkpoints" / "latest").exists()


@pytest.mark.parametrize(
    ("specs", "words"),
    [
        (["optim.learning_rate"], ["KEY=LOW..HIGH"]),
        (["optim.learning_rat=0.1..0.2"], ["learning_rate"]),
        (["optim.learning_rate=log:0..1e-2"], ["from 0 to 0.01", "log scale"]),
        (["optim.learning_rate=1e-2..1e-4"], ["from 0.01 to 0.0001"]),
        (["optim.learning_rate=a..b"], ["numbers"]),
        (["optim.learning_rate=0.1..7"], ["optim.learning_rate = 7.0"]),
        (["policy.activation=tanh,rilu"], ["'rilu'", "relu"]),
        (["policy.activation=tanh"], ["two different values"]),
        (["ppo.epochs=2..4", "ppo.epochs=3..5"], ["ppo.epochs is searched already"]),
    ],
)
def test_a_search_that_makes_no_sense_is_refused(specs, words):
    with pytest.raises(UsageError) as refusal:
        read_search("cartpole", [], specs)
    for word in words:
        assert word in str(refusal.value)


@pytest.mark.parametrize(("seeds", "word"), [("1,x", "such as 1,2,3"), ("1,1", "different"), ("-1", "from 0 on")])
def test_seeds_that_make_no_sense_are_refused(seeds, word):
    with pytest.raises(UsageError, match=f"--seeds '{seeds}'.*{word}"):
        read_seeds(seeds)


def test_a_search_is_read_as_it_is_meant():
    specs = [
        "optim.learning_rate=log:1e-4..1e-2",
        "ppo.gae_lambda=0..1",
        "ppo.epochs=3..20",
        "policy.activation=tanh,relu",
    ]
    assert read_search("cartpole", [], specs) == (
        Span("optim.learning_rate", 1e-4, 1e-2, log=True),
        Span("ppo.gae_lambda", 0.0, 1.0),
        Span("ppo.epochs", 3.0, 20.0, whole=True),
        Choice("policy.activation", ("tanh", "relu")),
    )


def test_another_sweep_in_the_same_directory_is_refused(tmp_path):
    first = Definition(preset="cartpole", overrides=(), search=("a=1..2",), seeds=(1,), metric="m")
    other = Definition(preset="cartpole", overrides=(), search=("a=1..3",), seeds=(1,), metric="m")
    with Directory.open(tmp_path) as directory:
        first.settle(directory)
        first.settle(directory)
        with pytest.raises(UsageError, match="search is a=1..2 there, and a=1..3 here"):
            other.settle(directory)
