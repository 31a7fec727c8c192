"""Checks of Python, packages, extras and ROMs."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import metadata

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion

from ..extras import PACKAGE, install_command, upgrade_command
from .finding import Finding, Status

_FOR_DEVELOPERS = ("bench", "dev", "docs", "peers")
_PROBE = (
    "from ppo_tui.config import load_preset; from ppo_tui.envs import probe_env; probe_env(load_preset('breakout').env)"
)
PROBE_SECONDS = 60.0
"""Longest time to make an Atari environment."""


def check_python() -> Finding:
    """Compare the interpreter with ``requires-python``."""
    version, ranges = platform.python_version(), metadata.metadata(PACKAGE)["Requires-Python"]
    if within(version, ranges):
        return Finding(Status.OK, f"{version}, needs {ranges}")
    return Finding(Status.FAIL, f"{version}, needs {ranges}", f"make an environment with Python {ranges}")


def check_packages() -> Finding:
    """Compare every required package with its version range."""
    problems, count = [], 0
    for requirement in _required():
        count += 1
        problems += _problems(requirement)
    if problems:
        return Finding(Status.FAIL, "; ".join(problems), f"run {upgrade_command()}")
    return Finding(Status.OK, f"ppo-tui {metadata.version(PACKAGE)}, its {count} packages are in the ranges it needs")


def check_extras() -> Finding:
    """List the optional packages, and compare those installed with their ranges."""
    extras: dict[str, list[str]] = {}
    wrong: list[str] = []
    for extra in metadata.metadata(PACKAGE).get_all("Provides-Extra", ()):
        if extra not in _FOR_DEVELOPERS:
            extras[extra] = [problem for requirement in _required(extra) for problem in _problems(requirement)]
            wrong += [problem for problem in extras[extra] if "is not installed" not in problem]
    there = [extra for extra, problems in extras.items() if not problems]
    absent = [extra for extra, problems in extras.items() if problems]
    found = "; ".join(
        [*wrong, f"installed: {', '.join(there) or 'none'}", *([f"not installed: {', '.join(absent)}"] * bool(absent))]
    )
    remedy = f"{install_command(*absent)} if you want them" if absent else ""
    return Finding(Status.WARN if wrong else Status.OK, found, remedy)


def check_roms() -> Finding:
    """Make Breakout, in another process.

    The emulator ends its process where a ROM is wrong.
    """
    try:
        probe = subprocess.run(
            [sys.executable, "-P", "-c", _PROBE],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=PROBE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Finding(
            Status.FAIL,
            f"Breakout is not made after {PROBE_SECONDS:.0f} s",
            "see whether other processes keep the machine busy",
        )
    if probe.returncode == 0:
        return Finding(Status.OK, f"ale-py {metadata.version('ale-py')} makes Breakout")
    printed = probe.stderr.strip().splitlines()
    reason = printed[-1][:200] if printed else f"exit code {probe.returncode}"
    return Finding(Status.FAIL, f"Breakout cannot be made: {reason}", "pip install --force-reinstall ale-py")


INSTALLATION: dict[str, Callable[[], Finding]] = {
    "Python": check_python,
    "packages": check_packages,
    "optional": check_extras,
    "Atari": check_roms,
}


def _required(extra: str = "", package: str = PACKAGE) -> Iterator[Requirement]:
    """Yield the requirements of a package or of one of its extras.

    With those of the extras that they name, such as Box2D for ``gymnasium[box2d]``.
    """
    for line in _declared(package):
        requirement = Requirement(line)
        marker = requirement.marker
        if not extra if marker is None else marker.evaluate({"extra": extra}):
            yield requirement
            for named in requirement.extras:
                yield from _required(named, requirement.name)


def _declared(package: str) -> list[str]:
    try:
        return metadata.requires(package) or []
    except metadata.PackageNotFoundError:
        return []


def _problems(requirement: Requirement) -> list[str]:
    name, ranges = requirement.name, str(requirement.specifier)
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return [f"{name} is not installed"]
    return [] if version and within(version, ranges) else [f"{name} is {version}, needs {ranges}"]


def within(version: str, ranges: str) -> bool:
    """Whether `version` is in `ranges`, such as ``<3,>=2.6``; pre-releases count.

    What is no version is in none.
    """
    try:
        return SpecifierSet(ranges).contains(version, prereleases=True)
    except InvalidVersion:
        return False
