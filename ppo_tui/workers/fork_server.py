"""End the environments' own processes with the fork server.

The fork server alone imports this module. It ends with the process that trains, even when that is killed, and the
kernel then kills the workers. Processes that their environments have started would be left.
"""

from __future__ import annotations

import atexit

from ..system.processes import children
from .process import kill_children


def _end_families() -> None:
    """Kill the group of each worker, the children of this process."""
    for pid in children():
        kill_children(pid)


atexit.register(_end_families)
