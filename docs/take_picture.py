"""Take the README's picture: the real screen on a real run, as the app's own SVG screenshot, rendered to PNG.

    python docs/take_picture.py --preset breakout --updates 30 --size 120x40 docs/images/breakout.png

Needs Chromium, which alone among common renderers keeps braille and block glyphs aligned.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from ppo_tui.config import load_preset
from ppo_tui.launch import PreparedRun, prepare
from ppo_tui.training.hub import FunctionSink
from ppo_tui.tui.app import PpoTuiApp
from ppo_tui.tui.session import LocalSession


async def _run(prepared: PreparedRun, updates: int, size: tuple[int, int], keys: list[str]) -> str:
    """Train behind the screen for some updates, press keys, and return the screen as SVG."""
    session = LocalSession(lambda emit: prepared.trainer([FunctionSink(emit)]))
    app = PpoTuiApp(session)
    async with app.run_test(size=size) as pilot:
        view = app.run_controller.view
        while view.update < updates and session.live:
            await pilot.pause(0.1)
        for key in keys:
            await pilot.press(key)
            await pilot.pause(1.0)
        svg = app.export_screenshot(title=f"ppo-tui --preset {prepared.directory.name.partition('-20')[0]}")
    session.close(timeout=30)
    return svg


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


def main(
    png: Path,
    preset: str = "breakout",
    updates: int = 30,
    size: str = "120x40",
    key: Annotated[list[str] | None, typer.Option(help="Press this before the picture; may be repeated.")] = None,
) -> None:
    width, height = (int(number) for number in size.split("x"))
    with tempfile.TemporaryDirectory() as directory:
        prepared = prepare(load_preset(preset), label=preset, name=preset, run_dir=Path(directory) / preset)
        try:
            svg = asyncio.run(_run(prepared, updates, (width, height), key or []))
        finally:
            prepared.pool.close()
    _render(svg, png)


if __name__ == "__main__":
    typer.run(main)
