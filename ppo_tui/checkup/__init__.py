"""Checks of the installation and the machine, for ``ppo-tui doctor``.

Heavy imports happen inside the checks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .finding import Finding, Status
from .installation import INSTALLATION
from .machine import MACHINE
from .platforms import PLATFORM
from .terminal import TERMINAL

CHECKS: dict[str, Callable[[], Finding]] = {**PLATFORM, **INSTALLATION, **MACHINE, **TERMINAL}
"""All checks by name, in the order of the output."""


def examine_machine(checks: dict[str, Callable[[], Finding]] = CHECKS) -> Iterator[tuple[str, Finding]]:
    """Run the checks and yield each finding; an exception is a failure."""
    for name, check in checks.items():
        try:
            yield name, check()
        except Exception as error:
            lines = str(error).splitlines()
            found = f"{type(error).__name__}: {lines[0] if lines else ''}"
            yield name, Finding(Status.FAIL, found, "install the package again: pip install --force-reinstall ppo-tui")


__all__ = ["CHECKS", "Finding", "Status", "examine_machine"]
