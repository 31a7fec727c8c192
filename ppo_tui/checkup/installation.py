"""Python, the packages, and what comes with them."""

from __future__ import annotations

import platform
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import metadata

from .finding import Finding, Status

_PACKAGE = "ppo-tui"
_REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(?P<extras>\[[\w,.-]+\])?(?P<ranges>[^;]*)(;(?P<marker>.*))?")
_EXTRA = re.compile(r"extra\s*==\s*['\"]([\w-]+)['\"]")
_FOR_DEVELOPERS = ("bench", "dev", "docs", "peers")
_PROBE = (
    "from ppo_tui.config import load_preset; from ppo_tui.envs import probe_env; probe_env(load_preset('breakout').env)"
)
PROBE_SECONDS = 60.0
"""How long a game may take to be made."""


def check_python() -> Finding:
    """The interpreter against ``requires-python``."""
    version, ranges = platform.python_version(), metadata.metadata(_PACKAGE)["Requires-Python"]
    if within(version, ranges):
        return Finding(Status.OK, f"{version}, needs {ranges}")
    return Finding(Status.FAIL, f"{version}, needs {ranges}", f"make an environment with Python {ranges}")


def check_packages() -> Finding:
    """Every required package against its range."""
    problems, count = [], 0
    for name, ranges, extra in _requirements():
        if extra is None:
            count += 1
            problems += _problems(name, ranges)
    if problems:
        return Finding(Status.FAIL, "; ".join(problems), "pip install --upgrade ppo-tui, in this very environment")
    return Finding(Status.OK, f"ppo-tui {metadata.version(_PACKAGE)}, its {count} packages in the ranges it needs")


def check_extras() -> Finding:
    """What is optional: which of it is there, and whether that is of a version that works."""
    extras: dict[str, list[str]] = {}
    wrong = []
    for name, ranges, extra in _requirements():
        if extra is None or extra in _FOR_DEVELOPERS:
            continue
        extras.setdefault(extra, [])
        if problems := _problems(name, ranges):
            extras[extra] += problems
            wrong += [problem for problem in problems if "is not installed" not in problem]
    there = [extra for extra, problems in extras.items() if not problems]
    absent = [extra for extra, problems in extras.items() if problems]
    found = "; ".join(
        [*wrong, f"there: {', '.join(there) or 'none'}", *([f"not there: {', '.join(absent)}"] * bool(absent))]
    )
    remedy = f"pip install 'ppo-tui[{','.join(absent)}]' if you want them" if absent else ""
    return Finding(Status.WARN if wrong else Status.OK, found, remedy)


def check_roms() -> Finding:
    """That Breakout can be made, in a process of its own: the emulator ends its process where a ROM is wrong."""
    try:
        probe = subprocess.run(
            [sys.executable, "-c", _PROBE], capture_output=True, text=True, timeout=PROBE_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return Finding(
            Status.FAIL, f"Breakout is not there after {PROBE_SECONDS:.0f} s", "see what else the machine does"
        )
    if probe.returncode == 0:
        return Finding(Status.OK, f"ale-py {metadata.version('ale-py')} makes Breakout")
    said = probe.stderr.strip().splitlines()
    reason = said[-1][:200] if said else f"exit code {probe.returncode}"
    return Finding(Status.FAIL, f"Breakout cannot be made: {reason}", "pip install --force-reinstall ale-py")


INSTALLATION: dict[str, Callable[[], Finding]] = {
    "Python": check_python,
    "packages": check_packages,
    "optional": check_extras,
    "Atari": check_roms,
}


def _requirements() -> Iterator[tuple[str, str, str | None]]:
    """Name, ranges and extra of everything that the package requires."""
    for line in metadata.requires(_PACKAGE) or ():
        found = _REQUIREMENT.fullmatch(line)
        extra = _EXTRA.search(found["marker"] or "")
        yield found["name"], found["ranges"].strip(), extra[1] if extra else None


def _problems(name: str, ranges: str) -> list[str]:
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return [f"{name} is not installed"]
    return [] if within(version, ranges) else [f"{name} is {version}, needs {ranges}"]


def within(version: str, ranges: str) -> bool:
    """Whether `version` is in all of `ranges`, such as ``<3,>=2.6``; of versions, the numbers at the front count."""
    return all(_holds(version, one.strip()) for one in ranges.split(",") if one.strip())


def _holds(version: str, one: str) -> bool:
    sign, bound = re.fullmatch(r"(>=|<=|<|>|==|!=)\s*([\w.]+)", one).groups()
    left, right = _numbers(version), _numbers(bound)
    length = max(len(left), len(right))
    left, right = left + [0] * (length - len(left)), right + [0] * (length - len(right))
    return {">=": left >= right, "<=": left <= right, "<": left < right, ">": left > right}.get(
        sign, (left == right) is (sign == "==")
    )


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.match(r"\d+(\.\d+)*", version)[0].split(".")]
