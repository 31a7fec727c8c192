"""Commands to install extras, for each way to install ppo-tui."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import sys
from pathlib import Path
from typing import Literal

PACKAGE = "ppo-tui"

_CACHED = re.compile(r"(archive|environments)-v\d+")
"""Folders of uv's cache: the environments of uvx live there."""


def is_installed(package: str) -> bool:
    """Whether a package can be imported; it is not imported here.

    A folder of its name without modules, such as the ``wandb`` that wandb itself leaves behind, is none.
    """
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):  # something odd has its name already
        return False
    return spec is not None and spec.origin is not None


def install_command(*extras: str, prefix: Path = Path(sys.prefix), origin: str | None = None) -> str:
    """The command to install these extras beside ppo-tui.

    Args:
        prefix: the environment of this interpreter.
        origin: ``direct_url.json`` of the package (PEP 610); by default the installed one's, if it has one.
    """
    named = f"{PACKAGE}[{','.join(extras)}]"
    match _installer(prefix):
        case "uv tool":
            return f"uv tool install {shlex.quote(_located(named, origin))}"
        case "pipx":
            return f"pipx runpip {shlex.quote(prefix.name)} install '{named}'"
        case "uvx":
            return f"uvx --from {shlex.quote(_located(named, origin))} {PACKAGE} …"
        case "pip":
            return f"pip install '{named}'"


def upgrade_command(*, prefix: Path = Path(sys.prefix)) -> str:
    """The command to bring ppo-tui and its packages up to date."""
    match _installer(prefix):
        case "uv tool":
            return f"uv tool upgrade {PACKAGE}"
        case "pipx":
            return f"pipx upgrade {shlex.quote(prefix.name)}"
        case "uvx":
            return f"uvx {PACKAGE}@latest …"
        case "pip":
            return f"pip install --upgrade {PACKAGE}"


def _installer(prefix: Path) -> Literal["uv tool", "pipx", "uvx", "pip"]:
    """The installer of this environment, known by its traces."""
    if (prefix / "uv-receipt.toml").is_file():
        return "uv tool"
    if (prefix / "pipx_metadata.json").is_file():
        return "pipx"
    if any(_CACHED.fullmatch(part) for part in prefix.parts):
        return "uvx"
    return "pip"


def _located(named: str, origin: str | None) -> str:
    """The requirement, with the wheel of its installation if known.

    uv looks for a bare name in an index, even if the package is installed.
    """
    origin = _recorded_origin() if origin is None else origin
    try:
        url = json.loads(origin)["url"] if origin else ""
    except (ValueError, KeyError, TypeError):
        url = ""
    return f"{named} @ {url}" if isinstance(url, str) and url.endswith(".whl") else named


def _recorded_origin() -> str:
    from importlib import metadata  # not above: workers import this module too

    try:
        return metadata.distribution(PACKAGE).read_text("direct_url.json") or ""
    except metadata.PackageNotFoundError:
        return ""
