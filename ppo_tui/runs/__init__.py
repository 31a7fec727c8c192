"""Run directories: what a run keeps on the disk, and where."""

from .directory import RUNS_DIR, RunDirectory
from .registry import find_run

__all__ = ["RUNS_DIR", "RunDirectory", "find_run"]
