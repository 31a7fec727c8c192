"""Readers of a headless run leave or stall, as its user would see it."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.conftest import ROOT

RUN = f'"{sys.executable}" -m ppo_tui --preset cartpole --headless --workers 1 --total-steps 2048'


def shell(line: str, where: Path) -> subprocess.CompletedProcess[str]:
    """Run a line of bash; what it prints last are the exit codes of its pipeline."""
    return subprocess.run(
        ["bash", "-c", f'{line}; echo "${{PIPESTATUS[*]}}"'],
        cwd=where, env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


def record(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]


def numbers(run: Path) -> list[dict]:
    """Metrics of all updates without those that a clock decides."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if not key.startswith("time/")} for row in rows]


def assert_finished(run: Path) -> None:
    facts = json.loads((run / "run.json").read_text())
    assert (facts["status"], facts["exit_code"]) == ("finished", 0)
    assert len(numbers(run)) == 8
    assert [event["step"] for event in record(run) if event["event"] == "checkpoint"][-1] == 2048


def alarms(run: Path) -> list[str]:
    return [event["message"] for event in record(run) if event["event"] == "alarm"]


def test_head_takes_a_line_and_the_run_goes_on_to_its_end(tmp_path):
    done = shell(f"{RUN} --name x --log-format plain | head -1", tmp_path)
    first, codes = done.stdout.splitlines()
    assert "run x: CartPole-v1" in first
    assert (codes, done.stderr) == ("0 0", "")
    run = tmp_path / "runs" / "x"
    assert_finished(run)
    (alarm,) = alarms(run)
    assert "nobody can read stdout any more (Broken pipe)" in alarm
    assert alarm in (run / "run.log").read_text()


LINES = {
    "json-head": f"{RUN} --name x --log-format json | head -1",
    "grep": f"{RUN} --name x | grep -m1 step",
    "nobody": f"{RUN} --name x | true",
    "both": f"{RUN} --name x 2>&1 | head -1",
    "quiet": f"{RUN} --name x --quiet | true",
    "stderr": f"{RUN} --name x 2> >(true) > /dev/null",
    "stdout-closed": f"{RUN} --name x >&-",
    "all-closed": f"{RUN} --name x <&- >&- 2>&-",
    "full": f"{RUN} --name x > /dev/full",
    "both-full": f"{RUN} --name x > /dev/full 2>&1",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", LINES)
def test_whatever_becomes_of_the_output_the_exit_code_is_the_run_s(name, tmp_path):
    done = shell(LINES[name], tmp_path)
    assert done.stdout.splitlines()[-1].split()[0] == "0"
    assert done.stderr == ""
    assert_finished(tmp_path / "runs" / "x")


@pytest.mark.slow
def test_signals_and_failures_keep_their_codes_without_a_reader(tmp_path):
    stopped = f"timeout -s TERM 20 {RUN.replace('2048', '9000000')} --name stopped | head -1"
    assert shell(stopped, tmp_path).stdout.splitlines()[-1] == "124 0"
    facts = json.loads((tmp_path / "runs" / "stopped" / "run.json").read_text())
    assert (facts["status"], facts["exit_code"]) == ("stopped", 143)
    refused = shell(f"{RUN} --set ppo.gamma=2 | true", tmp_path)
    assert refused.stdout.splitlines()[-1] == "2 0"
    broken = "--set env.id=tests.faults.envs:FaultyCartPole-v0 --set env.kwargs.raise_always=true"
    failed = shell(f"{RUN} {broken} --name failed | head -1; echo", tmp_path)
    assert "Traceback" not in failed.stderr


@pytest.mark.slow
def test_results_end_quietly_with_their_reader(tmp_path):
    assert shell(f"{RUN} --name x > /dev/null", tmp_path).stdout == "0\n"
    for command in ("runs", "compare x x", "presets breakout", "eval x --episodes 1", "--help", "runs --json"):
        done = shell(f'"{sys.executable}" -m ppo_tui {command} | true', tmp_path)
        assert done.stderr == "", command


@pytest.mark.slow
def test_a_sweep_goes_on_without_a_reader_of_its_progress(tmp_path):
    sweep = f'"{sys.executable}" -m ppo_tui sweep --preset cartpole --set run.total_steps=1024 --seeds 1,2 --name s'
    done = shell(f"{sweep} 2> >(head -1 > /dev/null) | cat", tmp_path)
    *table, codes = done.stdout.splitlines()
    assert codes == "0 0"
    assert any("complete" in line for line in table)


@pytest.mark.slow
def test_a_terminal_that_was_stopped_by_ctrl_s_stops_nothing(tmp_path):
    master, terminal = pty.openpty()
    process = subprocess.Popen(
        ["sh", "-c", f"exec {RUN} --name x"], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True,
    )  # fmt: skip
    os.read(master, 1)
    os.write(master, b"\x13")
    assert process.wait(120) == 0
    assert_finished(tmp_path / "runs" / "x")
    os.close(terminal)
    os.close(master)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> list[dict]:
    where = tmp_path_factory.mktemp("undisturbed")
    assert shell(f"{RUN} --name x > /dev/null", where).stdout == "0\n"
    return numbers(where / "runs" / "x")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_readers_that_leave_or_stall_at_random_change_no_number(seed, tmp_path, undisturbed):
    luck = random.Random(seed)
    form, bytes_read = luck.choice(["plain", "json", "auto"]), luck.choice([0, 1, luck.randrange(40_000)])
    stalls = luck.random() < 0.3
    reader, writer = os.pipe()
    fcntl.fcntl(writer, 1031, 4096)  # F_SETPIPE_SZ: soon full
    command = ["sh", "-c", f"exec {RUN} --name x --log-format {form}"]
    process = subprocess.Popen(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL, stdout=writer, stderr=writer if luck.random() < 0.3 else subprocess.PIPE,
    )  # fmt: skip
    os.close(writer)

    def reading() -> None:
        left = bytes_read
        while left > 0 and (part := os.read(reader, min(left, 1000))):
            left -= len(part)
        if not stalls:
            os.close(reader)

    thread = threading.Thread(target=reading)
    thread.start()
    errors = process.communicate(timeout=200)[1]
    thread.join()
    if stalls:
        os.close(reader)
    assert process.returncode == 0
    assert not errors
    assert_finished(tmp_path / "runs" / "x")
    assert numbers(tmp_path / "runs" / "x") == undisturbed


@pytest.mark.slow
def test_a_disk_too_small_for_tensorboard_ends_its_curves_alone(tmp_path, undisturbed):
    """Its library writes by a thread, which prints a traceback and dies."""
    pytest.importorskip("tensorboard")
    done = shell(f"ulimit -f 40; {RUN} --name x > /dev/null", tmp_path)
    assert done.stdout == "0\n"
    assert done.stderr == ""
    run = tmp_path / "runs" / "x"
    assert numbers(run)[: len(undisturbed)] == undisturbed[: len(numbers(run))]


@pytest.mark.slow
def test_ctrl_c_still_stops_a_run_without_a_reader(tmp_path):
    process = subprocess.Popen(
        ["sh", "-c", f"exec {RUN.replace('2048', '9000000')} --name x"], cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout
    process.stdout.readline()
    process.stdout.close()
    log = tmp_path / "runs" / "x" / "run.log"
    while b"detached" not in log.read_bytes():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
