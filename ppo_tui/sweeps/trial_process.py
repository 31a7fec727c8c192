"""A run of a sweep: it saves and ends with its sweep."""

from __future__ import annotations

import os
import runpy
import signal
import sys

from ..system.processes import when_process_ends

if __name__ == "__main__":
    when_process_ends(int(sys.argv.pop(1)), lambda: os.kill(os.getpid(), signal.SIGTERM))
    runpy.run_module("ppo_tui", run_name="__main__", alter_sys=True)
