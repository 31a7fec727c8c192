"""Run directories: what a run keeps on the disk, and where."""

from .directory import RUNS_DIR, RunDirectory

__all__ = ["RUNS_DIR", "RunDirectory"]
