"""What a run ran on, for its record and for resuming it."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import platform
from importlib import metadata
from pathlib import Path

from ... import __version__

_PACKAGES = ("torch", "numpy", "gymnasium", "ale-py", "opencv-python-headless")
_NUMERIC = ("config", "envs", "ppo", "training", "workers")
"""Sub-packages whose code decides a run's numbers."""


@functools.cache
def versions() -> dict[str, str]:
    """Versions of this program, of Python and of the packages that decide a run's numbers."""
    found = {"ppo-tui": __version__, "python": platform.python_version()}
    return found | {package: metadata.version(package) for package in _PACKAGES}


@functools.cache
def code_fingerprint() -> str:
    """Twelve digits that change with the source that decides a run's numbers."""
    root, digest = Path(__file__).resolve().parents[1], hashlib.sha256()
    for file in sorted(file for package in _NUMERIC for file in (root / package).rglob("*.py")):
        digest.update(f"{file.relative_to(root)}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:12]


@functools.cache
def cpu_model() -> str:
    """The processor's name, as the system tells it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
