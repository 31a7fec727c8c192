"""The check of the platform."""

from __future__ import annotations

from collections.abc import Callable

from ..system.support import all_choices, describe_platform
from .finding import Finding, Status


def check_platform() -> Finding:
    """Name the platform, and the fallbacks in use."""
    fallbacks = [f"{purpose}: {used} ({loss})" for purpose, used, loss in all_choices() if loss]
    found = "in place of Linux's own means: " + "; ".join(fallbacks) if fallbacks else "no fallback in use"
    return Finding(Status.OK, f"{describe_platform()}; {found}")


PLATFORM: dict[str, Callable[[], Finding]] = {"platform": check_platform}
