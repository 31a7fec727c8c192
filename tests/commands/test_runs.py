"""Whole runs through the command line, on the real thing."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tomllib

import psutil
import pytest

from ppo_tui.commands.runs import presets
from ppo_tui.config import build_config, list_presets, load_preset
from ppo_tui.expectations import read_curve
from ppo_tui.protocol import RunFinished, RunStarted, UpdateFinished, decode_event
from tests.conftest import ROOT
from tests.processes import workers_of
from tests.waiting import still_running


def lines(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_cartpole_is_solved_from_the_command_line(ppo_tui):
    done = ppo_tui("cartpole-fast", "--headless", "--seed", "1", "--name", "pole", timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    score = ppo_tui("eval", "pole", "--episodes", "20", "--json")
    assert json.loads(score.stdout)["score"]["mean"] >= 475


def test_a_run_leaves_its_whole_record(ppo_tui, tmp_path):
    done = ppo_tui("--preset", "cartpole", "--total-steps", "1024", "--run-dir", "mine", "--set", "ppo.epochs=2")
    assert done.returncode == 0, done.stdout + done.stderr
    run = tmp_path / "mine"
    config = build_config(tomllib.loads((run / "config.toml").read_text()))
    assert (config.ppo.epochs, config.run.total_steps) == (2, 1024)
    facts = json.loads((run / "run.json").read_text())
    assert facts["status"] == "finished"
    assert facts["exit_code"] == 0
    assert facts["seed"] == 1
    assert {"torch", "gymnasium", "ppo-tui"} <= set(facts["versions"])
    events = [decode_event(line) for line in (run / "events.jsonl").read_bytes().splitlines()]
    assert isinstance(events[0], RunStarted)
    assert isinstance(events[-1], RunFinished)
    updates = [event for event in events if isinstance(event, UpdateFinished)]
    metrics = lines(run / "metrics.jsonl")
    assert (
        [event.step for event in updates] == [line["time/total_timesteps"] for line in metrics] == [256, 512, 768, 1024]
    )
    assert {
        "time/total_timesteps", "time/time_elapsed", "time/fps", "time/iterations",
        "rollout/ep_rew_mean", "rollout/ep_len_mean",
        "train/policy_gradient_loss", "train/value_loss", "train/entropy_loss", "train/approx_kl",
        "train/clip_fraction", "train/explained_variance", "train/learning_rate", "train/clip_range",
        "train/n_updates", "train/grad_norm",
    } <= set(metrics[-1])  # fmt: skip
    shares = [value for key, value in metrics[-1].items() if key.startswith("time/share_")]
    assert sum(shares) == pytest.approx(1)
    assert "finished at step 1,024" in (run / "run.log").read_text()
    assert (run / "workers.log").exists()
    checkpoint = run / "checkpoints" / "latest"
    assert {file.name for file in checkpoint.iterdir()} == {
        "policy.safetensors", "optimizer.safetensors", "rollout.safetensors", "envs.bin", "state.json", "manifest.json",
    }  # fmt: skip
    assert json.loads((checkpoint / "state.json").read_text())["step"] == 1024


def test_without_a_terminal_it_prints_plain_timestamped_lines(ppo_tui):
    done = ppo_tui("--preset", "cartpole", "--total-steps", "512", "--name", "plain")
    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    for line in done.stdout.splitlines():
        assert re.match(r"\d\d:\d\d:\d\d  ", line), line
    assert "run plain: CartPole-v1, 512 steps, seed 1" in done.stdout
    assert "step         512" in done.stdout
    assert "steps/s" in done.stdout
    assert re.search(r"checkpoint at step 512 \(final, ", done.stdout)


def test_breakout_trains_on_the_real_game(ppo_tui, tmp_path):
    done = ppo_tui("--preset", "breakout", "--headless", "--total-steps", "2048", "--run-dir", "mine", timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    first, last = lines(tmp_path / "mine" / "metrics.jsonl")
    assert last["time/total_timesteps"] == 2048
    assert last["time/fps"] == pytest.approx(2048 / last["time/time_elapsed"], rel=1e-6)
    # Four actions, a policy head scaled by 0.01: the first policy is all but uniform.
    assert first["train/entropy_loss"] == pytest.approx(-1.386, abs=0.01)
    assert first["train/ratio_error_first"] < 1e-3
    assert 0 <= first["train/clip_fraction"] <= 1
    assert last["train/learning_rate"] == pytest.approx(2.5e-4 / 2)
    # Random Breakout scores about one point an episode, over five lives.
    assert 0 <= last["rollout/ep_rew_mean"] < 10


MUJOCO = {"Ant-v5", "HalfCheetah-v5", "Hopper-v5", "Walker2d-v5"}


@pytest.mark.slow
@pytest.mark.parametrize("preset", sorted(list_presets()))
def test_every_preset_trains_for_an_update(ppo_tui, tmp_path, preset):
    if load_preset(preset).env.id in MUJOCO:
        pytest.importorskip("mujoco", reason="needs the extra: pip install 'ppo-tui[mujoco]'")
    one = ("--total-steps", "1", "--set", "ppo.epochs=1")
    done = ppo_tui("--preset", preset, *one, "--run-dir", "mine", timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    (metrics,) = lines(tmp_path / "mine" / "metrics.jsonl")
    assert metrics["train/nonfinite"] == 0
    if load_preset(preset).run.algorithm == "ppo":  # A3C learns without a ratio
        assert metrics["train/ratio_error_first"] < 1e-3


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_and_leaves_with_its_code(number, code, tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "ppo_tui", "--preset", "cartpole", "--total-steps", "10_000_000", "--run-dir", "mine"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    for line in process.stdout:
        if "steps/s" in line:
            break
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Traceback" not in out + err
    assert "saving and stopping" in err
    run = tmp_path / "mine"
    facts = json.loads((run / "run.json").read_text())
    assert (facts["status"], facts["exit_code"]) == ("stopped", code)
    state = json.loads((run / "checkpoints" / "latest" / "state.json").read_text())
    assert state["step"] == facts["step"] == lines(run / "metrics.jsonl")[-1]["time/total_timesteps"]
    assert not still_running(children, seconds=5)


def test_a_worker_that_may_not_be_replaced_ends_the_run_with_code_3_and_its_name(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "ppo_tui", "--preset", "cartpole", "--total-steps", "10_000_000", "--run-dir", "mine",
         "--set", "workers.max_restarts=0"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    assert process.stdout
    for line in process.stdout:
        if "steps/s" in line:
            break
    workers_of(process.pid)[0].kill()
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 3
    assert re.search(r"worker \d \(pid \d+, environments \d to \d\) was killed by SIGKILL", out)
    assert json.loads((tmp_path / "mine" / "run.json").read_text())["status"] == "failed"


def test_presets_are_listed_and_printed(ppo_tui):
    listed = ppo_tui("presets")
    assert listed.returncode == 0
    names = [line.split()[0] for line in listed.stdout.splitlines()]
    assert names == sorted(path.stem for path in (ROOT / "presets").glob("*.toml"))
    assert {"breakout", "breakout-labml", "cartpole", "lunarlander", "pong"} <= set(names)
    printed = ppo_tui("presets", "pong")
    assert tomllib.loads(printed.stdout)["env"]["id"] == "ALE/Pong-v5"
    assert ppo_tui("presets", "pnog").returncode == 2


def test_a_printed_preset_ends_with_its_milestones_as_comments(capsys):
    presets("cartpole")
    text = capsys.readouterr().out
    assert build_config(tomllib.loads(text)) == load_preset("cartpole")
    curve = read_curve("cartpole")
    assert curve is not None
    assert f"# What to expect: the mean return of 3 seeds, on {curve.machine}\n" in text
    rows = re.findall(r"^# +(\d+) +([\d.]+K) +(\S.*)$", text, re.MULTILINE)
    assert [int(score) for score, _, _ in rows] == [100, 200, 400, 475]
    steps = [float(number.rstrip("K")) for _, number, _ in rows]
    assert steps == sorted(steps)
    assert f"{curve.reached(100) / 1000:.1f}K" == rows[0][1]
    presets("breakout-labml")  # not measured
    assert "What to expect" not in capsys.readouterr().out


def test_help_and_version(ppo_tui):
    assert "--preset" in ppo_tui("--help").stdout
    assert re.fullmatch(r"ppo-tui \d+\.\d+\.\d+\n", ppo_tui("--version").stdout)
