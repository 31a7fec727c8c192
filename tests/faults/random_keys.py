"""Random input for the screen: ``python -m tests.faults.random_keys ARGUMENTS`` is ppo-tui for it to be typed into.

That program does all that ppo-tui does, but leaving and stopping by choice: whatever ends it was no choice. It writes
a byte into the descriptor ``ECHO_FD`` for every F20 that the app takes up.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import random
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path

from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]
DEADLINE = 600.0
ECHO_KEY = b"\x1b[57383u"
"""F20, in the way of kitty."""

SEQUENCES = [
    *(b"\x1b[%c" % letter for letter in b"ABCDHFZ"),
    *(b"\x1bO%c" % letter for letter in b"PQRS"),
    *(b"\x1b[%d~" % number for number in (1, 2, 3, 4, 5, 6, 15, 17, 18, 24)),
    *(b"\x1b[1;5%c" % letter for letter in b"ABCD"),
    b"\x1b",
    b"\r",
    b"\t",
    b"\x7f",
    b"\x10",
    b"\x12",
]
"""Keys that send more than their letter, or none."""

MARKUP = ["[/]", "[/", '[ "', "[red]", "[@click=app.quit]x[/]", "[", "]", "\\[", "[$primary]", "[link=x]y", "{x}", "%s"]

REPORTS = [
    b"\x1b[99999999u",
    b"\x1b[55296u",
    b"\x1b[57358;5u",
    b"\x1b[97;5:3u",
    b"\x1b[48;0;0;0;0t",
    b"\x1b[48;9999;9999;9999;9999t",
    b"\x1b[48;24;80;0;0t",
    b"\x1b[?2026;1$y",
    b"\x1b[?2048;2$y",
    b"\x1b[I",
    b"\x1b[O",
    b"\x1b[5;7R",
    b"\x1b[?1;2c",
    b"\x1bP1$r0m\x1b\\",
    b"\x1b]11;rgb:0000/0000/0000\x07",
    b"\x1b[M\x00\xff\xff",
    b"\x1b[M !!",
]
"""What a terminal may say by itself, and what looks like it."""


HALVES = [b"\xff", b"\xb5", b"\xc3", b"\xe6\xbc", b"\xed\xa0\x80", b"\xf0\x9f", b"\x80", b"\x9b"]
"""Bytes that are no UTF-8, or not yet."""


class Typist:
    """Random input for a terminal of this size, always the same for the same seed."""

    def __init__(self, seed: int, size: tuple[int, int]) -> None:
        self._random = random.Random(seed)
        self._size = size

    def next(self) -> bytes | tuple[int, int]:
        """The next key, paste, click or noise; or a new size (columns, rows) of the window."""
        kinds = [self._key, self._text, self._raw, self._half, self._paste, self._mouse, self._report, self._resize]
        kind = self._random.choices(kinds, [60, 8, 4, 4, 4, 14, 4, 2])[0]
        return kind()

    def _key(self) -> bytes:
        pick = self._random.random()
        key = self._random.choice(SEQUENCES) if pick < 0.4 else bytes([self._random.randrange(32, 127)])
        return key * self._random.choice([1, 1, 1, 1, 2, 3, 5])

    def _text(self) -> bytes:
        texts = [*MARKUP, "µ", "漢字", "e\u0301", "👨‍👩‍👧", "\u202e", "lr 1e-4", "1e400", "nan"]
        return self._random.choice(texts).encode() + self._random.choice([b"", b"\r", b"\x1b"])

    def _raw(self) -> bytes:
        return bytes(self._random.randrange(256) for _ in range(self._random.randrange(1, 5)))

    def _half(self) -> bytes:
        return self._random.choice(HALVES)

    def _paste(self) -> bytes:
        text = b"".join(self._random.choice([self._raw, self._text, self._half])() for _ in range(5))
        return b"\x1b[200~" + text + (b"\x1b[201~" if self._random.random() < 0.9 else b"")

    def _mouse(self) -> bytes:
        columns, rows = self._size
        column, row = self._random.randint(1, columns + 1), self._random.randint(1, rows + 1)
        button = self._random.choice([0, 0, 0, 0, 2, 35, 32, 64, 65, 66, 67, 4, 8, 16])
        press = b"\x1b[<%d;%d;%dM" % (button, column, row)
        clicks = self._random.choice([1, 1, 1, 2, 3])
        return (press + (press[:-1] + b"m" if button < 32 else b"")) * clicks

    def _report(self) -> bytes:
        return self._random.choice(REPORTS)

    def _resize(self) -> tuple[int, int]:
        sizes = [self._size, self._size, (1, 1), (300, 100), (20, 5), (80, 24), (self._random.randint(1, 200), 30)]
        return self._random.choice(sizes)


class TypedInto:
    """A process with a terminal of its own, and all that it writes there.

    Args:
        arguments: of ppo-tui.
        module: to be run; this one never leaves by choice, and alone can be waited for by `catch_up`.
    """

    def __init__(
        self,
        *arguments: str,
        cwd: Path,
        size: tuple[int, int] = (80, 24),
        module: str = "tests.faults.random_keys",
    ) -> None:
        self.size = size
        self.output = bytearray()
        self.master, slave = pty.openpty()
        self.resize(*size)
        self._echo, echo = os.pipe()
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=cwd,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            pass_fds=[echo],
            env={
                **os.environ,
                "TERM": "xterm-256color",
                "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
                "HOME": str(cwd),
                "ECHO_FD": str(echo),
            },
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)
        os.close(echo)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            while part := os.read(self.master, 65536):
                self.output += part

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def wait_for_screen(self) -> None:
        """Return when the app has the terminal: before, a Ctrl+S among the keys would stop its output."""
        wait_until(lambda: b"\x1b[?1049h" in self.output or self.process.poll() is not None, seconds=DEADLINE)
        assert self.process.poll() is None, self.tail

    def catch_up(self) -> None:
        """Return when the app has taken up all that was typed.

        Raises:
            AssertionError: it does not answer.
        """
        give_up = time.monotonic() + DEADLINE
        while True:
            assert self.process.poll() is None, f"it has ended with {self.process.returncode}: {self.tail}"
            assert time.monotonic() < give_up, f"the screen does not answer: {self.tail}"
            self.type(ECHO_KEY)  # again and again, as one may end in a paste or a sequence of another key
            if select.select([self._echo], [], [], 2.0)[0]:
                assert os.read(self._echo, 4096), f"it has ended: {self.tail}"
                return

    @property
    def tail(self) -> str:
        return bytes(self.output[-3000:]).decode("utf-8", "replace")

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._reader.join()
        os.close(self.master)
        os.close(self._echo)


def type_randomly(program: TypedInto, *, seed: int, keys: int, at_once: int = 50) -> None:
    """Type `keys` random inputs, and at the end the keys that bring the main screen back."""
    typist = Typist(seed, program.size)
    program.wait_for_screen()
    for number in range(keys):
        typed = typist.next()
        if isinstance(typed, tuple):
            program.resize(*typed)
        else:
            program.type(typed)
        if number % at_once == at_once - 1:
            program.catch_up()
    program.resize(*program.size)
    program.type(b"\x1b[201~")
    program.catch_up()


def text_of(output: bytes) -> str:
    """What a terminal got, without its sequences."""
    return re.sub(rb"\x1b(\[[0-9;?<>]*[ -/]*[@-~]|[()][A-Z0-9])", b"", output).decode("utf-8", "replace")


def _stay() -> None:
    """Replace the choices to leave and to stop by none."""
    from textual import events

    from ppo_tui.tui.app import PpoTuiApp
    from ppo_tui.tui.screens.dialogs import LeaveDialog
    from ppo_tui.tui.start_app import StartApp

    echo = int(os.environ["ECHO_FD"])
    choose, take, leave = LeaveDialog.action_choose, PpoTuiApp.on_event, PpoTuiApp.action_quit

    async def on_event(app: PpoTuiApp, event: events.Event) -> None:
        if isinstance(event, events.Key) and event.key == "f20":
            os.write(echo, b".")
        else:
            await take(app, event)

    async def ask(app: PpoTuiApp) -> None:
        if app.controller.session.owns_run:
            await leave(app)
        elif not isinstance(app.screen, LeaveDialog):
            app.push_screen(LeaveDialog(can_detach=False))

    StartApp.on_start_screen_chosen = lambda app: None
    PpoTuiApp.on_event = on_event
    PpoTuiApp.detach = lambda app: None
    PpoTuiApp.action_quit = PpoTuiApp.action_interrupt = ask
    LeaveDialog.action_choose = lambda dialog, choice: choose(dialog, "stay")


if __name__ == "__main__":
    from ppo_tui.__main__ import main

    _stay()
    main()
