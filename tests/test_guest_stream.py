"""Readers of real pipes leave, stall and return."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ppo_tui import guest_stream as module
from ppo_tui.guest_stream import GuestStream, guest_stream
from tests.conftest import ROOT

PIPE_BYTES = 4096
"""The smallest pipe of Linux, which is soon full."""


@contextlib.contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    """The two ends of a small pipe, closed at the end wherever they are not yet."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, 1031, PIPE_BYTES)  # F_SETPIPE_SZ
    try:
        yield reader, writer
    finally:
        for descriptor in (reader, writer):
            with contextlib.suppress(OSError):
                os.close(descriptor)


def read_to_the_end(reader: int) -> bytes:
    with os.fdopen(os.dup(reader), "rb") as file:
        return file.read()


@settings(max_examples=40)
@given(
    chunks=st.lists(st.binary(max_size=3000), max_size=12),
    read=st.integers(0, 12_000),
    flushes=st.lists(st.booleans(), min_size=12, max_size=12),
)
def test_whenever_its_reader_leaves_writing_never_raises_and_what_was_read_is_the_beginning(chunks, read, flushes):
    with pipe() as (reader, writer):
        stream = GuestStream(writer, patience=60.0)
        got = bytearray()

        def reading() -> None:
            while len(got) < read and (part := os.read(reader, min(1000, read - len(got)))):
                got.extend(part)
            os.close(reader)

        thread = threading.Thread(target=reading)
        thread.start()
        for chunk, flush in zip(chunks, flushes, strict=False):
            assert stream.write(chunk) == len(chunk)
            if flush:
                stream.flush()
        everything = b"".join(chunks)
        whole = stream.drain(60.0)
        os.close(writer)
        thread.join()
        assert everything.startswith(bytes(got))
        assert whole or isinstance(stream.failure, BrokenPipeError)
        if len(everything) <= read:
            assert (bytes(got), whole) == (everything, True)


def test_a_reader_that_stalls_delays_nobody_and_gets_everything_later():
    with pipe() as (reader, writer):
        stream = GuestStream(writer, patience=0.0)
        content = [bytes([number]) * 1000 for number in range(100)]
        for line in content:
            stream.write(line)
            stream.flush()
        assert stream.drain(0.01) is False
        assert stream.failure is None
        rest: list[bytes] = []
        thread = threading.Thread(target=lambda: rest.append(read_to_the_end(reader)))
        thread.start()
        while not stream.drain(0.01):  # it has been given up until it reads, which it does at any moment now
            pass
        os.close(writer)
        thread.join()
        assert rest == [b"".join(content)]


def test_output_beyond_memory_is_left_out_and_counted(monkeypatch):
    monkeypatch.setattr(module, "MAX_WAITING_BYTES", 20_000)
    with pipe() as (reader, writer):
        stream = GuestStream(writer, patience=0.0)
        for _ in range(100):
            stream.write(b"x" * 1000)
        assert stream.behind
        assert 70 <= stream.left_out <= 80
        thread = threading.Thread(target=read_to_the_end, args=(reader,))
        thread.start()
        while not stream.drain(0.01):
            pass
        assert not stream.behind
        left_out = stream.left_out
        stream.write(b"again")
        assert stream.drain(60.0)
        assert stream.left_out == left_out
        os.close(writer)
        thread.join()


def test_a_pipe_made_non_blocking_by_another_process_loses_nothing():
    with pipe() as (reader, writer):
        os.set_blocking(writer, False)
        stream = GuestStream(writer, patience=0.0)
        stream.write(b"x" * 50_000)
        got: list[bytes] = []
        thread = threading.Thread(target=lambda: got.append(read_to_the_end(reader)))
        thread.start()
        while not stream.drain(0.05):
            pass
        os.close(writer)
        thread.join()
        assert got == [b"x" * 50_000]


def test_a_signal_handler_may_print_while_the_stream_is_in_use():
    with pipe() as (reader, writer):
        got: list[bytes] = []
        thread = threading.Thread(target=lambda: got.append(read_to_the_end(reader)))
        thread.start()
        file = os.fdopen(os.dup(writer), "w")
        stream = guest_stream(file, patience=60.0)
        assert stream is not None
        printing: list[bool] = []

        def interrupt(*_: object) -> None:
            if not printing:  # on a busy machine the next signal comes before the end of this one
                printing.append(True)
                print("!", file=stream, flush=True)
                printing.clear()

        before = signal.signal(signal.SIGALRM, interrupt)
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        try:
            for number in range(2000):
                print(number, file=stream)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        stream.flush()
        file.close()
        os.close(writer)
        thread.join()
        text = got[0].decode().replace("!\n", "").replace("!", "")
        assert text.split() == [str(number) for number in range(2000)]


@pytest.mark.parametrize("error", ["/dev/full", "closed"])
def test_a_full_or_closed_descriptor_is_a_fact_to_ask_for(error: str):
    descriptor = os.open("/dev/full" if error == "/dev/full" else os.devnull, os.O_WRONLY)
    stream = GuestStream(descriptor, patience=60.0)
    if error == "closed":
        os.close(descriptor)
    stream.write(b"x")
    assert stream.drain(60.0) is False
    assert isinstance(stream.failure, OSError)
    assert stream.write(b"more") == 4
    stream.flush()


def test_a_stream_without_a_descriptor_is_left_alone():
    import io

    assert guest_stream(io.StringIO(), patience=1.0) is None
    assert guest_stream(None, patience=1.0) is None


WITHOUT = """
import os, sys
from ppo_tui.boundary import guard_process
guard_process()
opened = os.open(os.devnull, os.O_RDONLY)
os.write(1, b"x"), os.write(2, b"x")
print("out"); print("err", file=sys.stderr)
sys.exit(0 if opened > 2 and not sys.stdin.read() else 9)
"""


def test_closed_standard_streams_lend_their_numbers_to_no_file():
    command = f'exec "{sys.executable}" -c "$0" <&- >&- 2>&-'
    done = subprocess.run(["sh", "-c", command, WITHOUT], env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=60)
    assert done.returncode == 0


HANGING = """
import atexit, threading
from ppo_tui import boundary
boundary.EXIT_SECONDS = 0.2
atexit.register(threading.Event().wait)
threading.Thread(target=threading.Event().wait).start()
boundary.leave(3)
"""


def test_libraries_that_wait_for_ever_at_the_exit_change_neither_its_code_nor_its_time():
    command = [sys.executable, "-c", HANGING]
    assert subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=60).returncode == 3
