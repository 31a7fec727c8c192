"""``ppo-tui doctor``: whether this installation and this machine have what a training needs. Heavy imports on use."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .finding import Finding, Status
from .installation import INSTALLATION
from .machine import MACHINE
from .terminal import TERMINAL

CHECKS: dict[str, Callable[[], Finding]] = {**INSTALLATION, **MACHINE, **TERMINAL}
"""What is checked, by name, in the order of the report."""


def examine_machine(checks: dict[str, Callable[[], Finding]] = CHECKS) -> Iterator[tuple[str, Finding]]:
    """Each check with what it found, as soon as it has; one that breaks down has failed."""
    for name, check in checks.items():
        try:
            yield name, check()
        except Exception as error:
            lines = str(error).splitlines()
            found = f"{type(error).__name__}: {lines[0] if lines else ''}"
            yield name, Finding(Status.FAIL, found, "install the package again: pip install --force-reinstall ppo-tui")


__all__ = ["CHECKS", "Finding", "Status", "examine_machine"]
