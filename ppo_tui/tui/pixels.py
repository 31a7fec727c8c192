"""Pictures in the terminal's own pixels: Kitty's protocol and sixel.

Before Textual takes the terminal, it is asked for what it can draw. This file imports no Textual.

See https://sw.kovidgoyal.net/kitty/graphics-protocol/ and https://vt100.net/docs/vt3xx-gp/chapter14.html.
"""

from __future__ import annotations

import base64
import contextlib
import enum
import fcntl
import os
import re
import select
import struct
import termios
import time
import tty
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..extras import is_installed
from .screen_options import ScreenOptions

MISSING = "textual-image is not installed"

NEAR_SECONDS, FAR_SECONDS = 0.3, 2.0
"""Longest wait for the answers of a terminal of this machine, and of one far away."""

_QUESTIONS = b"\x1b_Gi=1,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\\x1b[16t\x1b[c"
"""Kitty's protocol? A cell's size? The last one, for the terminal's kind, is answered by almost all."""

_KITTY = re.compile(rb"\x1b_Gi=1;OK\x1b\\")
_CELL = re.compile(rb"\x1b\[6;(\d{1,4});(\d{1,4})t")
_KIND = re.compile(rb"\x1b\[\?([\d;]*)c")
_ANSWERS = re.compile(rb"\x1b_G[^\x1b]*\x1b\\|\x1b\[6;\d{1,4};\d{1,4}t|\x1b\[\?[\d;]*c")

_SIXEL = b"4"
"""Among the attributes of a terminal's kind."""

_CHUNK = 4096
"""Most characters of one command of Kitty's protocol."""

_MOST_BYTES = 65_536
"""Of answers, and of what was typed meanwhile."""


class Graphics(enum.StrEnum):
    """The protocol of a terminal's pictures."""

    KITTY = "kitty"
    SIXEL = "sixel"


@dataclass(frozen=True)
class Answer:
    """A terminal's answer.

    Attributes:
        graphics: its protocol; None where it draws no pixels.
        cell: width and height of a cell in pixels; None where it is unknown.
        typed: keys that came in between.
        reason: that for no pixels; empty with pixels.
        charts: the charts are to be drawn in pixels too.
    """

    graphics: Graphics | None = None
    cell: tuple[int, int] | None = None
    typed: bytes = b""
    reason: str = ""
    charts: bool = False


def reason_against(options: ScreenOptions, environment: Mapping[str, str]) -> str:
    """The reason to draw no pixels, unasked; empty without one."""
    if options.pixels == "off":
        return "--pixels off"
    if options.fps == 0 and options.pixels != "charts":
        return "no game is shown"
    if options.look.ascii:
        return "the screen is drawn in ASCII characters alone"
    if environment.get("NO_COLOR"):
        return "NO_COLOR is set"
    if options.look.theme == "ansi":
        return "the theme has the terminal's 16 colours alone"
    if "TEXTUAL_DRIVER" in environment:
        return "a browser shows the screen"
    term = environment.get("TERM", "")
    if term in ("", "dumb", "unknown", "linux"):
        return f"TERM is {term or 'not set'}"
    if options.pixels == "auto":
        if environment.get("SSH_CONNECTION"):
            return "the connection is ssh"
        if environment.get("TMUX") or environment.get("STY") or term.startswith(("tmux", "screen")):
            return "tmux and screen keep pictures back"
    return "" if is_installed("textual_image") else MISSING


def ask(environment: Mapping[str, str], reader: int = 0, writer: int = 1) -> Answer:
    """Ask the terminal for its pictures, and wait for a moment.

    Args:
        reader: descriptor of its keys.
        writer: descriptor of its screen.
    """
    if not (os.isatty(reader) and os.isatty(writer)):
        return Answer()
    seconds = FAR_SECONDS if environment.get("SSH_CONNECTION") else NEAR_SECONDS
    with contextlib.suppress(OSError, termios.error):
        before = termios.tcgetattr(reader)
        try:
            tty.setcbreak(reader, termios.TCSANOW)
            os.write(writer, _QUESTIONS)
            said = _read_until_kind(reader, seconds)
        finally:
            termios.tcsetattr(reader, termios.TCSANOW, before)
        kind = _KIND.search(said)
        graphics = None
        if kind and _SIXEL in kind[1].split(b";"):  # first, as others than Kitty know but a part of its protocol
            graphics = Graphics.SIXEL
        elif _KITTY.search(said):
            graphics = Graphics.KITTY
        typed, told = without_answers(said)
        return Answer(graphics, cell_size(writer) or told, typed)
    return Answer()


def _read_until_kind(reader: int, seconds: float) -> bytes:
    said, give_up = b"", time.monotonic() + seconds
    while not _KIND.search(said) and len(said) < _MOST_BYTES:
        if not select.select([reader], [], [], max(0.0, give_up - time.monotonic()))[0]:
            break
        if not (more := os.read(reader, 4096)):
            break
        said += more
    return said


def without_answers(data: bytes) -> tuple[bytes, tuple[int, int] | None]:
    """Take a terminal's answers, late ones too, out of its keys.

    Returns a cell's width and height as well, where they are told.
    """
    if b"\x1b" not in data:
        return data, None
    cell = _CELL.search(data)
    size = (int(cell[2]), int(cell[1])) if cell else None
    return _ANSWERS.sub(b"", data), size if size and all(size) else None


def cell_size(writer: int) -> tuple[int, int] | None:
    """Width and height of a cell in pixels, if the system knows."""
    with contextlib.suppress(OSError):
        lines, columns, width, height = struct.unpack(
            "HHHH", fcntl.ioctl(writer, termios.TIOCGWINSZ, struct.pack("HHHH", 0, 0, 0, 0))
        )
        if lines and columns and width >= columns and height >= lines:
            return width // columns, height // lines
    return None


def kitty_picture(frame: np.ndarray, number: int, columns: int, lines: int) -> str:
    """Send a picture, to be seen in the cells of `placeholders`.

    The picture is uint8 `[H, W, 3]`. It replaces the one of this number.
    """
    height, width, _ = frame.shape
    data = base64.b64encode(zlib.compress(frame.tobytes())).decode()
    keys = f"a=T,U=1,i={number},c={columns},r={lines},f=24,s={width},v={height},o=z,q=2,"
    commands = []
    for start in range(0, len(data), _CHUNK):
        more = int(start + _CHUNK < len(data))
        commands.append(f"\x1b_G{'q=2,' if start else keys}m={more};{data[start : start + _CHUNK]}\x1b\\")
    return "".join(commands)


def kitty_deletion(number: int) -> str:
    """Delete a picture, and its data."""
    return f"\x1b_Ga=d,d=I,i={number},q=2\x1b\\"


@dataclass(frozen=True)
class Indexed:
    """A picture of at most 256 colours.

    Attributes:
        numbers: uint8 `[H, W]`.
        colours: uint8 `[n, 3]`.
    """

    numbers: np.ndarray
    colours: np.ndarray


def indexed(frame: np.ndarray) -> Indexed:
    """Number the colours of a picture, uint8 `[H, W, 3]`.

    Where it has more than 256, similar ones become one.
    """
    found, places = _colours(frame)
    lost_bits = 0
    while found.size > 256:
        lost_bits += 1
        found, places = _colours(frame >> lost_bits << lost_bits)
    colours = np.stack([found >> 16, found >> 8 & 255, found & 255], axis=1).astype(np.uint8)
    return Indexed(places.reshape(frame.shape[:2]).astype(np.uint8), colours)


def _colours(frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The colours of a picture, and each pixel's place among them."""
    channels = frame.astype(np.uint32)
    return np.unique(channels[..., 0] << 16 | channels[..., 1] << 8 | channels[..., 2], return_inverse=True)


class Enlargement:
    """Scales pictures to whole cells, each pixel as it is.

    Args:
        source: height and width of the pictures.
        lines: of cells.
        columns: likewise.
        cell: width and height of a cell in pixels.
    """

    def __init__(self, source: tuple[int, int], lines: int, columns: int, cell: tuple[int, int]) -> None:
        self.shape = source, lines, columns, cell
        self._cell = cell
        self._rows = _sources(source[0], lines * cell[1])
        self._columns = _sources(source[1], columns * cell[0])

    def changed_blocks(self, changed: np.ndarray) -> list[tuple[int, int, int, int]]:
        """Rectangles of cells around all changed pixels.

        As (first line, end, first column, end); those of neighbouring lines are one.

        Args:
            changed: bool `[H, W]`, of the source.
        """
        width, height = self._cell
        top, bottom = self._rows[::height], self._rows[height - 1 :: height] + 1
        left, right = self._columns[::width], self._columns[width - 1 :: width] + 1
        sums = np.pad(changed.cumsum(axis=0, dtype=np.int32).cumsum(axis=1), ((1, 0), (1, 0)))
        below, above = sums[bottom], sums[top]
        cells = below[:, right] - below[:, left] != above[:, right] - above[:, left]  # [lines, columns]
        lines = np.flatnonzero(cells.any(axis=1))
        groups = np.split(lines, np.flatnonzero(np.diff(lines) > 1) + 1) if lines.size else []
        blocks = []
        for group in groups:
            columns = np.flatnonzero(cells[group].any(axis=0))
            blocks.append((int(group[0]), int(group[-1]) + 1, int(columns[0]), int(columns[-1]) + 1))
        return blocks

    def enlarge(self, frame: np.ndarray, block: tuple[int, int, int, int]) -> Indexed:
        """The part of a frame in a rectangle of cells.

        The frame is uint8 `[H, W, 3]`.
        """
        first, end, left, right = block
        rows = self._rows[first * self._cell[1] : end * self._cell[1]]
        columns = self._columns[left * self._cell[0] : right * self._cell[0]]
        part = indexed(frame[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
        return Indexed(part.numbers[rows - rows[0]][:, columns - columns[0]], part.colours)


def _sources(source: int, target: int) -> np.ndarray:
    """For each of `target` pixels, its place among `source` pixels."""
    return np.arange(target) * source // target
