"""The processor's name."""

from __future__ import annotations

import contextlib
import functools
import platform
from pathlib import Path

from .library import system_fact


@functools.cache
def cpu_model() -> str:
    """The processor's name, from the system."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return system_fact("machdep.cpu.brand_string") or platform.processor() or platform.machine()
