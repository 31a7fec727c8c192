"""Terminals that draw pixels: their answers, and their pictures decoded."""

from __future__ import annotations

import base64
import re
import zlib

import numpy as np
import pyte
from rich.console import Console
from textual.geometry import Region

from ppo_tui.tui.pixels import Graphics

ANSWERS = {
    "kitty": b"\x1b_Gi=1;OK\x1b\\\x1b[6;20;10t\x1b[?62;52c",
    "sixel": b"\x1b[6;20;10t\x1b[?62;4;22c",
    "both": b"\x1b_Gi=1;OK\x1b\\\x1b[6;20;10t\x1b[?65;4;22c",
    "neither": b"\x1b_Gi=1;EINVAL\x1b\\\x1b[?1;2c",
    "silent": b"",
}

_KITTY = re.compile(r"\x1b_G([^;\x1b]*)(?:;([^\x1b]*))?\x1b\\")
_SIXELS = re.compile(r'"1;1;(\d+);(\d+)(.*)\x1b\\', re.DOTALL)
_SIXEL = re.compile(r"#(\d+)(?:;2;(\d+);(\d+);(\d+))?|!(\d+)(.)|([?-~])|([$-])", re.DOTALL)


def kitty_pictures(data: str) -> list[np.ndarray]:
    """The pictures of Kitty's protocol in some output, uint8 `[H, W, 3]`."""
    pictures, keys, parts = [], {}, []
    for control, payload in _KITTY.findall(data):
        said = dict(pair.split("=") for pair in control.split(",") if pair)
        if said.get("a") == "T":
            assert said["U"] == "1", "it is seen in placeholders alone"
            assert said["q"] == "2", "no answer comes back among the keys"
            keys, parts = said, []
        elif said.get("a") in ("q", "d"):
            continue
        parts.append(payload)
        if said["m"] == "0":
            pixels = zlib.decompress(base64.b64decode("".join(parts)))
            pictures.append(np.frombuffer(pixels, np.uint8).reshape(int(keys["v"]), int(keys["s"]), 3))
    return pictures


def sixel_picture(data: str) -> np.ndarray:
    """A picture in sixels, uint8 `[H, W, 3]`."""
    found = _SIXELS.search(data)
    assert found, data[:50]
    width, height = int(found[1]), int(found[2])
    picture = np.zeros((-(-height // 6) * 6, width, 3), np.uint8)
    palette: dict[str, list[int]] = {}
    colour, x, y = "", 0, 0
    for number, red, green, blue, count, repeated, single, move in _SIXEL.findall(found[3]):
        if number:
            colour = number
            if red:
                palette[number] = [round(int(each) * 255 / 100) for each in (red, green, blue)]
        elif move:
            x, y = 0, y + 6 * (move == "-")
        else:
            times, bits = int(count or 1), ord(repeated or single) - 63
            for row in range(6):
                if bits >> row & 1:
                    picture[y + row, x : x + times] = palette[colour]
            x += times
    return picture[:height]


class _Cells(pyte.Screen):
    """Cells; text that is written to one wipes off the pixels there."""

    def __init__(self, columns: int, lines: int) -> None:
        self.over = np.zeros((lines, columns), bool)
        super().__init__(columns, lines)

    def draw(self, data: str) -> None:
        y, x = self.cursor.y, self.cursor.x
        super().draw(data)
        self.over[y, x : x + len(data)] = False


class PixelCanvas:
    """A terminal for an app under test, of cells with pixels over them.

    Attributes:
        sent: commands of pictures.
        pixels: uint8 `[20 × lines, 10 × columns, 3]`, where sixels were drawn.
    """

    def __init__(self, graphics: Graphics, columns: int = 120, lines: int = 40) -> None:
        self.graphics: Graphics | None = graphics
        self.cell: tuple[int, int] | None = (10, 20)
        self.pictures: set[int] = set()
        self.charts = False
        self.sent: list[str] = []
        self.pixels = np.zeros((20 * lines, 10 * columns, 3), np.uint8)
        self._cells = _Cells(columns, lines)
        self._stream = pyte.Stream(self._cells)
        self._console = Console(force_terminal=True, color_system="truecolor")

    def plug(self, app) -> None:
        """Show what the app's compositor gives a driver to write, reduced as the driver does."""
        self._difference = app.terminal_diff
        app._display = lambda screen, update: update and self._write(update.render_segments(self._console))
        app.screen.refresh()

    def _write(self, data: str) -> None:
        self._stream.feed(self._difference.reduce(data))

    @property
    def display(self) -> str:
        return "\n".join(self._cells.display)

    @property
    def over(self) -> np.ndarray:
        """Bool `[lines, columns]`, the cells with pixels over them."""
        return self._cells.over

    def draw(self, commands: str, at: Region | None = None) -> None:
        self.sent.append(commands)
        if at:
            picture = sixel_picture(commands)
            assert picture.shape[:2] == (20 * at.height, 10 * at.width)
            self.pixels[20 * at.y : 20 * at.bottom, 10 * at.x : 10 * at.right] = picture
            self.over[at.y : at.bottom, at.x : at.right] = True
            self._difference.forget_cells(at.y + 1, at.x + 1, at.height, at.width)

    def give_back(self) -> None:
        pass

    def measure_cells(self) -> None:
        pass
