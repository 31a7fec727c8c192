"""This platform: its name, its support, the means in use."""

from __future__ import annotations

import os
import platform

from .choice import Choice

TESTED = ("Linux x86_64", "3.11")
"""System and Python of the tests."""

_NO_WINDOWS = """\
ppo-tui does not run on native Windows: it needs Unix sockets, process groups, locks on directories and a Unix terminal
→ run it in WSL2, which is Linux: https://learn.microsoft.com/windows/wsl/install
"""


def refuse_windows() -> None:
    """Exit with a remedy on native Windows, before any import fails there.

    Raises:
        SystemExit: this is native Windows.
    """
    if os.name == "nt":
        os.write(2, _NO_WINDOWS.encode())
        raise SystemExit(2)


def describe_platform() -> str:
    """System, processor and Python, and whether the program is tested there."""
    system, python = f"{platform.system()} {platform.machine()}", platform.python_version()
    tested = (system, python.rpartition(".")[0]) == TESTED
    wsl = " in WSL" if "microsoft" in platform.release().lower() else ""
    return f"{system}{wsl}, Python {python} ({'tested' if tested and not wsl else 'expected to work, not tested'})"


def all_choices() -> list[Choice]:
    """The means in use on this platform, for each purpose."""
    from . import paths, processes, sockets, terminals

    return [*processes.choices(), *paths.choices(), *sockets.choices(), *terminals.choices()]
