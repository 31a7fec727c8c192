"""What becomes of a process whose parent is gone."""

from __future__ import annotations

import ctypes
import signal
import sys


def signal_when_parent_ends(number: signal.Signals) -> None:
    """Have the kernel send this process a signal when its parent ends, however that comes about (PR_SET_PDEATHSIG).

    Linux alone can do that; elsewhere nothing happens.
    """
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, number)
