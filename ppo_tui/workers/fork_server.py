"""End the environments' own processes with the fork server.

The fork server alone imports this module. It ends with the process that trains, even when that is killed, and the
kernel then kills the workers. Processes that their environments have started would be left.
"""

from __future__ import annotations

import atexit
import os
from pathlib import Path

from .process import kill_children


def _end_families() -> None:
    """Kill the group of each worker, the children of this process."""
    try:
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    except OSError:
        return
    for pid in children:
        kill_children(int(pid))


atexit.register(_end_families)
