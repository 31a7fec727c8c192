"""Which runs there are, and that no two live in one directory."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from ppo_tui.commands.runs import runs as list_command
from ppo_tui.config import load_preset, preset_label
from ppo_tui.errors import UsageError
from ppo_tui.runs import RunDirectory, find_run, list_runs, summarise
from tests.conftest import ROOT
from tests.runs.conftest import cartpole


def make(runs_dir, name, *, started=0.0, status="finished", metrics=()):
    run = RunDirectory.create(cartpole(), label="cartpole", path=runs_dir / name)
    run.update(started=started, status=status)
    run.metrics.write_text("".join(json.dumps(line) + "\n" for line in metrics))
    run.release()
    return run


def update(step, mean):
    return {"time/total_timesteps": step, "rollout/ep_rew_mean": mean, "train/loss": None}


def holder_of(path) -> subprocess.Popen:
    """A process that holds the lock of a run until it is killed."""
    code = (
        "import pathlib, sys, ppo_tui.runs as runs; run = runs.RunDirectory(pathlib.Path(sys.argv[1]));"
        "run.acquire(); print('held', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    return process


def test_a_run_is_found_by_name_by_directory_and_as_the_latest(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    old = make(tmp_path / "runs", "old", started=1.0)
    new = make(tmp_path / "runs", "new", started=2.0)
    elsewhere = make(tmp_path, "elsewhere")
    assert find_run("old").path == find_run("runs/old").path == find_run(str(old.path)).path == old.path
    assert find_run("latest").path == new.path
    assert find_run("elsewhere").path == elsewhere.path


def test_unnamed_runs_are_numbered_after_the_highest_number(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first, second = (RunDirectory.create(cartpole(), label="my preset!") for _ in range(2))
    assert [first.name, second.name] == ["my-preset-1", "my-preset-2"]
    assert first.path == tmp_path / "runs" / "my-preset-1"
    (tmp_path / "runs" / "my-preset-9").mkdir()
    for other in ("my-preset-20261128-084638", "my-preset-sweep", "my-preset-11-old", "my-preset-٣"):
        (tmp_path / "runs" / other).mkdir()
    assert RunDirectory.plan(label="my preset!").path.name == "my-preset-10"
    second.discard()
    assert not second.path.exists()
    with pytest.raises(UsageError):
        RunDirectory.create(cartpole(), label="my preset!", path=tmp_path / "runs" / "my-preset-1")
    assert first.path.exists(), "it was made by another"


def test_processes_that_begin_at_once_never_take_the_same_number(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        names = [run.path.name for run in pool.map(lambda _: RunDirectory.plan(label="cartpole"), range(64))]
    assert sorted(names) == sorted(f"cartpole-{number}" for number in range(1, 65))


def test_a_run_is_called_after_its_preset_or_after_another_environment():
    for overrides, label in (
        ((), "cartpole"),
        (("env.id=CartPole-v1", "ppo.gamma=0.9"), "cartpole"),
        (("env.id=CarRacing-v3",), "carracing"),
        (("env.id=ALE/Breakout-v5",), "breakout"),
        (("env.id=tests.module:Own-v2",), "own"),
    ):
        assert preset_label("cartpole", load_preset("cartpole", overrides=overrides)) == label


def test_an_unknown_run_is_refused_with_the_nearest_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="there is no run in"):
        find_run("latest")
    make(tmp_path / "runs", "breakout-7")
    with pytest.raises(UsageError, match="'breakuot-7'.*\n  did you mean 'breakout-7'"):
        find_run("breakuot-7")
    with pytest.raises(UsageError, match="holds no run"):
        find_run(".")


def test_runs_are_listed_with_their_progress_newest_first(tmp_path):
    make(tmp_path, "old", started=1.0, metrics=[update(256, None), update(512, 30.0), update(768, 20.0)])
    make(tmp_path, "new", started=time.time() - 60, status="failed")
    (tmp_path / "no-run").mkdir()
    new, old = list_runs(tmp_path)
    assert (new.name, new.state, new.step, new.last_return) == ("new", "failed", 0, None)
    assert 59 < new.age_seconds < 120
    assert (old.step, old.total_steps) == (768, 100_096)
    assert (old.last_return, old.best_return) == (20.0, 30.0)
    assert (old.env, old.pid) == ("CartPole-v1", None)


def test_damaged_files_hide_nothing_else(tmp_path):
    run = make(tmp_path, "run", metrics=[update(256, 10.0)])
    with run.metrics.open("a") as metrics:
        metrics.write('{"time/total_timesteps": "many"}\n{"time/total_times')
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "run.json").write_text('["not", "an", "object"]')
    assert {each.name: (each.state, each.step) for each in list_runs(tmp_path)} == {
        "run": ("finished", 256),
        "broken": ("damaged", 0),
    }


@pytest.mark.parametrize("status", ["starting", "running"])
def test_a_run_whose_process_is_gone_has_crashed(tmp_path, status):
    run = make(tmp_path, "run", status=status)
    process = holder_of(run.path)
    assert (summarise(run).state, summarise(run).pid) == (status, process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (summarise(run).state, summarise(run).pid) == ("crashed", None)


def test_two_runs_in_one_directory_are_refused_until_the_first_is_gone(tmp_path):
    run = make(tmp_path, "run")
    process = holder_of(run.path)
    with pytest.raises(UsageError, match=f"in use by pid {process.pid}"):
        run.acquire()
    with pytest.raises(UsageError, match=f"in use by pid {process.pid}"):
        make(tmp_path, "run")
    process.kill()
    process.wait()
    run.acquire()
    assert run.holder == os.getpid()
    run.release()
    assert run.holder is None
    with pytest.raises(UsageError, match="already holds a run"):
        make(tmp_path, "run")


def test_only_its_owner_may_enter_a_run_directory(tmp_path):
    assert stat.S_IMODE(make(tmp_path, "run").path.stat().st_mode) == 0o700


def test_numbers_of_any_size_in_a_record_hide_no_other_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "runs", "good", metrics=[update(128, 5.0)])
    for number, line in enumerate((b'{"time/total_timesteps": 1' + b"0" * 400 + b"}", b'{"a": "\xff"}', b"[" * 10**5)):
        make(tmp_path / "runs", f"odd{number}").metrics.write_bytes(
            line + b"\n" + json.dumps(update(1, 1e308)).encode()
        )
    assert {run.name: run.step for run in list_runs()} == {"good": 128, "odd0": 1, "odd1": 1, "odd2": 1}
    list_command()
    assert "good" in capsys.readouterr().out
