"""Unattended runs: lines for programs, restarts by the same command, notifications."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from tests.conftest import ROOT

SHORT = ("--preset", "cartpole", "--headless", "--total-steps", "1024")


def test_lines_of_json_are_the_record(ppo_tui, tmp_path):
    done = ppo_tui(*SHORT, "--name", "it", "--log-format", "json", LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events[0]["event"] == "run-started"
    assert events[-1]["event"] == "run-finished"
    assert sum(event["event"] == "update" for event in events) == 4
    assert done.stdout == (tmp_path / "runs" / "it" / "events.jsonl").read_text("utf-8")


@pytest.mark.slow
def test_quiet_says_how_it_ended_and_nothing_else(ppo_tui):
    done = ppo_tui(*SHORT, "--quiet")
    (line,) = done.stdout.splitlines()
    assert "finished at step 1,024" in line
    assert done.stderr == ""
    (line,) = ppo_tui(*SHORT, "--quiet", "--log-format", "json").stdout.splitlines()
    assert json.loads(line)["exit_code"] == 0


@pytest.mark.slow
def test_without_home_locale_and_a_writable_directory(tmp_path):
    """A service manager may leave a process with next to nothing."""
    here, run = tmp_path / "here", tmp_path / "run"
    here.mkdir()
    here.chmod(stat.S_IRUSR | stat.S_IXUSR)
    command = [sys.executable, "-m", "ppo_tui", *SHORT, "--run-dir", str(run)]
    # Root may write everywhere, unless it gives up that it may.
    drop = ["setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override"] if os.getuid() == 0 else []
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "LC_ALL": "C", "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([*drop, *command], cwd=here, env=environment, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert b"finished at step 1,024" in done.stdout
    assert b"\x1b" not in done.stdout
    assert done.stderr == b""
    assert list(here.iterdir()) == []


def test_resume_auto_begins_goes_on_and_leaves_alone_what_is_done(ppo_tui, tmp_path):
    run = tmp_path / "run"
    arguments = ("--preset", "cartpole", "--headless", "--run-dir", str(run), "--resume", "auto")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-m", "ppo_tui", *arguments, "--log-format", "json"],
        env=environment, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout
    for line in process.stdout:
        if '"event":"update"' in line:
            break
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 143
    stopped = json.loads((run / "run.json").read_text())["step"]

    total = str(stopped + 512)
    done = ppo_tui(*arguments, "--total-steps", total)
    assert done.returncode == 0, done.stderr
    assert f"resumed at step {stopped:,}" in done.stdout
    done = ppo_tui(*arguments, "--total-steps", total)
    assert (done.returncode, done.stdout) == (0, "")
    assert "done already" in done.stderr


@pytest.mark.slow
def test_resume_auto_begins_anew_where_there_is_no_checkpoint_and_never_where_they_are_damaged(ppo_tui, tmp_path):
    run = tmp_path / "runs" / "it"
    run.mkdir(parents=True)
    (run / "run.json").write_text('{"name": "it", "status": "running"}')
    (run / "events.jsonl").write_text('{"event": "state", "state": "starting"}\n')
    done = ppo_tui(*SHORT, "--name", "it", "--resume", "auto")
    assert done.returncode == 0, done.stderr
    assert "starting" in (run / "abandoned-1" / "events.jsonl").read_text()
    facts = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(facts | {"status": "running"}))
    for manifest in run.glob("checkpoints/*/manifest.json"):
        manifest.write_text("{")
    assert ppo_tui(*SHORT, "--name", "it", "--resume", "auto").returncode == 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--resume", "auto"], ["which run is it?", "--name NAME"]),
        (["--resume", "latest", "--name", "x"], ["expected auto", "ppo-tui resume RUN"]),
        (["--resume", "auto", "--name", "x", "--detached"], ["exclude each other"]),
        (["--log-format", "jsn"], ["did you mean 'json'?"]),
    ],
)
def test_bad_arguments(ppo_tui, arguments, words):
    done = ppo_tui("--preset", "cartpole", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    for word in words:
        assert word in done.stderr


@pytest.fixture
def hook():
    """A webhook and its received messages."""
    posted: list[dict] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self):
            posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/hook", posted
    server.shutdown()


def test_a_webhook_and_a_command_hear_of_the_end(ppo_tui, tmp_path, hook):
    url, posted = hook
    script = tmp_path / "tell.sh"
    script.write_text('#!/bin/sh\necho "$PPO_TUI_EVENT $PPO_TUI_RUN $PPO_TUI_STEP" > "$1"\ncat >> "$1"\n')
    script.chmod(0o755)
    received = tmp_path / "received"
    done = ppo_tui(
        *SHORT, "--name", "it", "--set", f"notify.webhook={url}", "--set", f'notify.command="{script} {received}"'
    )
    assert done.returncode == 0, done.stderr
    (message,) = posted
    assert (message["event"], message["run"], message["state"], message["step"]) == ("finish", "it", "finished", 1024)
    assert "it: finished at step 1,024" in message["text"]
    first, body = received.read_text().splitlines()
    assert first == "finish it 1024"
    assert json.loads(body) == message


@pytest.mark.slow
def test_an_address_that_does_not_answer_changes_nothing(ppo_tui, tmp_path):
    done = ppo_tui(
        *SHORT, "--name", "it", "--set", "notify.webhook=http://127.0.0.1:9/", "--set", "notify.command=/no/such/thing"
    )
    assert done.returncode == 0, done.stderr
    log = (tmp_path / "runs" / "it" / "run.log").read_text("utf-8")
    assert log.count("the notification of a finish failed") == 2


def test_a_stalled_run_is_notified_once(tmp_path, hook, monkeypatch):
    """The notifier looks at the clock and the events alone."""
    from ppo_tui.config import NotifyConfig
    from ppo_tui.protocol import RunFinished, RunStarted, RunState, StateChanged
    from ppo_tui.runs import RunDirectory
    from ppo_tui.sinks.notifier import Notifier

    url, posted = hook
    arrived = threading.Event()
    sink = Notifier(NotifyConfig(webhook=url, stall_seconds=0.05, on=("stall", "failure")), RunDirectory(tmp_path))
    deliver = sink._deliver

    def deliver_and_signal(*arguments: Any) -> None:
        deliver(*arguments)
        arrived.set()

    monkeypatch.setattr(sink, "_deliver", deliver_and_signal)
    start = RunStarted(
        run="it", config={}, seed=1, total_steps=1, num_envs=1, num_workers=1, rollout_steps=1, env_slices=((0, 1),),
        device="cpu", parameters=1, versions={},
    )  # fmt: skip
    sink.emit(start)
    sink.emit(StateChanged(state=RunState.TRAINING))
    assert arrived.wait(30)
    sink.emit(RunFinished(state=RunState.FAILED, exit_code=3, reason="lost", step=1, update=1))
    assert [message["event"] for message in posted] == ["stall", "failure"]


def test_a_preset_file_cannot_name_a_command(ppo_tui, tmp_path):
    (tmp_path / "x.toml").write_text('[env]\nid = "CartPole-v1"\n[notify]\ncommand = "touch ran"\n')
    done = ppo_tui("--preset", "x.toml", "--headless")
    assert done.returncode == 2
    assert "names a command to run" in done.stderr
    assert not (tmp_path / "ran").exists()


@pytest.mark.slow
def test_the_slurm_script_of_the_documentation_saves_and_puts_the_job_back(tmp_path):
    """SLURM is a stub; bash, the signal and the run are real."""
    page = (ROOT / "docs" / "servers.md").read_text("utf-8")
    script = tmp_path / "job.sh"
    script.write_text(
        page.partition("```bash\n")[2].partition("```")[0].replace("--preset breakout", "--preset cartpole")
    )
    programs = {
        "ppo-tui": f'exec "{sys.executable}" -m ppo_tui "$@"',
        "scontrol": f'echo "$@" > "{tmp_path}/asked"',
    }
    for name, line in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / name).chmod(0o755)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(tmp_path), "SLURM_JOB_ID": "42"}
    environment["PATH"] = f"{tmp_path}:{environment['PATH']}"
    job = subprocess.Popen(["bash", str(script)], env=environment, stdout=subprocess.PIPE, text=True)
    assert job.stdout
    for line in job.stdout:
        if "  step " in line:
            break
    job.terminate()
    rest = job.communicate(timeout=60)[0]
    assert job.returncode == 143, rest
    assert "checkpoint (signal) saved" in rest
    assert (tmp_path / "asked").read_text() == "requeue 42\n"


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze, which reads the unit")
def test_systemd_understands_the_unit_of_the_documentation(tmp_path):
    page = (ROOT / "docs" / "servers.md").read_text("utf-8")
    text = page.partition("### systemd\n\n```ini\n")[2].partition("```")[0]
    program = "/opt/ppo-tui/bin/ppo-tui"
    assert program in text
    unit = tmp_path / "breakout.service"
    unit.write_text(text.replace(program, sys.executable).replace("User=trainer\n", ""))
    verified = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=60)
    assert verified.returncode == 0
    assert "breakout.service" not in verified.stderr, "no key or value that systemd ignores"
