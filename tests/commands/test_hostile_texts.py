"""No command lets what others wrote steer the terminal: a run, a preset, a zip and file names, all hostile."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from ppo_tui.cli import app
from ppo_tui.protocol import Alarm, CheckpointSaved, Level, RunFinished, RunState, SettingChanged, encode
from ppo_tui.text import printable
from tests.conftest import ROOT
from tests.faults.hostile import ESCAPES, ZIPS
from tests.faults.test_hostile import base, run_in_process  # noqa: F401

FORMULA = "=cmd|' /C calc'!A0"
NAME = "a\x1b[31m\u202eb\x9b"
"""Of a directory, a preset and a zip."""

HOSTILE_RUN = "tests.commands.hostile_env:Hostile-v0"


def spoil(run: Path) -> None:
    """Write hostile texts wherever a run keeps any."""
    facts = json.loads((run / "run.json").read_text())
    texts = dict.fromkeys(("name", "env", "preset", "status", "reason", "git", "device"), ESCAPES)
    (run / "run.json").write_text(json.dumps(facts | texts | {"versions": {ESCAPES: ESCAPES}}))
    with (run / "events.jsonl").open("ab") as events:
        for event in (
            Alarm(level=Level.ERROR, message=ESCAPES, details=f"Traceback\n  {ESCAPES}"),
            SettingChanged(key=ESCAPES, old=ESCAPES, new=ESCAPES, by=ESCAPES, step=1, update=1),
            CheckpointSaved(path=ESCAPES, reason=ESCAPES, step=1, update=1, seconds=1),
            RunFinished(state=RunState.FAILED, exit_code=3, reason=ESCAPES, details=ESCAPES, step=1, update=1),
        ):
            # As another program writes them: not escaped.
            events.write(json.dumps(json.loads(encode(event)), ensure_ascii=False).encode() + b"\n")
    with (run / "metrics.jsonl").open("a") as metrics:
        metrics.write(json.dumps({"time/total_timesteps": 999, ESCAPES: 1.0, "rollout/ep_rew_mean": 1.0}) + "\n")
    (run / "checkpoints" / f"step-{NAME}").mkdir()


@pytest.fixture(scope="module")
def hostile(base: Path, tmp_path_factory) -> Path:  # noqa: F811
    """A directory with a hostile run, preset and zip."""
    world = tmp_path_factory.mktemp("hostile")
    for name in ("bad", NAME):
        shutil.copytree(base / "runs" / "ok", world / "runs" / name, symlinks=True)
        spoil(world / "runs" / name)
    (world / f"{NAME}.toml").write_text(f"# {ESCAPES}\n[env]\nid = {json.dumps(ESCAPES)}\n")
    (world / "value.toml").write_text(f"# x\n[env]\nid = 'CartPole-v1'\n[policy]\nactivation = {json.dumps(ESCAPES)}\n")
    ZIPS["escapes"](world / f"{NAME}.zip")
    return world


COMMANDS: dict[str | None, list[list[str]]] = {
    None: [["--preset", f"{NAME}.toml"], ["--preset", "value.toml"], ["--preset", ESCAPES], ["--name", ESCAPES],
           ["--preset", "cartpole", "--set", f"policy.{ESCAPES}=1"], ["--preset", "cartpole", "--name", ESCAPES],
           ["--preset", "cartpole", "--set", f"env.id={json.dumps(ESCAPES)}"], [f"--{ESCAPES}"], [ESCAPES],
           ["--preset", "cartpole", "--run-dir", f"runs/{NAME}"]],
    "resume": [["bad", "--headless"], [NAME, "--headless"], [ESCAPES], ["bad", "--set", f"{ESCAPES}=1"]],
    "attach": [["bad"], [ESCAPES]],
    "replay": [["bad"], [ESCAPES]],
    "runs": [[], ["--json"]],
    "ctl": [["bad", "status"], [NAME, "status"], ["bad", "status", "--json"], ["bad", ESCAPES], ["bad", "pause"],
            ["bad", "set", ESCAPES, ESCAPES]],
    "presets": [[f"{NAME}.toml"], ["value.toml"], [ESCAPES]],
    "eval": [["bad", "--episodes", "1"], ["bad", "--checkpoint", ESCAPES], [f"runs/{NAME}/checkpoints/latest"]],
    "watch": [["bad", "--checkpoint", ESCAPES], ["bad", "--theme", ESCAPES]],
    "compare": [["bad", NAME, "--csv", f"{NAME}.csv", "--plot", f"{NAME}.svg"], ["bad", "--metric", ESCAPES],
                ["bad", "--plot", ESCAPES]],
    "report": [["bad", "--no-game", "--output", f"{NAME}.html"], [ESCAPES]],
    "export": [["bad", "--checkpoint", ESCAPES], ["bad", "--format", ESCAPES]],
    "import": [[f"{NAME}.zip", "--preset", "cartpole"], [ESCAPES, "--preset", "cartpole"]],
    "serve": [[ESCAPES], ["bad", "--theme", ESCAPES]],
    "sweep": [["--preset", f"{NAME}.toml"], ["--preset", "cartpole", "--search", ESCAPES],
              ["--preset", "cartpole", "--seeds", ESCAPES]],
    "bench": [["--preset", f"{NAME}.toml"], ["--preset", ESCAPES]],
    "doctor": [[ESCAPES]],
}  # fmt: skip
"""Command → what follows it."""


def assert_clean(text: str) -> None:
    assert printable(text, lines=True) == text


def test_the_walk_knows_every_command():
    assert set(COMMANDS) == {None, *typer.main.get_command(app).commands}  # type: ignore[attr-defined]


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_prints_what_steers_a_terminal(command: str | None, hostile: Path, monkeypatch):
    monkeypatch.chdir(hostile)
    for arguments in COMMANDS[command]:
        code, printed = run_in_process([*([command] if command else []), *arguments])
        assert code in (0, 2, 3), printed
        assert printed
        assert_clean(printed)
        assert "Traceback (" not in printed
        if "--json" in arguments:
            found = json.loads(printed)
            assert ESCAPES in [run["name"] for run in (found if isinstance(found, list) else [found])]
    if command == "report":
        page = (hostile / f"{NAME}.html").read_text()
        assert "PWN" in page
        # Bokeh's scripts have odd characters of their own, and texts of runs are not in them.
        assert_clean(re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL))


def test_no_cell_of_a_spreadsheet_is_a_formula_and_no_label_is_tex(base: Path, tmp_path: Path, monkeypatch):  # noqa: F811
    shutil.copytree(base / "runs", tmp_path / "runs", symlinks=True)
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "runs" / "ok" / "run.json"
    facts = json.loads(run.read_text())
    for preset in (FORMULA, "\t=1", " @x", "+1", "-1;=2", "＝1", "$\\frac{$", "\r\n=1", '"=1', ESCAPES):
        run.write_text(json.dumps(facts | {"preset": preset}))
        plot = ["--plot", "out.svg"] if preset in (ESCAPES, "$\\frac{$") else []
        code, printed = run_in_process(["compare", "ok", "--csv", "out.csv", *plot])
        assert code == 0, printed
        text = Path("out.csv").read_text()
        assert_clean(text)
        rows = list(csv.DictReader(text.splitlines()))
        assert not rows[0]["group"].lstrip().startswith(("=", "+", "-", "@", "＝", "\t"))
        assert all(line.startswith('"') for line in text.splitlines())
        float(rows[0]["mean"])
    assert_clean(Path("out.svg").read_text())


def test_what_a_hostile_environment_says_is_clean_on_a_real_terminal_and_in_the_logs(tmp_path: Path):
    primary, secondary = pty.openpty()
    settings = ("rollout.num_envs=2", "rollout.steps=64", "ppo.minibatches=1", f"env.id={HOSTILE_RUN}")
    with subprocess.Popen(
        [sys.executable, "-m", "ppo_tui", "--preset", "cartpole", "--headless", "--total-steps", "512",
         "--workers", "1", "--run-dir", "run", *(part for one in settings for part in ("--set", one))],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "COLUMNS": "120"},
        stdin=secondary,
        stdout=secondary,
        stderr=secondary,
    ) as process:  # fmt: skip
        os.close(secondary)
        seen = b""
        with contextlib.suppress(OSError):  # the other end is closed
            while part := os.read(primary, 65_536):
                seen += part
        os.close(primary)
    drawn = seen.decode()
    assert process.returncode in (0, 3), drawn
    assert "PWN" in drawn
    # What is left without colours, movements of the cursor and its hiding: text.
    assert_clean(re.sub(r"\x1b\[(\?25[lh]|[\d;]*[mABCDGHJK])", "", drawn).replace("\r", ""))
    for log in ("run.log", "workers.log"):
        text = (tmp_path / "run" / log).read_text()
        assert "PWN" in text
        assert_clean(text)
