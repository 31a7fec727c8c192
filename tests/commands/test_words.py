"""The words of the command line: presets, the latest run, completion."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from ppo_tui.cli import app
from ppo_tui.commands.group import PresetGroup
from ppo_tui.config import load_preset
from ppo_tui.errors import UsageError
from ppo_tui.runs import RunDirectory, find_run

ROOT = typer.main.get_command(app)


def parsed(*words: str) -> dict:
    """The options of `ppo-tui` itself, as it reads these words."""
    assert isinstance(ROOT, PresetGroup)
    return ROOT.make_context("ppo-tui", list(words)).params


def refused(*words: str) -> str:
    error = CliRunner().invoke(app, list(words)).exception
    assert isinstance(error, UsageError), error
    return str(error)


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Three runs: `saved` has a checkpoint, `running` a process (this one), `empty` is the newest."""
    monkeypatch.chdir(tmp_path)
    made = {}
    for started, name in enumerate(("saved", "running", "empty")):
        run = RunDirectory.create(load_preset("cartpole"), label="cartpole", name=name)
        run.update(started=float(started))
        (run.checkpoints / "step-000000000256").mkdir() if name == "saved" else None
        run.release() if name != "running" else None
        made[name] = run
    yield made
    made["running"].release()


def test_a_preset_as_a_word_is_short_for_the_option(tmp_path):
    for words in (("cartpole", "--headless"), ("--headless", "cartpole"), ("--seed", "3", "cartpole", "-s", "lr=1")):
        assert parsed(*words)["preset"] == "cartpole"
    options = parsed("--seed", "3", "cartpole", "--headless", "-s", "lr=1e-4")
    assert (options["seed"], options["headless"], options["settings"]) == ("3", True, ["lr=1e-4"])
    file = tmp_path / "own"
    file.write_text("")
    assert parsed(str(file))["preset"] == str(file)
    assert parsed("mine.toml")["preset"] == "mine.toml"
    assert parsed("doctor")["preset"] is None


def test_a_word_that_is_nothing_is_answered_with_what_is(runs):
    assert "did you mean 'cartpole'" in refused("cartpol")
    assert "did you mean 'doctor'" in refused("docter")
    assert "saved is a run, not a preset" in refused("saved")
    assert "'pong' after the preset" in refused("cartpole", "pong")
    assert "two presets: pong and cartpole" in refused("--preset", "pong", "cartpole")
    assert "two presets: pong and cartpole" in refused("cartpole", "--headless", "--preset", "pong")
    assert "two presets: pong and cartpole" in refused("sweep", "cartpole", "--preset", "pong")
    assert "ppo-tui sweep cartpole" in refused("sweep", "--trials", "1")
    assert "no preset 'x" in refused("x" * 1000)


def test_the_latest_run_is_the_newest_of_the_kind_that_is_needed(runs):
    assert find_run("latest").path.name == "empty"
    assert find_run("latest", wanted="running").path.name == "running"
    assert find_run("latest", wanted="saved").path.name == "saved"
    assert find_run("latest", wanted="resumable").path.name == "saved"
    runs["running"].release()
    assert find_run("latest", wanted="running").path.name == "empty"
    shutil.rmtree(runs["saved"].path)
    for wanted in ("saved", "resumable"):
        with pytest.raises(UsageError, match="no run in .* has a checkpoint\n  the newest is empty"):
            find_run("latest", wanted=wanted)


def test_a_command_without_run_takes_the_latest_and_says_which(runs):
    shown = CliRunner().invoke(app, ["ctl", "status", "--json"], standalone_mode=False)
    assert json.loads(shown.stdout)["name"] == "running"
    assert shown.stderr == "latest run in progress: running\n"
    assert "there is no action 'paus'\n  did you mean 'pause'" in refused("ctl", "paus")
    assert "ctl saved: what is it to do?" in refused("ctl", "saved")
    runs["running"].release()
    assert "empty is not running: crashed" in refused("ctl", "pause")
    shown = CliRunner().invoke(app, ["ctl", "status"], standalone_mode=False)
    assert shown.stderr == "latest run: empty\n"
    assert "saved" in CliRunner().invoke(app, ["runs", str(Path("runs").absolute())]).stdout
    assert "there is no directory 'nowhere'" in refused("runs", "nowhere")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("cartp", ["cartpole", "cartpole-fast"]),
        ("do", ["doctor"]),
        ("--preset pong", ["pong", "pong-lstm"]),
        ("--set optim.lea", ["optim.learning_rate="]),
        ("--set lr", ["lr="]),
        ("attach ", ["latest", "saved", "running", "empty"]),
        ("eval sa", ["saved"]),
        ("export --format o", ["onnx"]),
        ("--theme l", ["light"]),
        ("ctl ", ["pause", "rewind", "status", "saved"]),
        ("ctl saved s", ["step", "save", "stop", "set", "status"]),
        ("ctl saved set ppo.gam", ["ppo.gamma"]),
        ("ctl set cli", ["clip_range"]),
        ("ctl saved rewind ", ["best", "latest"]),
        ("presets pen", ["pendulum"]),
    ],
)
def test_the_shell_completes(line: str, words: list[str], runs, monkeypatch, capsys):
    monkeypatch.setenv("_PPO_TUI_COMPLETE", "complete_zsh")
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", f"ppo-tui {line}")
    with pytest.raises(SystemExit):
        ROOT.main([], prog_name="ppo-tui", standalone_mode=False)
    offered = capsys.readouterr().out
    for word in words:
        assert f'"{word}"' in offered


def test_help_names_arguments_without_types():
    for name, command in ROOT.commands.items():
        text = command.get_help(typer.Context(command, info_name=name))
        for leak in ("<", "{", "list[", "]..."):
            assert leak not in text.replace("1<=x<=", "").replace("0<=x<=", "").replace("<=", ""), (name, leak)
