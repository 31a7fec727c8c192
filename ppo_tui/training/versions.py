"""What a run ran on, for its record."""

from __future__ import annotations

import functools
import platform
from importlib import metadata

from .. import __version__

_PACKAGES = ("torch", "numpy", "gymnasium", "ale-py", "opencv-python-headless")


@functools.cache
def versions() -> dict[str, str]:
    """Versions of this program, of Python and of the packages that decide a run's numbers."""
    found = {"ppo-tui": __version__, "python": platform.python_version()}
    return found | {package: metadata.version(package) for package in _PACKAGES}
