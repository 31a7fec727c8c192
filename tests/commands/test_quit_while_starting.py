"""Leaving a run that is still starting, in a terminal of its own."""

from __future__ import annotations

import json
import os
import signal

import pytest

from tests.tui.test_terminal import DEADLINE, Terminal


def start(tmp_path, preset: str, *options: str) -> Terminal:
    return Terminal("-m", "ppo_tui", "--preset", preset, "--run-dir", str(tmp_path / "run"), *options)


def check_stopped(terminal: Terminal, tmp_path, code: int) -> None:
    terminal.read_until_end(120.0)
    assert terminal.process.returncode == code
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (facts["status"], facts["reason"]) == ("stopped", "stopped before it had started")
    assert b"stopped before it had started" in terminal.output
    assert b"Traceback" not in terminal.output
    assert b"Exception" not in terminal.output
    ends = [json.loads(line)["event"] for line in (tmp_path / "run" / "events.jsonl").read_text().splitlines()]
    assert ends.count("run-finished") == 1
    assert ends[-1] == "run-finished"


def press_q_and(terminal: Terminal, key: bytes) -> None:
    terminal.read_until(b"STARTING")
    os.write(terminal.master, b"q")
    terminal.read_until(b"Leave the run?")
    os.write(terminal.master, key)


def test_q_and_n_while_starting_leave_at_once_with_code_0(tmp_path):
    terminal = start(tmp_path, "a3c-cartpole")
    try:
        press_q_and(terminal, b"n")
        check_stopped(terminal, tmp_path, 0)
    finally:
        terminal.close()


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["cartpole", "breakout", "pong-lstm"])
def test_q_and_s_while_starting_have_nothing_to_save(tmp_path, preset):
    terminal = start(tmp_path, preset)
    try:
        press_q_and(terminal, b"s")
        check_stopped(terminal, tmp_path, 0)
    finally:
        terminal.close()


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize("options", [(), ("--headless",)])
def test_a_signal_while_starting_is_recorded(tmp_path, number, code, options):
    terminal = start(tmp_path, "cartpole", *options)
    try:
        if options:
            path = tmp_path / "run" / "run.json"
            while not path.exists():
                terminal.process.poll()
        else:
            terminal.read_until(b"STARTING")
        terminal.process.send_signal(number)
        check_stopped(terminal, tmp_path, code)
    finally:
        terminal.close()


@pytest.mark.slow
def test_d_while_starting_lets_the_run_begin_in_the_background(tmp_path):
    terminal = start(tmp_path, "cartpole")
    try:
        terminal.read_until(b"STARTING")
        os.write(terminal.master, b"d")
        terminal.read_until(b"handing over")
        terminal.read_until_end(10 * DEADLINE)
        assert b"continues in the background" in terminal.output
        facts = json.loads((tmp_path / "run" / "run.json").read_text())
        os.kill(facts["pid"], signal.SIGTERM)
        assert facts["preset"] == "cartpole"
        assert not list((tmp_path / "run").glob("abandoned*"))
    finally:
        terminal.close()
