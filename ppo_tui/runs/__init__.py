"""Run directories, their records, and the control sockets of running runs."""

from .creation import RUNS_DIR
from .directory import RunDirectory
from .registry import RunSummary, find_run, find_runs, list_runs, run_directories, summarise

__all__ = [
    "RUNS_DIR",
    "RunDirectory",
    "RunSummary",
    "find_run",
    "find_runs",
    "list_runs",
    "run_directories",
    "summarise",
]
