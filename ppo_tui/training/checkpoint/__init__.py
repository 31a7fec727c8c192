"""Saving a run and resuming it: files, snapshots, when to save, what may differ."""
