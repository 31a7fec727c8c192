"""Run directories: what a run keeps on the disk, which runs there are, and how to reach one that is running."""

from .directory import RUNS_DIR, RunDirectory
from .registry import RunSummary, find_run, list_runs, run_directories, summarise

__all__ = ["RUNS_DIR", "RunDirectory", "RunSummary", "find_run", "list_runs", "run_directories", "summarise"]
