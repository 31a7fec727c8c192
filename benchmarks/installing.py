"""Seconds and megabytes from nothing to the first picture: ``python -m benchmarks.installing``.

Each way to install starts with an empty home and a cold cache of its own, and takes the packages from where the
installer's own configuration on this machine says, in the versions of ``constraints.txt``.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.terminal import ROOT, Terminal
from ppo_tui.errors import RunFailedError

CONSTRAINTS = ROOT / "constraints.txt"
PYTHON = Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
"""The interpreter below all environments."""

INSTALL_SECONDS = 1_200.0
PICTURE_SECONDS = 300.0

_FOREIGN = ("CONDA", "PIPX_", "PYENV", "PYTHON", "UV_TOOL", "VIRTUAL_ENV", "XDG_", "__PYVENV")
"""Variables of this process that would reach into an empty environment begin with these."""

_UV_NAMES = {"PIP_FIND_LINKS": "UV_FIND_LINKS", "PIP_INDEX_URL": "UV_DEFAULT_INDEX", "PIP_EXTRA_INDEX_URL": "UV_INDEX"}
"""uv reads none of pip's variables."""


class Way(ABC):
    """A way to install ppo-tui, in a folder of its own.

    Attributes:
        name: as a user says it.
        tool: the program that it needs, looked for beside this interpreter and on the path.
        variables: the whole environment of its processes.
    """

    name: str
    tool: str

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        home = folder / "home"
        home.mkdir(parents=True)
        kept = {key: value for key, value in os.environ.items() if not key.startswith(_FOREIGN)}
        for pips, uvs in _UV_NAMES.items():
            if kept.get(pips) and uvs not in kept:
                kept[uvs] = ",".join(kept[pips].split())
        self.variables = {
            **kept,
            "HOME": str(home),
            "PATH": os.pathsep.join([str(self.bin), os.defpath]),
            "PIPX_HOME": str(folder / "environments"),
            "PIPX_BIN_DIR": str(self.bin),
            "UV_CACHE_DIR": str(folder / "uv-cache"),
            "UV_PYTHON_DOWNLOADS": "never",
            "UV_TOOL_DIR": str(folder / "environments"),
            "UV_TOOL_BIN_DIR": str(self.bin),
        }

    @classmethod
    def tool_path(cls) -> str | None:
        """The path of the tool, or None without it."""
        return shutil.which(cls.tool, path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))

    @abstractmethod
    def install(self, source: Path) -> None:
        """Install this wheel, or prepare to run it."""

    @property
    def command(self) -> list[str]:
        """The command ``ppo-tui``, once it is installed."""
        return [str(self.bin / "ppo-tui")]

    @property
    @abstractmethod
    def python(self) -> list[str]:
        """The interpreter beside it."""

    @property
    def environment(self) -> Path:
        """The folder of the installed packages."""
        return self.folder / "environments"

    def run(self, *command: str | Path, seconds: float = INSTALL_SECONDS) -> str:
        """Run a command in this environment and return its output.

        Raises:
            RunFailedError: it failed.
        """
        done = subprocess.run(
            [str(word) for word in command],
            cwd=self.folder, env=self.variables, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=seconds,
        )  # fmt: skip
        if done.returncode:
            raise RunFailedError(f"{command} ended with {done.returncode}: {done.stdout[-2000:]}{done.stderr[-4000:]}")
        return done.stdout

    def needed(self) -> str:
        """The path of the tool.

        Raises:
            RunFailedError: it is not there.
        """
        path = self.tool_path()
        if path is None:
            raise RunFailedError(f"{self.tool} is not installed here", hint=f"pip install {self.tool}")
        return path


class Pip(Way):
    """``pip install`` in a virtual environment."""

    name, tool = "pip", "pip"

    def install(self, source: Path) -> None:
        self.run(PYTHON, "-m", "venv", self.environment)
        self.run(self.environment / "bin" / "pip", "install", "-c", CONSTRAINTS, source)
        self.bin.symlink_to(self.environment / "bin")

    @property
    def python(self) -> list[str]:
        return [str(self.environment / "bin" / "python")]


class Pipx(Way):
    """``pipx install``."""

    name, tool = "pipx", "pipx"

    def install(self, source: Path) -> None:
        self.run(self.needed(), "install", "--python", PYTHON, f"--pip-args=-c {CONSTRAINTS}", source)

    @property
    def python(self) -> list[str]:
        return [str(self.environment / "venvs" / "ppo-tui" / "bin" / "python")]


class UvTool(Way):
    """``uv tool install``."""

    name, tool = "uv tool", "uv"

    def install(self, source: Path) -> None:
        self.run(self.needed(), "tool", "install", "--python", PYTHON, "-c", CONSTRAINTS, source)

    @property
    def python(self) -> list[str]:
        return [str(self.environment / "ppo-tui" / "bin" / "python")]


class Uvx(Way):
    """``uvx``: nothing is installed but in uv's cache."""

    name, tool = "uvx", "uvx"
    source = Path()

    def install(self, source: Path) -> None:
        self.source = source

    @property
    def command(self) -> list[str]:
        return [*self._from, "ppo-tui"]

    @property
    def python(self) -> list[str]:
        return [*self._from, "python"]

    @property
    def environment(self) -> Path:
        return self.folder / "uv-cache"

    @property
    def _from(self) -> list[str]:
        return [self.needed(), "--python", str(PYTHON), "-c", str(CONSTRAINTS), "--from", str(self.source)]


class Make(Way):
    """``make run`` in a fresh clone."""

    name, tool = "make run", "make"

    def install(self, source: Path) -> None:
        """Unpack the files of a clone, in place of `source`."""
        archive = self.folder / "clone.tar"
        subprocess.run(["git", "-C", str(ROOT), "archive", "--output", archive, "HEAD"], check=True)
        shutil.unpack_archive(archive, self.folder / "clone")
        archive.unlink()

    @property
    def command(self) -> list[str]:
        return [self.needed(), "--silent", "-C", str(self.folder / "clone"), f"PYTHON={PYTHON}", "run"]

    @property
    def python(self) -> list[str]:
        return [str(self.environment / "bin" / "python")]

    @property
    def environment(self) -> Path:
        return self.folder / "clone" / ".venv"


WAYS: dict[str, type[Way]] = {way.name: way for way in (Pip, Pipx, UvTool, Uvx, Make)}


def build_wheel(folder: Path) -> Path:
    """Build the wheel of this source into `folder`."""
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def first_picture(command: Sequence[str], folder: Path, variables: Mapping[str, str]) -> tuple[float, float]:
    """Seconds until the screen of a command opens, and until it trains."""
    with Terminal(command, folder=folder, environment=variables) as terminal:
        terminal.read_until_text("STARTING", timeout=INSTALL_SECONDS)
        opened = time.perf_counter() - terminal.started
        terminal.read_until_text("TRAINING", timeout=PICTURE_SECONDS)
        trains = time.perf_counter() - terminal.started
        terminal.process.terminate()
        terminal.read_to_end(timeout=PICTURE_SECONDS)
    return opened, trains


def megabytes(folder: Path) -> float:
    """The size of a folder, with each file counted once."""
    sizes = {}
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            found = path.lstat()
            sizes[found.st_dev, found.st_ino] = found.st_size
    return sum(sizes.values()) / 1e6


def measure(name: str, preset: str, wheel: Path) -> str:
    """Install once in one way, train, and describe it in a line."""
    folder = Path(tempfile.mkdtemp(prefix="ppo-tui-installing-"))
    try:
        way = WAYS[name](folder / "way")
        began = time.perf_counter()
        way.install(wheel)
        installed = time.perf_counter() - began
        arguments = [f"ARGS={preset}"] if name == "make run" else [preset]
        opened, trains = first_picture([*way.command, *arguments], way.folder, way.variables)
        again, trains_again = first_picture([*way.command, *arguments], way.folder, way.variables)
        return (
            f"{name:<9} {preset:<9} screen after {installed + opened:5.1f} s, training after "
            f"{installed + trains:5.1f} s; again {again:4.1f} s and {trains_again:4.1f} s; "
            f"{megabytes(way.environment):,.0f} MB"
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main(
    names: Annotated[list[str] | None, typer.Argument(metavar="[WAY]...", help="All of them by default.")] = None,
    preset: Annotated[str, typer.Option(help="Preset to train.")] = "cartpole",
    rounds: Annotated[int, typer.Option(min=1, help="Turns that every way gets.")] = 2,
) -> None:
    """Measure each way to install, from nothing to the first picture."""
    with tempfile.TemporaryDirectory() as folder:
        wheel = build_wheel(Path(folder))
        print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB, load {os.getloadavg()[0]:.1f}", flush=True)
        for _ in range(rounds):
            for name in names or WAYS:
                print(measure(name, preset, wheel), f"; load {os.getloadavg()[0]:.1f}", sep="", flush=True)


if __name__ == "__main__":
    typer.run(main)
