"""Take the documentation's pictures of the screen on a real run.

    python docs/take_picture.py --preset breakout --updates 40

writes every picture of `SHOTS` to ``docs/images``: the app's own SVG, rendered to PNG. Needs Chromium, which alone
among common renderers keeps braille and block glyphs aligned, and cores of its own: the pictures show the speed.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import tempfile
from pathlib import Path

import typer

from ppo_tui.config import load_preset
from ppo_tui.launch import PreparedRun, TrainRequest, prepare
from ppo_tui.training.hub import FunctionSink
from ppo_tui.training.inbox import Inbox
from ppo_tui.tui.app import PpoTuiApp
from ppo_tui.tui.screens.microscope import MicroscopeScreen
from ppo_tui.tui.session import LocalSession
from ppo_tui.tui.view import RunView

SHOTS: dict[str, tuple[tuple[int, int], tuple[str, ...]]] = {
    "breakout": ((120, 40), ()),
    "small": ((80, 24), ()),
    "wide": ((200, 60), ()),
    "chart": ((120, 40), ("1", "enter", "left")),
    "settings": ((120, 40), ("e", "down", "plus", "plus")),
    "game": ((120, 40), ("V", "enter")),
    "card": ((120, 40), ("i", "right", "right")),
    "microscope": ((200, 60), ("x",)),
}
"""Name → size in cells, and the keys to press first; each begins on the main screen."""


async def _run(prepared: PreparedRun, updates: int) -> dict[str, str]:
    """Train behind the screen; return all pictures as SVG."""
    inbox = Inbox()
    session = LocalSession(lambda emit: prepared.trainer([FunctionSink(emit)], inbox), inbox)
    app = PpoTuiApp(session)
    pictures = {}
    async with app.run_test(size=SHOTS["breakout"][0]) as pilot:
        view = app.controller.view
        while view.update < updates and session.live:
            await pilot.pause(0.1)
        for name, (size, keys) in SHOTS.items():
            await pilot.resize_terminal(*size)
            for key in keys:
                await pilot.press(key)
            await pilot.pause(4.0)
            while isinstance(app.screen, MicroscopeScreen) and not _has_whole_update(view):
                await pilot.pause(0.1)
            title = f"ppo-tui --preset {prepared.directory.name}"
            pictures[name] = app.export_screenshot(title=title)
            while len(app.screen_stack) > 1:
                app.pop_screen()
    session.close(timeout=30)
    return pictures


def _has_whole_update(view: RunView) -> bool:
    newest = view.inspections.newest
    return newest is not None and newest.done


def _render(svg: str, png: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("needs Chromium: apt-get install chromium fonts-dejavu")
    width, height = (int(float(number)) for number in svg.partition('viewBox="0 0 ')[2].partition('"')[0].split())
    with tempfile.TemporaryDirectory() as directory:
        page = Path(directory) / "screen.svg"
        page.write_text(svg.replace("Fira Code", "DejaVu Sans Mono"), "utf-8")
        command = [
            chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars",
            "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic",
            f"--user-data-dir={directory}/profile", f"--screenshot={png.absolute()}", f"--window-size={width},{height}",
            "--default-background-color=00000000", page.as_uri(),
        ]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True)


def main(folder: Path = Path("docs/images"), preset: str = "breakout", updates: int = 40) -> None:
    with tempfile.TemporaryDirectory() as directory:
        prepared = prepare(
            TrainRequest(load_preset(preset), label=preset, name=preset, run_dir=Path(directory) / preset)
        )
        try:
            pictures = asyncio.run(_run(prepared, updates))
        finally:
            prepared.pool.close()
    for name, svg in pictures.items():
        _render(svg, folder / f"{name}.png")


if __name__ == "__main__":
    typer.run(main)
