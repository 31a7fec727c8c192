"""Nothing that is printed, drawn by Rich or written as JSON steers a terminal."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import sys
import warnings
from collections.abc import Iterator

import click
import pytest
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from ppo_tui.commands.output import cell, print_json
from ppo_tui.console import PrintableConsole
from ppo_tui.protocol import Alarm, Level, decode_event, encode
from ppo_tui.sinks import describe
from ppo_tui.streams import bytes_below, flush_streams, printable_streams
from ppo_tui.text import printable

HOSTILE = "a\x1b]0;PWN\x07b\x1b[2J\x9b31m\u202ec\x7f\ud800d"
"""A title, a cleared screen, C1, bidi, DEL and a lone surrogate."""


class Terminal(io.TextIOWrapper):
    """A stream that claims to be a terminal."""

    def __init__(self, encoding: str = "utf-8") -> None:
        self.bytes = io.BytesIO()
        super().__init__(self.bytes, encoding=encoding, write_through=True)

    def isatty(self) -> bool:
        return True

    @property
    def text(self) -> str:
        return self.bytes.getvalue().decode(self.encoding)


@contextlib.contextmanager
def terminal_of(encoding: str) -> Iterator[Terminal]:
    """Stand a terminal in for stdout and stderr, guarded as those of a command."""
    stream = Terminal(encoding)
    with (
        contextlib.redirect_stdout(stream),
        contextlib.redirect_stderr(stream),
        printable_streams(),
    ):
        yield stream


ENCODINGS = pytest.mark.parametrize("encoding", ["utf-8", "ascii"])


def assert_clean(text: str) -> None:
    assert text
    assert printable(text, lines=True) == text


def log(text: str) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.emit(logging.LogRecord("x", logging.ERROR, "x", 1, text, None, None))


PRINTERS = {
    "print": print,
    "write": lambda text: sys.stderr.writelines([text]),
    "click": click.echo,
    "click on stderr": lambda text: click.echo(text, err=True),
    "logging": log,
    "warnings": lambda text: sys.stderr.write(warnings.formatwarning(text, UserWarning, "file", 1)),
    "rich": lambda text: PrintableConsole(color_system=None).print(text, markup=False),
    "json": print_json,
}


@pytest.mark.parametrize("name", PRINTERS)
@ENCODINGS
def test_whatever_prints_reaches_the_terminal_clean(encoding, name):
    with terminal_of(encoding) as terminal:
        PRINTERS[name](HOSTILE)
    assert_clean(terminal.text)


@ENCODINGS
def test_colours_of_ours_stay_and_those_of_others_go(encoding):
    with terminal_of(encoding) as terminal:
        PrintableConsole(color_system="standard").print(Text("\x1b[31mred", style="green"))
        print("\x1b[33mWARN\x1b[0m: a library")
        drawn, printed, _ = terminal.text.split("\n")
        assert drawn.startswith("\x1b[32m")
        assert "[31mred" in drawn
        assert drawn.count("\x1b") == 2
        assert printed == "WARN: a library"


@ENCODINGS
def test_a_progress_bar_moves_the_cursor_and_what_is_printed_beside_it_does_not(encoding):
    with terminal_of(encoding) as terminal:
        with Progress(console=PrintableConsole(force_terminal=True, color_system="standard", width=60)) as progress:
            progress.add_task(HOSTILE, total=1)
            print(HOSTILE)
        assert "\x1b[?25l" in terminal.text  # the hidden cursor: Rich's own
        for torn in ("\x1b]0", "\x1b[2J\x9b", "\x9b", "\u202e", "\x07"):
            assert torn not in terminal.text


@ENCODINGS
def test_a_link_of_somebody_else_is_not_drawn(encoding):
    with terminal_of(encoding) as terminal:
        with Progress(console=PrintableConsole(force_terminal=True, color_system="standard", width=60)):
            print("\x1b]8;;http://evil.example\x1b\\click\x1b]8;;\x1b\\")
        assert "evil.example\x1b" not in terminal.text
        assert "\x1b]8" not in terminal.text


@ENCODINGS
def test_a_hostile_cell_is_as_wide_as_it_looks(encoding):
    with terminal_of(encoding) as terminal:
        table = Table("a", "b")
        for text in ("x", HOSTILE, "new\nline"):
            table.add_row(cell(text), cell("end"))
        PrintableConsole(color_system=None, width=60).print(table)
        lines = terminal.text.splitlines()
        assert len({len(line) for line in lines}) == 1
        assert_clean(terminal.text)


@ENCODINGS
def test_json_means_what_it_meant_and_is_clean_in_any_locale(encoding):
    with terminal_of(encoding) as terminal:
        content = {"name": HOSTILE, "größe": float("nan"), "n": [1, None, True]}
        print_json(content)
        assert_clean(terminal.text)
        assert json.loads(terminal.text) == content | {"größe": None}


def test_json_of_events_is_clean_and_can_be_read_back():
    event = Alarm(level=Level.ERROR, message=HOSTILE.replace("\ud800", ""))
    line = encode(event)
    assert_clean(line.decode())
    assert decode_event(line).message == event.message
    assert decode_event(encode(Alarm(level=Level.INFO, message="a\ud800b"))).message == "a?b"


def test_events_in_words_are_clean():
    assert_clean(describe(Alarm(level=Level.ERROR, message=HOSTILE)) or "")


def test_the_bytes_of_a_closed_stream_lead_nowhere():
    assert bytes_below(None).write(b"x") == 1


def test_a_full_stream_is_told_and_a_reader_that_left_is_not(monkeypatch):
    class Failing(io.StringIO):
        def flush(self) -> None:
            raise self.error

    for error, told in ((OSError(28, "full"), True), (BrokenPipeError(32, "gone"), False)):
        stream = Failing()
        stream.error = error
        monkeypatch.setattr("os.dup2", lambda *_: None)
        assert (flush_streams(stream, None) is not None) is told
