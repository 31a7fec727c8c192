"""`eval` and `watch` from the command line, on a real run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands.test_train import Terminal, start, terminal  # noqa: F401
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A directory with a run ``few`` of a few updates."""
    directory = tmp_path_factory.mktemp("trained")
    command = ["--preset", "cartpole", "--headless", "--name", "few", "--total-steps", "2048"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-m", "ppo_tui", *command], cwd=directory, env=environment, check=True, timeout=120)
    return directory / "runs"


@pytest.fixture
def few(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "runs", symlinks=True)
    return tmp_path / "runs" / "few"


def test_eval_prints_a_score_with_its_interval_and_how_it_was_made(ppo_tui, few):
    done = ppo_tui("eval", "few", "--episodes", "6")
    assert done.returncode == 0, done.stderr
    assert "few, CartPole-v1 at step 2,048: 6 episodes" in done.stdout
    for words in ("return  mean", "length  mean", "actions greedy", "episodes full", "seed 0", "percentile bootstrap"):
        assert words in done.stdout
    assert "solved from a mean return of 475 on: not reached" in done.stdout


def test_eval_as_json_has_every_episode(ppo_tui, few):
    done = ppo_tui("eval", "latest", "--episodes", "5", "--sampled", "--seed", "4", "--json")
    score = json.loads(done.stdout)
    assert (score["run"], score["episodes"], score["step"]) == ("few", 5, 2048)
    assert score["protocol"]["actions"] == "sampled"
    assert len(score["returns"]) == 5
    assert score["score"]["mean"] == pytest.approx(sum(score["returns"]) / 5)
    path = score["checkpoint"]
    again = json.loads(ppo_tui("eval", path, "--episodes", "5", "--sampled", "--seed", "4", "--json").stdout)
    assert again["returns"] == score["returns"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["eval", "fwe"], 2, ["no run 'fwe'", "did you mean 'few'"]),
        (["eval", "few", "--checkpoint", "latst"], 2, ["checkpoint 'latst'", "did you mean 'latest'"]),
        (["eval", "few", "--checkpoint", "../.."], 2, ["no such checkpoint"]),
        (["eval", "few", "--device", "tpu"], 2, ["run.device = 'tpu'"]),
        (["eval", "few", "--episodes", "0"], 2, ["--episodes"]),
        (["watch", "few"], 2, ["watch needs a terminal", "--record game.gif"]),
        (["watch", "few", "--record", "game.avi"], 2, ["game.avi", ".gif, .mp4"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_bad_arguments(ppo_tui, few, arguments, code, words):
    done = ppo_tui(*arguments)
    assert done.returncode == code, done.stdout
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr


def test_a_run_without_a_whole_checkpoint_fails(ppo_tui, few):
    for manifest in few.glob("checkpoints/*/manifest.json"):
        manifest.write_text("{")
    done = ppo_tui("eval", "few")
    assert done.returncode == 3
    assert "no whole checkpoint" in done.stderr


NETWORK = """
import os
from torch import nn

class Fragile(nn.Module):
    num_features = 8

    def __init__(self, observation_shape):
        super().__init__()
        self.layers = nn.Linear(observation_shape[0], 8)
        self.calls = 0

    def forward(self, observations):
        self.calls += 1
        if self.calls > 1:  # the first one tries the network
            exec(os.environ.get("FAILING", ""))
        return self.layers(observations)
"""
FAILURES = {
    "raise ValueError('no such layer')": "ValueError: no such layer",
    "raise SystemExit": "SystemExit",
    "raise BrokenPipeError(32, 'no licence server')": "BrokenPipeError: [Errno 32] no licence server",
    "observations @ observations": "RuntimeError: mat1 and mat2 shapes cannot be multiplied",
}


@pytest.fixture(scope="module")
def fragile(tmp_path_factory) -> Path:
    """A run whose network raises as `FAILURES` say."""
    directory = tmp_path_factory.mktemp("fragile")
    (directory / "fragile.py").write_text(NETWORK)
    command = [sys.executable, "-m", "ppo_tui", "--preset", "cartpole", "--headless", "--total-steps", "1024"]
    command += ["--set", "policy.network=fragile:Fragile", "--run-dir", "run"]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{directory}"}
    subprocess.run(command, cwd=directory, env=environment, check=True, timeout=120)
    return directory / "run"


@pytest.mark.parametrize(
    ("command", "failing"),
    [
        *(("eval --episodes 2", failing) for failing in FAILURES),
        ("export --output exported", "raise SystemExit"),
        ("watch --record game.gif", "raise BrokenPipeError(32, 'no licence server')"),
    ],
)
def test_a_network_that_fails_is_told_and_is_no_bug_of_the_program(ppo_tui, fragile, command, failing):
    name, *options = command.split()
    path = {"PYTHONPATH": f"{ROOT}:{fragile.parent}"}
    done = ppo_tui(name, str(fragile), "--allow-import", *options, FAILING=failing, **path)
    assert done.returncode == 3, done.stderr
    assert f"the network fragile:Fragile has failed: its forward raised {FAILURES[failing]}" in done.stderr
    assert "Traceback" not in done.stderr
    assert "bug of ppo-tui" not in done.stderr


def test_watch_records_without_a_terminal(ppo_tui, few, tmp_path):
    pytest.importorskip("PIL")
    done = ppo_tui("watch", "few", "--record", "game.gif", "--episodes", "2")
    assert done.returncode == 0, done.stderr
    assert "frames in game.gif" in done.stdout
    assert done.stderr.count("return ") == 2
    gif = (tmp_path / "game.gif").read_bytes()
    assert gif.startswith(b"GIF89a")
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    board = accumulator.EventAccumulator(str(few / "tensorboard"))
    board.Reload()
    (image,) = board.Images("eval/game")
    assert (image.step, image.encoded_image_string) == (2048, gif)


def test_watch_shows_the_game_with_values_and_probabilities(few, terminal):  # noqa: F811
    start(terminal, "watch few")
    terminal.wait_for(r"few · checkpoint 2,048 \(latest, best\) · greedy · game \d")
    terminal.wait_for(r"value\s+-?\d")
    terminal.wait_for(r"▸(left|right) +━*\s*\d+%")
    terminal.press("q")
    terminal.wait_for("left with 0")
