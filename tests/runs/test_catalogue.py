"""A list of runs that stays open, the trials of sweeps, and runs that say how they are."""

from __future__ import annotations

import json

import pytest

from ppo_tui.commands.runs import runs
from ppo_tui.errors import UsageError
from ppo_tui.protocol import RunState, StateChanged
from ppo_tui.runs import find_runs, list_runs
from ppo_tui.runs.catalogue import Catalogue
from ppo_tui.runs.client import ask_runs
from ppo_tui.runs.progress import MOST_POINTS
from tests.runs.conftest import ServedRun
from tests.runs.test_registry import make, update


def make_sweep(runs_dir):
    """A sweep with a pruned trial and a complete one."""
    make(runs_dir / "search", "trial-000", started=20.0, status="stopped", metrics=[update(256, 10.0)])
    make(runs_dir / "search", "trial-001", started=30.0, metrics=[update(256, 90.0), update(512, 80.0)])
    (runs_dir / "search" / "sweep.json").write_text("{}")
    results = [
        {"trial": 1, "score": 80.0, "state": "complete", "settings": {}, "runs": ["/elsewhere/trial-001"]},
        {"trial": 0, "score": 10.0, "state": "pruned", "settings": {}, "runs": ["/elsewhere/trial-000"]},
    ]
    (runs_dir / "search" / "results.json").write_text(json.dumps(results))


def test_a_catalogue_looks_first_and_reads_what_has_grown(tmp_path):
    run = make(tmp_path, "run", metrics=[update(256, 30.0), update(512, 20.0)])
    catalogue = Catalogue(tmp_path)
    (looked,) = catalogue.look()
    assert (looked.name, looked.state, looked.last_return) == ("run", "finished", None)
    read = catalogue.read(looked.path)
    assert (read.step, read.last_return, read.best_return) == (512, 20.0, 30.0)
    with run.metrics.open("r+") as file:  # what has been read is not read again
        file.write("?" * 20)
    with run.metrics.open("a") as file:
        file.write(json.dumps(update(768, 25.0)) + '\n{"time/total_timesteps": 9')
    read = catalogue.read(looked.path)
    assert (read.step, read.last_return, read.best_return) == (768, 25.0, 30.0)
    assert catalogue.curve(looked.path) == ((256, 30.0), (512, 20.0), (768, 25.0))
    assert catalogue.look()[0].last_return == 25.0


def test_a_curve_is_short_and_forgets_what_a_rewind_abandoned(tmp_path):
    run = make(tmp_path, "run", metrics=[update(step, float(step)) for step in range(1, 3 * MOST_POINTS)])
    catalogue = Catalogue(tmp_path)
    path = catalogue.look()[0].path
    catalogue.read(path)
    assert MOST_POINTS // 4 < len(catalogue.curve(path)) <= MOST_POINTS
    with run.metrics.open("a") as file:
        file.write(json.dumps(update(10, 1.0)) + "\n")
    assert catalogue.read(path).step == 10
    assert all(step <= 10 for step, _ in catalogue.curve(path))
    run.metrics.write_text(json.dumps(update(5, 2.0)) + "\n")  # another, shorter file
    assert (catalogue.read(path).step, catalogue.read(path).best_return) == (5, 2.0)
    run.json_path.unlink()
    run.checkpoints.rmdir()
    assert catalogue.read(path) is None
    assert catalogue.look() == []


def test_trials_are_listed_below_their_sweep_and_stand_for_it(tmp_path, monkeypatch, capsys):
    make(tmp_path / "runs", "older", started=10.0)
    make(tmp_path / "runs", "newer", started=40.0)
    make_sweep(tmp_path / "runs")
    assert [(run.name, run.sweep, run.state, run.objective) for run in list_runs(tmp_path / "runs")] == [
        ("newer", None, "finished", None),
        ("search/trial-000", "search", "pruned", 10.0),
        ("search/trial-001", "search", "finished", 80.0),
        ("older", None, "finished", None),
    ]
    monkeypatch.chdir(tmp_path)
    assert [run.path.name for run in find_runs("search")] == ["trial-000", "trial-001"]
    assert [run.path.name for run in find_runs("search/trial-001")] == ["trial-001"]
    (tmp_path / "runs" / "empty").mkdir()
    (tmp_path / "runs" / "empty" / "sweep.json").write_text("{}")
    with pytest.raises(UsageError, match="no trial yet"):
        find_runs("empty")
    runs(as_json=True)
    printed = json.loads(capsys.readouterr().out)
    assert [(run["name"], run["sweep"], run["objective"]) for run in printed][1] == ("search/trial-000", "search", 10.0)


def test_a_paused_run_says_so_itself(tmp_path):
    served = ServedRun(tmp_path / "runs" / "run")
    try:
        served.train()
        (listed,) = list_runs(tmp_path / "runs")
        assert ask_runs([listed])[0].state == "running"
        served.emit(StateChanged(state=RunState.PAUSED))
        (paused,) = ask_runs([listed])
        assert (paused.state, paused.under_way) == ("paused", True)
    finally:
        served.close()
    assert ask_runs([listed]) == [listed], "one that does not answer stays as its files have it"


def test_why_a_run_is_damaged_is_in_its_summary(tmp_path):
    make(tmp_path, "broken").json_path.write_text("{")
    (summary,) = list_runs(tmp_path)
    assert summary.state == "damaged"
    assert "not valid JSON" in summary.problem
