"""Runs as other processes see them: directories, records, the list of runs, the control socket."""

from .directory import RUNS_DIR, RunDirectory
from .registry import RunSummary, find_run, list_runs, run_directories, summarise

__all__ = ["RUNS_DIR", "RunDirectory", "RunSummary", "find_run", "list_runs", "run_directories", "summarise"]
