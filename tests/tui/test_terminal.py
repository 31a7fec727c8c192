"""The screen in a pseudo-terminal: signals, loggers, and the end."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from ppo_tui.tui.controller import Controller
from ppo_tui.tui.log_entries import Kind
from ppo_tui.tui.terminal import _captured_logging
from tests.tui.fake import FakeSession

ROOT = Path(__file__).parents[2]
DEADLINE = 60.0
ENTERS_ALTERNATE_SCREEN = b"\x1b[?1049h"
LEAVES_ALTERNATE_SCREEN = b"\x1b[?1049l"


class Terminal:
    """A process with a terminal of its own, as a login shell has one.

    Its size is that in lines and columns, then in pixels, 0 where it is not told.
    """

    def __init__(self, *command: str, size: tuple[int, int, int, int] = (24, 80, 0, 0)) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", *size))
        self.before = termios.tcgetattr(slave)
        sized_by_terminal = {name: text for name, text in os.environ.items() if name not in ("COLUMNS", "LINES")}
        self.slave = slave
        self.process = subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**sized_by_terminal, "TERM": "xterm-256color", "PYTHONPATH": str(ROOT)},
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        self.output = b""

    def read_until(self, text: bytes) -> None:
        give_up = time.monotonic() + DEADLINE
        while text not in self.output:
            ready, _, _ = select.select([self.master], [], [], max(0.0, give_up - time.monotonic()))
            assert ready, f"{text!r} never came; the last was {self.output[-500:]!r}"
            self.output += os.read(self.master, 65536)

    def read_until_end(self, seconds: float) -> None:
        """Read until the process has ended."""
        give_up = time.monotonic() + seconds
        while self.process.poll() is None or select.select([self.master], [], [], 0.0)[0]:
            assert time.monotonic() < give_up, f"it does not end; the last was {self.output[-500:]!r}"
            if select.select([self.master], [], [], 0.2)[0]:
                self.output += os.read(self.master, 65536)

    def leave_by_ctrl_c(self, answer: bytes, code: int) -> None:
        """Press Ctrl+C and answer; the program leaves with `code` and gives the terminal back."""
        os.write(self.master, b"\x03")
        self.read_until(b"Leave the run?")
        os.write(self.master, answer)
        self.read_until(LEAVES_ALTERNATE_SCREEN)
        assert self.process.wait(DEADLINE) == code
        assert termios.tcgetattr(self.slave) == self.before

    def end_by_sigterm(self) -> None:
        """End the program by SIGTERM; it gives the terminal back."""
        self.process.send_signal(signal.SIGTERM)
        self.read_until(LEAVES_ALTERNATE_SCREEN)
        assert self.process.wait(DEADLINE) == 143

    def hang_up(self) -> None:
        os.close(self.slave)
        os.close(self.master)
        self.master = -1

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        if self.master >= 0:
            self.hang_up()


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    terminal = Terminal("-m", "tests.tui.fake")
    yield terminal
    terminal.close()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_shows_it_and_gives_the_terminal_back(terminal, number, code):
    terminal.read_until(b"TRAINING")
    terminal.process.send_signal(number)
    terminal.read_until(b"SAVING")
    terminal.read_until(LEAVES_ALTERNATE_SCREEN)
    assert terminal.process.wait(DEADLINE) == code
    assert termios.tcgetattr(terminal.slave) == terminal.before
    assert b"Traceback" not in terminal.output


def test_a_process_stopped_and_continued_by_others_takes_its_terminal_anew(terminal):
    terminal.read_until(b"TRAINING")
    process = psutil.Process(terminal.process.pid)
    threads = process.num_threads()
    for _ in range(3):
        process.send_signal(signal.SIGSTOP)
        assert os.waitpid(process.pid, os.WUNTRACED)[1]
        termios.tcsetattr(terminal.slave, termios.TCSANOW, terminal.before)  # as a shell does
        terminal.output = b""
        process.send_signal(signal.SIGCONT)
        terminal.read_until(ENTERS_ALTERNATE_SCREEN)
        terminal.output = terminal.output.partition(ENTERS_ALTERNATE_SCREEN)[2]
        terminal.read_until(b"TRAINING")
    assert process.num_threads() == threads
    terminal.leave_by_ctrl_c(b"s", 0)


def test_a_terminal_that_goes_away_takes_the_screen_with_it_and_not_the_run(terminal, tmp_path):
    told = tmp_path / "told"
    terminal.close()
    code = f"""
import pathlib, sys
from ppo_tui.tui.session_app import Departure
from ppo_tui.tui.terminal import run_screen
from tests.tui.fake import fake_session
session = fake_session()
outcome = run_screen(session)
pathlib.Path({str(told)!r}).write_text(f"{{outcome.departure is Departure.HUNG_UP}} {{session.live}}")
"""
    terminal = Terminal("-c", code)
    terminal.read_until(b"TRAINING")
    terminal.hang_up()
    terminal.process.wait(DEADLINE)
    assert told.read_text() == "True True"


@pytest.mark.parametrize("loss", ["hang-up", "failure"])
def test_a_signal_while_a_lost_screen_is_taken_down_is_for_the_run(loss, tmp_path):
    told = tmp_path / "told"
    code = f"""
import os, pathlib, signal
from ppo_tui.tui import terminal
from tests.tui.fake import FakeSession, recorded

def end_soon():
    ignore_hangups()
    for _ in range(2):
        os.kill(os.getpid(), signal.SIGTERM)

class Broken(FakeSession):
    def poll(self):
        raise ZeroDivisionError

arrived = []
signal.signal(signal.SIGTERM, lambda number, _: arrived.append(number))
ignore_hangups, terminal.ignore_hangups = terminal.ignore_hangups, end_soon
outcome = terminal.run_screen((FakeSession if {loss!r} == "hang-up" else Broken)(recorded(3)))
pathlib.Path({str(told)!r}).write_text(f"{{outcome.departure.name}} {{arrived}}")
"""
    terminal = Terminal("-c", code)
    if loss == "hang-up":
        terminal.read_until(b"TRAINING")
        terminal.hang_up()
    else:
        terminal.read_until(LEAVES_ALTERNATE_SCREEN)
    terminal.process.wait(DEADLINE)
    assert told.read_text() == ("HUNG_UP [15]" if loss == "hang-up" else "LOST [15]")


def test_writing_to_a_terminal_that_is_gone_does_no_harm():
    code = """
import os, signal, sys
from ppo_tui.runs.hangup import leave_terminal
signal.signal(signal.SIGHUP, signal.SIG_IGN)
os.write(1, b"ready")
try:
    os.read(0, 1)
except OSError:
    pass
leave_terminal()
os.write(1, b"into nothing")
"""
    terminal = Terminal("-c", code)
    terminal.read_until(b"ready")
    terminal.hang_up()
    assert terminal.process.wait(DEADLINE) == 0


def test_ctrl_c_twice_gives_the_terminal_back(terminal):
    terminal.read_until(b"TRAINING")
    terminal.leave_by_ctrl_c(b"\x03", 130)


ENGINE = """
import os, sys
from ppo_tui.protocol import RunFinished, RunState, StateChanged
from ppo_tui.tui.terminal import run_screen
from tests.tui.fake import PlayingEngine, fake_session

class Engine(PlayingEngine):
    def run(self):
        {}
        super().run()

sys.exit(run_screen(fake_session(Engine)).exit_code)
"""


def screen_with(*lines: str) -> Terminal:
    """The fake run, whose engine does this first."""
    return Terminal("-c", ENGINE.format("\n        ".join(lines)))


def test_what_libraries_write_becomes_events_and_never_reaches_the_terminal():
    terminal = screen_with(
        r"os.write(1, b'\x1b]0;from C code\x07 on stdout\n')",
        r"os.write(2, b'\x1b]0;from C code\x07 on stderr\n')",
        r"print('\x1b]0;from Python\x07 printed', flush=True)",
    )
    for text in (b"on stdout", b"on stderr", b"printed", b"TRAINING"):
        terminal.read_until(text)
    assert b"\x1b]0;" not in terminal.output
    terminal.end_by_sigterm()


def test_quitting_while_the_engine_starts_gives_the_terminal_back():
    terminal = screen_with("__import__('threading').Event().wait(1000)")
    terminal.read_until(b"STARTING")
    terminal.leave_by_ctrl_c(b"\x03", 130)


def test_an_error_in_the_screen_itself_gives_the_terminal_back():
    code = """
from ppo_tui.tui.terminal import run_screen
from tests.tui.fake import FakeSession, recorded

class Broken(FakeSession):
    def poll(self):
        raise ZeroDivisionError("in the screen")

outcome = run_screen(Broken(recorded(3)))
print(outcome.departure.name, outcome.failure.summary)
"""
    terminal = Terminal("-c", code)
    terminal.read_until(LEAVES_ALTERNATE_SCREEN)
    terminal.read_until(b"LOST ZeroDivisionError: in the screen")
    terminal.process.wait(DEADLINE)
    assert termios.tcgetattr(terminal.slave) == terminal.before
    assert b"Traceback" not in terminal.output


def test_strips_have_their_caches_again_when_the_screen_has_ended(tmp_path):
    told = tmp_path / "told"
    code = f"""
import pathlib
from rich.segment import Segment
from textual.strip import Strip
from ppo_tui.tui.terminal import run_screen
from tests.tui.fake import FakeSession, recorded

def keeps_parts():
    strip = Strip([Segment("ab")])
    return strip.crop(0, 1) is strip.crop(0, 1)

seen = []

class Looking(FakeSession):
    def poll(self):
        seen.append(keeps_parts())
        raise ZeroDivisionError("enough seen")

run_screen(Looking(recorded(3)))
pathlib.Path({str(told)!r}).write_text(f"{{seen[0]}} {{keeps_parts()}}")
"""
    terminal = Terminal("-c", code)
    terminal.read_until(LEAVES_ALTERNATE_SCREEN)
    terminal.process.wait(DEADLINE)
    assert told.read_text() == "False True"


def test_the_learner_goes_on_while_the_terminal_does_not_read(tmp_path):
    run = tmp_path / "run"
    terminal = Terminal("-m", "ppo_tui", "--preset", "cartpole", "--total-steps", "10_000_000", "--run-dir", str(run))
    terminal.read_until(b"TRAINING")
    os.write(terminal.master, 4 * b"?qmm")  # whole screens to draw, far more than a terminal takes unread
    began = seconds_trained(run)
    give_up = time.monotonic() + DEADLINE
    while (now := seconds_trained(run)) < began + 4.0:
        assert time.monotonic() < give_up, f"the learner stands at {now:.1f} s of the run"
        time.sleep(0.1)
    terminal.output = b""
    terminal.leave_by_ctrl_c(b"n", 0)


def seconds_trained(run: Path) -> float:
    """Of the run, as of the newest complete line of its metrics."""
    metrics = run / "metrics.jsonl"
    lines = metrics.read_text().rpartition("\n")[0].splitlines() if metrics.exists() else []
    return json.loads(lines[-1])["time/time_elapsed"] if lines else 0.0


def test_messages_of_libraries_go_to_the_log_of_the_screen(capsys):
    controller = Controller(FakeSession(), clock=lambda: 0.0)
    with _captured_logging(controller.messages), warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("deprecated since long", DeprecationWarning, stacklevel=1)
        logging.getLogger("some.library").error("cannot\nwrite")
        logging.getLogger("some.library").info("chatter")
    assert controller.poll()
    assert [entry.kind for entry in controller.view.log] == [Kind.WARNING, Kind.ERROR]
    assert "deprecated since long" in controller.view.log[0].text
    assert controller.view.log[1].text == "some.library: cannot write"
    assert capsys.readouterr().err == ""


def test_the_screen_starts_without_torch_and_what_only_later_pages_need():
    later = {"torch", "gymnasium", "rich.traceback", "pygments", "ppo_tui.tui.screens.runs"}
    code = f"import sys, ppo_tui.tui.terminal; print(sorted({later} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"
