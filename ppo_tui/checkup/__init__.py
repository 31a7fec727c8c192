"""Checks of the installation and the machine, for ``ppo-tui doctor``.

Heavy imports happen inside the checks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from ..boundary import explain
from .finding import Finding, Status
from .installation import INSTALLATION
from .machine import MACHINE
from .platforms import PLATFORM
from .terminal import TERMINAL

_MOST_CHARACTERS = 1_000
"""Limit of a finding: TERM, a path or an exception may be of any length."""

CHECKS: dict[str, Callable[[], Finding]] = {**PLATFORM, **INSTALLATION, **MACHINE, **TERMINAL}
"""All checks by name, in the order of the output."""


def examine_machine(checks: dict[str, Callable[[], Finding]] = CHECKS) -> Iterator[tuple[str, Finding]]:
    """Run the checks and yield each finding; an exception is a failure."""
    for name, check in checks.items():
        try:
            finding = check()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a library may even exit while it is imported
            finding = _failed(error)
        if len(finding.found) > _MOST_CHARACTERS:
            finding = msgspec.structs.replace(finding, found=f"{finding.found[:_MOST_CHARACTERS]}…")
        yield name, finding


def _failed(error: BaseException) -> Finding:
    """The finding of a broken check."""
    if isinstance(error, OSError):
        found, _, remedy = explain(error)[0].partition("\n")
        return Finding(Status.FAIL, found, remedy.strip() or "see whether this user may read and write there")
    lines = str(error).splitlines()
    found = f"{type(error).__name__}: {lines[0] if lines else ''}"
    return Finding(Status.FAIL, found, "install the package again: pip install --force-reinstall ppo-tui")


__all__ = ["CHECKS", "Finding", "Status", "examine_machine"]
