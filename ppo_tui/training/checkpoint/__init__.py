"""Saving and resuming runs: files, snapshots, schedule of saving, allowed differences."""
