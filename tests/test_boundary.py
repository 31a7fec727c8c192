"""Whatever a command raises is a sentence and a documented exit code."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import click
import pytest
import typer

from ppo_tui import cli
from ppo_tui.boundary import guarded
from ppo_tui.errors import DivergedError, PPOTuiError, UsageError
from tests.conftest import ROOT


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise ValueError


def interrupted_import() -> int:
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt:
        raise ImportError("half a module")  # noqa: B904


def digits() -> int:
    return int("9" * 5_000)


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (UsageError("wrong", hint="right"), 2, "wrong\n  right"),
        (DivergedError("NaN"), 4, "NaN"),
        (PPOTuiError("odd"), 3, "odd"),
        (FileNotFoundError(2, "No such file or directory", "x.toml"), 2, "x.toml: No such file"),
        (OSError(36, "File name too long", "x"), 2, "too long"),
        (OSError(40, "Too many levels of symbolic links", "x"), 2, "links"),
        (OSError(24, "Too many open files"), 3, "ulimit -n"),
        (OSError(27, "File too large"), 3, "ulimit -f"),
        (OSError(28, "No space left on device"), 3, "room on the disk"),
        (OSError("words alone"), 3, "words alone"),
        (MemoryError(), 3, "not enough memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes"), 3, "not enough"),
        (RecursionError("maximum recursion depth exceeded"), 2, "nested too deeply"),
        (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"), 2, "cannot be read or written"),
        (OverflowError("cannot convert float infinity to integer"), 2, "too large"),
        (ValueError("embedded null byte"), 2, "null byte"),
        (ModuleNotFoundError("No module named 'torch'"), 3, "ppo-tui doctor"),
        (KeyError("name"), 3, "KeyError: 'name'\n  this is a bug of ppo-tui; --debug"),
        (Unspeakable(), 3, "its message raises ValueError"),
        (BaseExceptionGroup("several", [ValueError("one")]), 3, "this is a bug"),
        (SystemExit("words of a library"), 3, "words of a library"),
        (SystemExit(1), 3, ""),
        (SystemExit(None), 0, ""),
        (KeyboardInterrupt(), 130, ""),
        (typer.Abort(), 130, ""),
        (click.UsageError("no such option"), 2, "no such option"),
        (click.FileError("x"), 2, "x"),
        (BrokenPipeError(32, "Broken pipe"), 0, ""),
        (UsageError("\x1b[31mred\x9b"), 2, "�[31mred�"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_every_exception_is_words_and_a_code(error: BaseException, code: int, words: str, capsys):
    def command() -> int:
        raise error

    assert guarded(command) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err
    assert bool(err) == bool(words)
    assert "Traceback" not in err


@pytest.mark.parametrize(("command", "code"), [(interrupted_import, 130), (digits, 2)])
def test_exceptions_as_they_come(command, code: int, capsys):
    assert guarded(command) == code
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["bench", "--updates", "0"], "--updates 0: it should be at least 1"),
        (["serve", "--port", "99999"], "--port 99999: it should be at most 65535"),
        (["--fps", "inf"], "--fps inf: it should be at most 60"),
        (["eval", "run", "--episodes", "\x1b[31mfew"], "--episodes \ufffd[31mfew: it should be a valid integer"),
    ],
)
def test_a_refused_value_is_named_with_its_option_and_rule(words: list[str], told: str, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["ppo-tui", *words])
    assert cli.run() == 2
    assert told in capsys.readouterr().err


def test_debug_shows_the_traceback_and_changes_no_code(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["ppo-tui", "--debug"])
    assert guarded(digits) == 2
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert "too many digits" in err


def test_a_message_as_long_as_a_book_is_cut(capsys):
    def command() -> int:
        raise KeyError("x" * 100_000)

    guarded(command)
    assert len(capsys.readouterr().err) < 3_000


def run_main(code: str, **options) -> subprocess.CompletedProcess[str]:
    """Run Python code that calls `main`, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, cwd=ROOT, **options
    )


def test_threads_finalizers_and_logging_print_no_traceback():
    done = run_main("""if True:
        import logging, sys, threading
        from ppo_tui.boundary import guard_process
        guard_process()
        class Odd:
            def __del__(self): raise KeyError("deleted")
        Odd()
        thread = threading.Thread(target=lambda: 1 / 0, name="curves\\x1b[31m"); thread.start(); thread.join()
        logging.getLogger().addHandler(logging.StreamHandler(sys.stderr))
        logging.warning("%d", "no number")
        logging.warning("torn \\udc80 \\x9b")
    """)
    assert "Traceback" not in done.stderr
    assert "the thread curves" in done.stderr
    assert "KeyError: 'deleted'" in done.stderr
    assert "\x1b" not in done.stderr
    assert done.returncode == 0


def test_an_import_that_fails_is_a_sentence():
    done = run_main("""if True:
        import sys
        sys.argv = ["ppo-tui", "presets"]
        sys.modules["typer"] = None
        from ppo_tui.__main__ import main
        main()
    """)
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    assert "ppo-tui doctor" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("delay", [0.3 + 0.06 * number for number in range(20)])
def test_an_interrupt_at_any_moment_leaves_with_130_and_no_traceback(delay: float, tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "ppo_tui", "--preset", "cartpole", "--headless", "--name", "x"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    time.sleep(delay)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    # The signal itself ends an interpreter that is not up yet; a shell shows 130 then, too.
    assert process.returncode == 130 or (process.returncode, out, err) == (-signal.SIGINT, "", "")
    assert "Traceback" not in out + err


SIZED = """
from ppo_tui.boundary import guard_process
guard_process()
from ppo_tui.console import PrintableConsole
from rich.rule import Rule
PrintableConsole().print(Rule())
"""


@pytest.mark.parametrize("size", ["²", "9" * 5_000, "99999"], ids=["digit", "long", "wide"])
def test_an_odd_size_of_the_terminal_in_the_environment_is_none(size: str):
    """Rich takes any digit for a number, and each line for as long as it says."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": size, "LINES": size}
    done = subprocess.run(
        [sys.executable, "-c", SIZED], env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert len(done.stdout.decode().strip()) == 80
